//! Lines over common axes.

use std::path::Path;

use plotters::backend::DrawingBackend;

use super::axis::{self, Axis};
use super::canvas::{Canvas, Drawn, Style};
use super::frame::{Frame, Headings, MARGIN};
use super::note::reasons;
use super::render::{self, Chart};
use super::series::{self, Series};
use crate::PlotError;

/// Lines over common axes, such as losses by epoch or precision by recall.
///
/// The x axis covers all points. A point that is not finite interrupts its line. A series
/// of up to 40 points has a marker at each, a longer one at about 12, and an isolated
/// point always has one.
///
/// ```
/// use fcos_burn_plot::{LineChart, Series};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let chart = LineChart {
///     title: "Validation".into(),
///     x_label: "epoch".into(),
///     y_label: "AP".into(),
///     series: vec![Series {
///         name: "β = 1".into(),
///         points: vec![(1.0, 0.12), (2.0, 0.21), (3.0, 0.26)],
///     }],
///     y_range: Some((0.0, 1.0)),
/// };
/// chart.save(&folder.path().join("ap"))?; // ap.svg and ap.png
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// The title above the chart.
    pub title: String,
    /// What the x axis measures, with its unit.
    pub x_label: String,
    /// What the y axis measures, with its unit.
    pub y_label: String,
    /// The lines, in the order of the legend. Later ones are drawn over earlier ones.
    pub series: Vec<Series>,
    /// The ends of the y axis, at which lines are clipped. `None` or an empty range
    /// covers all points.
    pub y_range: Option<(f64, f64)>,
}

impl LineChart {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in an existing folder.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        render::save(self, stem)
    }
}

impl Chart for LineChart {
    const SIZE: (u32, u32) = (1200, 750);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (xs, ys) = (points().map(|p| p.0), points().map(|p| p.1));
        let x = Axis::around(xs);
        let y = match self.y_range {
            Some(range) => Axis::over(range, ys),
            None => Axis::around(ys),
        };
        let finite = points().filter(|p| axis::is_finite(p.0) && axis::is_finite(p.1));
        let inside = finite.clone().filter(|p| y.covers(p.1)).count();
        let finite = finite.count();
        let note = match reasons([
            (points().count() - finite, "not finite"),
            (finite - inside, "outside the axes"),
        ]) {
            reasons if reasons.is_empty() => reasons,
            reasons => format!("points not shown: {reasons}"),
        };
        let frame = Frame::draw(
            canvas,
            Headings {
                title: &self.title,
                note: &note,
                x: &self.x_label,
                y: &self.y_label,
            },
            &series::legend(&self.series, Style::of),
            (x, y),
            MARGIN,
        )?;
        series::draw(&self.series, Style::of, &frame)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use image::Rgb;
    use plotters::style::RGBColor;

    use super::*;
    use crate::charts::canvas::PALETTE;
    use crate::charts::render::rendered::{png_pixels, svg_text};

    fn line_chart(series: &[&[(f64, f64)]]) -> LineChart {
        LineChart {
            title: "title".into(),
            series: series
                .iter()
                .map(|points| Series {
                    name: String::new(),
                    points: points.to_vec(),
                })
                .collect(),
            ..LineChart::default()
        }
    }

    /// Rows of the PNG with a pixel in the color of the first series.
    fn colored_rows(chart: &LineChart) -> Vec<u32> {
        let RGBColor(r, g, b) = PALETTE[0];
        png_pixels(chart)
            .enumerate_pixels()
            .filter(|(_, _, p)| **p == Rgb([r, g, b]))
            .map(|(_, y, _)| y)
            .collect()
    }

    #[test]
    fn empty_charts_are_valid() {
        for chart in [
            line_chart(&[]),
            line_chart(&[&[]]),
            line_chart(&[&[(f64::NAN, 0.0)]]),
        ] {
            assert!(colored_rows(&chart).is_empty());
            assert!(svg_text(&chart).contains("0.5") || svg_text(&chart).contains("0.4"));
        }
    }

    #[test]
    fn a_single_point_is_visible() {
        assert!(colored_rows(&line_chart(&[&[(1.0, 0.3)]])).len() > 50);
    }

    #[test]
    fn a_point_that_is_not_finite_interrupts_its_line_and_is_counted() {
        let nan = f64::NAN;
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, 2.0), (4.0, 1.0)];
        let lines = |svg: &str| {
            let blue = |line: &&str| line.contains("<polyline") && line.contains("#0072B2");
            svg.lines().filter(blue).count()
        };
        let svg = svg_text(&line_chart(&[&points]));
        assert_eq!(lines(&svg), 2);
        assert!(svg.contains("points not shown: 1 not finite\n"));
    }

    #[test]
    fn a_dense_zigzag_stays_between_its_extremes() {
        let rows = |low: f64| {
            let points: Vec<_> = (0..1000)
                .map(|i| (f64::from(i), if i % 2 == 0 { low } else { 0.6 }))
                .collect();
            colored_rows(&LineChart {
                y_range: Some((0.0, 1.5)),
                ..line_chart(&[&points])
            })
        };
        let (flat, zigzag) = (rows(0.6), rows(0.55));
        // The markers of the flat line are taller than the line itself.
        assert!(zigzag.first() >= flat.first(), "{:?}", zigzag.first());
        assert!(zigzag.last() > flat.last());
    }

    #[test]
    fn points_outside_the_axes_are_counted_instead_of_drawn() {
        let drawn = |y: f64| {
            let chart = LineChart {
                y_range: Some((0.0, 2.0)),
                ..line_chart(&[&[(0.0, y)]])
            };
            let counted = svg_text(&chart).contains("points not shown: 1 outside the axes");
            (colored_rows(&chart).is_empty(), counted)
        };
        for (y, hidden) in [(0.0, false), (2.0, false), (2.1, true), (-0.1, true)] {
            assert_eq!(drawn(y), (hidden, hidden), "y = {y}");
        }
    }

    #[test]
    fn the_file_of_a_long_line_is_small() {
        let long: Vec<_> = (0..100_000)
            .map(|i| (f64::from(i), f64::from(i * 7919 % 1009)))
            .collect();
        assert!(svg_text(&line_chart(&[&long])).len() < 1_000_000);
    }

    #[test]
    fn long_series_have_few_markers() {
        let long: Vec<_> = (0..1000).map(|i| (f64::from(i), 0.0)).collect();
        assert_eq!(
            svg_text(&line_chart(&[&long])).matches("<circle").count(),
            12
        );
        assert_eq!(
            svg_text(&line_chart(&[&long[..40]]))
                .matches("<circle")
                .count(),
            40
        );
    }

    #[test]
    fn a_long_legend_wraps_above_the_data() {
        let mut chart = line_chart(&[&[(0.0, 1.0)][..]; 12]);
        for (i, series) in chart.series.iter_mut().enumerate() {
            series.name = format!("a rather long name of series {i}");
        }
        let svg = svg_text(&chart);
        let lines: Vec<&str> = svg.lines().collect();
        let after = |line: &str, mark: &str| -> f64 {
            let rest = line.split(mark).nth(1).unwrap();
            rest.split(['"', ' ', ',']).next().unwrap().parse().unwrap()
        };
        let mut names: Vec<f64> = lines
            .windows(2)
            .filter(|pair| pair[1].starts_with("a rather long name"))
            .map(|pair| after(pair[0], " y=\""))
            .collect();
        assert_eq!(names.len(), 12);
        names.dedup();
        assert!(names.len() > 2, "{names:?}");
        let grid = lines.iter().filter(|line| line.contains("#DEDEDE"));
        let heights = grid.flat_map(|line| {
            let points = line
                .split("points=\"")
                .nth(1)
                .unwrap()
                .split('"')
                .next()
                .unwrap();
            points
                .split_whitespace()
                .map(|p| p.split(',').nth(1).unwrap().parse::<f64>().unwrap())
        });
        let data_top = heights.fold(f64::INFINITY, f64::min);
        assert!(
            names.iter().all(|y| y + 10.0 < data_top),
            "{names:?} over {data_top}"
        );
    }

    #[test]
    fn a_huge_legend_is_shortened() {
        let mut chart = line_chart(&[&[(0.0, 1.0), (1.0, 3.0)][..]; 300]);
        for series in &mut chart.series {
            series.name = "a name that takes most of the width of a chart, or nearly so".into();
        }
        let svg = svg_text(&chart);
        let named = svg.matches("a name that takes").count();
        assert!((3..20).contains(&named), "{named} names");
        assert!(svg.contains(&format!("… and {} more", 300 - named)));
    }
}
