//! Charts as SVG and PNG files: lines for what changes over a run, dots for how two
//! scores go together.
//!
//! A chart is plain data with one method, `save`. Both files come from the same
//! drawing code. Colours are those of M. Okabe and K. Ito, which people with
//! colour-blindness can tell apart. Values that cannot be shown are left out, and
//! the line under the title counts them.
//!
//! ```
//! use fcos_burn_plot::{LineChart, Series};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let chart = LineChart {
//!     title: "Validation".into(),
//!     x_label: "epoch".into(),
//!     y_label: "AP".into(),
//!     series: vec![Series {
//!         name: "β = 1".into(),
//!         points: vec![(1.0, 0.12), (2.0, 0.21), (3.0, 0.26)],
//!     }],
//!     y_range: Some((0.0, 1.0)),
//! };
//! chart.save(&folder.path().join("ap"))?; // ap.svg and ap.png
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};
use std::{fs, io};

use image::{ImageFormat, RgbImage};
use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::drawing::IntoDrawingArea;
use plotters::style::{RGBColor, WHITE};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::{PlotError, font};
use axis::{Axis, Scale, grouped};
use canvas::{Canvas, Drawn, Style};
use frame::{Entry, Frame, Headings, Key, MARGIN};

mod axis;
mod canvas;
mod frame;

/// The number of dots that a [`ScatterChart`] draws at most.
pub const MOST_DOTS: usize = 2000;

/// A named line of a [`LineChart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// What the legend calls it; no entry where empty.
    pub name: String,
    /// `(x, y)` in the order in which the line visits them.
    pub points: Vec<(f64, f64)>,
}

/// Lines over a common axis, such as losses by epoch or precision by recall.
///
/// The x axis covers all points. A point that is not finite interrupts its line. Series of up to 40 points have
/// a marker at each, longer ones at a few, and so has a point without neighbours.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// The line above the chart.
    pub title: String,
    /// What the x axis measures, with its unit.
    pub x_label: String,
    /// What the y axis measures, with its unit.
    pub y_label: String,
    /// The lines, in the order of the legend; later ones lie on top.
    pub series: Vec<Series>,
    /// Ends of the y axis, beyond which lines are cut off; `None` (or an empty
    /// range) covers all points.
    pub y_range: Option<(f64, f64)>,
}

/// A [`LineChart`] with a logarithmic y axis: equal ratios take equal lengths, and a
/// point that is not positive interrupts its line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogLineChart(pub LineChart);

/// Dots in a plane, such as score against IoU for each detection.
///
/// At most [`MOST_DOTS`] are drawn: a sample without replacement, the same for the
/// same number of points. (Every n-th point would not do: detections are listed by
/// image and score, and a stride can fall into step with that.) The line under the
/// title says how many are shown, out of how many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterChart {
    /// The line above the chart.
    pub title: String,
    /// What the x axis measures, with its unit.
    pub x_label: String,
    /// What the y axis measures, with its unit.
    pub y_label: String,
    /// Ends of the x axis; points beyond are left out and counted. An empty range
    /// stands for that of the points.
    pub x_range: (f64, f64),
    /// Ends of the y axis, likewise.
    pub y_range: (f64, f64),
    /// `(x, y)` of the dots.
    pub points: Vec<(f64, f64)>,
    /// Dots of another colour, over the others, with their legend. A sample takes the
    /// same share of both.
    pub marked: Series,
    /// The legend of a dashed line `y = x`; `None` for no such line.
    pub diagonal: Option<String>,
}

/// A function of two variables as colours, with lines over it, such as a loss over score
/// and IoU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// The line above the chart.
    pub title: String,
    /// What the x axis measures, with its unit.
    pub x_label: String,
    /// What the y axis measures, with its unit.
    pub y_label: String,
    /// What the colours measure, with its unit.
    pub value_label: String,
    /// Ends of the x axis.
    pub x_range: (f64, f64),
    /// Ends of the y axis.
    pub y_range: (f64, f64),
    /// Rows from the low end of the y axis on, each from the low end of the x axis on:
    /// cells of equal size. Those that are not finite stay white, and are counted.
    pub values: Vec<Vec<f64>>,
    /// Ends of the colours; values beyond have the colour of the end, and are counted.
    /// `None` (or an empty range) covers all values.
    pub value_range: Option<(f64, f64)>,
    /// Lines over the cells, cut off at the ends of the y axis.
    pub lines: Vec<Series>,
}

impl LineChart {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in a folder that exists.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        save(self, stem)
    }
}

impl LogLineChart {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in a folder that exists.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        save(self, stem)
    }
}

impl ScatterChart {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in a folder that exists.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        save(self, stem)
    }
}

impl HeatMap {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in a folder that exists.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        save(self, stem)
    }
}

/// What `save` needs of a chart: a size in pixels, and one way to be drawn.
trait Chart {
    const SIZE: (u32, u32);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB>;
}

fn save<C: Chart>(chart: &C, stem: &Path) -> Result<(), PlotError> {
    let files = [("svg", svg(chart)), ("png", png(chart))];
    for (extension, content) in files {
        // Appended, since `with_extension` would cut a stem such as `beta-0.5`.
        let mut path = stem.as_os_str().to_owned();
        path.push(".");
        path.push(extension);
        let path = PathBuf::from(path);
        match content {
            Ok(bytes) => {
                fs::write(&path, bytes).map_err(|source| PlotError::Write { path, source })?;
            }
            Err(cause) => return Err(PlotError::Draw { path, cause }),
        }
    }
    Ok(())
}

fn svg<C: Chart>(chart: &C) -> Result<Vec<u8>, String> {
    let mut text = String::new();
    render(chart, SVGBackend::with_string(&mut text, C::SIZE), 0.05)?;
    Ok(text.into_bytes())
}

fn png<C: Chart>(chart: &C) -> Result<Vec<u8>, String> {
    let (width, height) = C::SIZE;
    let mut image = RgbImage::new(width, height);
    render(chart, BitMapBackend::with_buffer(&mut image, C::SIZE), 0.17)?;
    let mut file = io::Cursor::new(Vec::new());
    image
        .write_to(&mut file, ImageFormat::Png)
        .map_err(|error| error.to_string())?;
    Ok(file.into_inner())
}

fn render<C: Chart, DB: DrawingBackend>(
    chart: &C,
    backend: DB,
    text_drop: f64,
) -> Result<(), String> {
    let font = font::family().map_err(|error| format!("embedded font: {error}"))?;
    let canvas = Canvas {
        area: backend.into_drawing_area(),
        font,
        text_drop,
    };
    canvas
        .area
        .fill(&WHITE)
        .and_then(|()| chart.draw(&canvas))
        .and_then(|()| canvas.area.present())
        .map_err(|error| error.to_string())
}

impl Chart for LineChart {
    const SIZE: (u32, u32) = (1200, 750);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        self.draw_over(Scale::Linear, canvas)
    }
}

impl Chart for LogLineChart {
    const SIZE: (u32, u32) = LineChart::SIZE;

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        self.0.draw_over(Scale::Logarithmic, canvas)
    }
}

impl LineChart {
    fn draw_over<DB: DrawingBackend>(&self, y_scale: Scale, canvas: &Canvas<DB>) -> Drawn<DB> {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let (xs, ys) = (points().map(|p| p.0), points().map(|p| p.1));
        let x = Axis::around(xs, Scale::Linear);
        let y = match self.y_range {
            Some(range) => Axis::over(range, ys, y_scale),
            None => Axis::around(ys, y_scale),
        };
        let shown = points().filter(|p| x.shows(p.0) && y.shows(p.1));
        let inside = shown.clone().filter(|p| y.covers(p.1)).count();
        let shown = shown.count();
        let unshowable = match y_scale {
            Scale::Linear => "not finite",
            Scale::Logarithmic => "not finite or not positive",
        };
        let note = match reasons([
            (points().count() - shown, unshowable),
            (shown - inside, "outside the axes"),
        ]) {
            reasons if reasons.is_empty() => reasons,
            reasons => format!("points not shown: {reasons}"),
        };
        let legend: Vec<Entry<'_>> = self
            .series
            .iter()
            .enumerate()
            .filter(|(_, series)| !series.name.is_empty())
            .map(|(i, series)| Entry {
                key: Key::Line(Style::of(i)),
                name: &series.name,
            })
            .collect();
        let frame = Frame::draw(
            canvas,
            Headings {
                title: &self.title,
                note: &note,
                x: &self.x_label,
                y: &self.y_label,
            },
            &legend,
            (x, y),
            MARGIN,
        )?;
        for (i, series) in self.series.iter().enumerate() {
            frame.line(&series.points, Style::of(i))?;
        }
        Ok(())
    }
}

impl Chart for ScatterChart {
    const SIZE: (u32, u32) = (900, 900);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let points: Vec<_> = [&self.points, &self.marked.points]
            .into_iter()
            .enumerate()
            .flat_map(|(group, points)| points.iter().map(move |point| (*point, group)))
            .collect();
        let xs = points.iter().map(|((x, _), _)| *x);
        let x = Axis::over(self.x_range, xs, Scale::Linear);
        let ys = points.iter().map(|((_, y), _)| *y);
        let y = Axis::over(self.y_range, ys, Scale::Linear);
        let finite: Vec<_> = points
            .iter()
            .filter(|(p, _)| x.shows(p.0) && y.shows(p.1))
            .copied()
            .collect();
        let inside: Vec<_> = finite
            .iter()
            .filter(|(p, _)| x.covers(p.0) && y.covers(p.1))
            .copied()
            .collect();
        let dots = sample(&inside);

        let mut note = if dots.len() < points.len() {
            let shown = grouped(dots.len());
            format!("{shown} of {}", count(points.len(), "point"))
        } else {
            count(dots.len(), "point")
        };
        let left_out = reasons([
            (points.len() - finite.len(), "not finite"),
            (finite.len() - inside.len(), "outside the axes"),
        ]);
        if !left_out.is_empty() {
            note += &format!("; {left_out}");
        }
        let marked = (!self.marked.name.is_empty()).then_some(Entry {
            key: Key::Dot(1),
            name: &self.marked.name,
        });
        let diagonal = self.diagonal.iter().map(|name| Entry {
            key: Key::Dashes,
            name,
        });
        let legend: Vec<Entry<'_>> = marked.into_iter().chain(diagonal).collect();
        let frame = Frame::draw(
            canvas,
            Headings {
                title: &self.title,
                note: &note,
                x: &self.x_label,
                y: &self.y_label,
            },
            &legend,
            (x, y),
            MARGIN,
        )?;
        for colour in 0..2 {
            let group = dots.iter().filter(|(_, group)| *group == colour);
            frame.dots(group.map(|(point, _)| *point), colour)?;
        }
        if self.diagonal.is_some() {
            frame.diagonal()?;
        }
        Ok(())
    }
}

/// Number of colours of a heat map.
const COLOURS: usize = 64;

/// White, then darker and darker blues: lines are seen over all but the darkest.
fn heat(share: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 4] = [
        [255.0, 255.0, 255.0],
        [158.0, 202.0, 225.0],
        [33.0, 113.0, 181.0],
        [8.0, 29.0, 88.0],
    ];
    let place = share.clamp(0.0, 1.0) * (STOPS.len() - 1) as f64;
    let stop = (place as usize).min(STOPS.len() - 2);
    let part = place - stop as f64;
    let [red, green, blue] = std::array::from_fn(|channel| {
        let (from, to) = (STOPS[stop][channel], STOPS[stop + 1][channel]);
        (from + part * (to - from)).round() as u8
    });
    RGBColor(red, green, blue)
}

impl Chart for HeatMap {
    const SIZE: (u32, u32) = (1050, 900);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let none = std::iter::empty::<f64>();
        let x = Axis::over(self.x_range, none.clone(), Scale::Linear);
        let y = Axis::over(self.y_range, none, Scale::Linear);
        let values = self.values.iter().flatten().copied();
        let finite = values.clone().filter(|value| Scale::Linear.shows(*value));
        let ends = self.value_range.unwrap_or_else(|| {
            finite
                .clone()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(value), high.max(value))
                })
        });
        let colours = Axis::over(ends, finite.clone(), Scale::Linear);
        let beyond = finite.clone().filter(|value| !colours.covers(*value));
        let note = reasons([
            (
                values.clone().count() - finite.clone().count(),
                "not finite",
            ),
            (beyond.count(), "beyond the colours"),
        ]);
        let legend: Vec<Entry<'_>> = self
            .lines
            .iter()
            .enumerate()
            .filter(|(_, line)| !line.name.is_empty())
            .map(|(i, line)| Entry {
                key: Key::Line(Style::over_blue(i)),
                name: &line.name,
            })
            .collect();
        let frame = Frame::draw(
            canvas,
            Headings {
                title: &self.title,
                note: &note,
                x: &self.x_label,
                y: &self.y_label,
            },
            &legend,
            (x, y),
            170.0,
        )?;
        let step = |share: f64| (share * (COLOURS - 1) as f64).round() / (COLOURS - 1) as f64;
        let colour = |value: &f64| match colours.position(*value) {
            Some(share) => heat(step(share.clamp(0.0, 1.0))),
            None => WHITE,
        };
        let cells: Vec<Vec<RGBColor>> = self
            .values
            .iter()
            .map(|row| row.iter().map(colour).collect())
            .collect();
        frame.cells(&cells)?;
        let bar: Vec<RGBColor> = (0..COLOURS)
            .map(|step| heat(step as f64 / (COLOURS - 1) as f64))
            .collect();
        frame.colour_bar(&colours, &bar, &self.value_label)?;
        for (i, line) in self.lines.iter().enumerate() {
            frame.line(&line.points, Style::over_blue(i))?;
        }
        Ok(())
    }
}

/// At most [`MOST_DOTS`] of the points, in their order.
fn sample<T: Copy>(points: &[T]) -> Vec<T> {
    if points.len() <= MOST_DOTS {
        return points.to_vec();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut chosen = rand::seq::index::sample(&mut rng, points.len(), MOST_DOTS).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|i| points[i]).collect()
}

/// `3 not finite, 1 outside the axes`, without the reasons that do not occur.
fn reasons<const N: usize>(counts: [(usize, &str); N]) -> String {
    let occurring = counts.into_iter().filter(|(n, _)| *n > 0);
    occurring
        .map(|(n, why)| format!("{} {why}", grouped(n)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn count(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(n))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use image::Rgb;
    use plotters::style::RGBColor;

    use super::canvas::PALETTE;
    use super::*;

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

    fn scatter_chart(points: Vec<(f64, f64)>) -> ScatterChart {
        ScatterChart {
            x_range: (0.0, 1.0),
            y_range: (0.0, 1.0),
            points,
            ..Default::default()
        }
    }

    fn svg_of<C: Chart>(chart: &C) -> String {
        String::from_utf8(svg(chart).unwrap()).unwrap()
    }

    /// Rows of the PNG that hold a pixel in the colour of the first series.
    fn coloured_rows(chart: &LineChart) -> Vec<u32> {
        let image = image::load_from_memory(&png(chart).unwrap())
            .unwrap()
            .to_rgb8();
        let RGBColor(r, g, b) = PALETTE[0];
        let coloured = image
            .enumerate_pixels()
            .filter(|(_, _, p)| **p == Rgb([r, g, b]));
        coloured.map(|(_, y, _)| y).collect()
    }

    #[test]
    fn both_files_are_written_beside_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("beta-0.5");
        line_chart(&[&[(0.0, 1.0), (1.0, 2.0)]])
            .save(&stem)
            .unwrap();
        let svg = fs::read_to_string(folder.path().join("beta-0.5.svg")).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        let png = image::open(folder.path().join("beta-0.5.png")).unwrap();
        assert_eq!((png.width(), png.height()), LineChart::SIZE);
    }

    #[test]
    fn an_error_names_the_file_and_the_cause() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("absent").join("loss");
        let error = line_chart(&[]).save(&stem).unwrap_err();
        let PlotError::Write { path, source } = &error else {
            panic!("{error}")
        };
        assert_eq!(*path, stem.with_extension("svg"));
        assert_eq!(source.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("absent"));
    }

    #[test]
    fn texts_are_escaped_in_svg() {
        let chart = LineChart {
            y_label: "a < b & c".into(),
            ..line_chart(&[])
        };
        let svg = svg_of(&chart);
        assert!(svg.contains("a &lt; b &amp; c"));
        assert!(svg.contains("title"));
    }

    #[test]
    fn empty_charts_are_valid() {
        for chart in [
            line_chart(&[]),
            line_chart(&[&[]]),
            line_chart(&[&[(f64::NAN, 0.0)]]),
        ] {
            assert!(coloured_rows(&chart).is_empty());
            assert!(svg_of(&chart).contains("0.5") || svg_of(&chart).contains("0.4"));
        }
        png(&scatter_chart(Vec::new())).unwrap();
    }

    #[test]
    fn a_single_point_is_visible() {
        assert!(coloured_rows(&line_chart(&[&[(1.0, 0.3)]])).len() > 50);
    }

    #[test]
    fn a_missing_value_interrupts_its_line_and_is_counted() {
        let nan = f64::NAN;
        let points = [(0.0, 1.0), (1.0, 2.0), (2.0, nan), (3.0, 2.0), (4.0, 1.0)];
        let lines = |svg: &str| {
            let blue = |line: &&str| line.contains("<polyline") && line.contains("#0072B2");
            svg.lines().filter(blue).count()
        };
        let svg = svg_of(&line_chart(&[&points]));
        assert_eq!(lines(&svg), 2);
        assert!(svg.contains("points not shown: 1 not finite\n"));

        let logarithmic = LogLineChart(line_chart(&[
            &[(0.0, 1.0), (1.0, 0.1)],
            &[(0.0, -1.0), (1.0, 0.0)],
        ]));
        let svg = svg_of(&logarithmic);
        assert_eq!(lines(&svg), 1);
        assert!(svg.contains("points not shown: 2 not finite or not positive\n"));
    }

    #[test]
    fn a_dense_zigzag_stays_between_its_turns() {
        let rows = |low: f64| {
            let points: Vec<_> = (0..1000)
                .map(|i| (f64::from(i), if i % 2 == 0 { low } else { 0.6 }))
                .collect();
            coloured_rows(&LineChart {
                y_range: Some((0.0, 1.5)),
                ..line_chart(&[&points])
            })
        };
        let (flat, zigzag) = (rows(0.6), rows(0.55));
        // The flat line carries markers, which allow for some width.
        assert!(zigzag.first() >= flat.first(), "{:?}", zigzag.first());
        assert!(zigzag.last() > flat.last());
    }

    #[test]
    fn what_lies_beyond_the_axis_is_counted_instead_of_drawn() {
        let drawn = |y: f64| {
            let chart = LineChart {
                y_range: Some((0.0, 2.0)),
                ..line_chart(&[&[(0.0, y)]])
            };
            let counted = svg_of(&chart).contains("points not shown: 1 outside the axes");
            (coloured_rows(&chart).is_empty(), counted)
        };
        for (y, hidden) in [(0.0, false), (2.0, false), (2.1, true), (-0.1, true)] {
            assert_eq!(drawn(y), (hidden, hidden), "y = {y}");
        }
    }

    #[test]
    fn a_long_line_makes_a_file_of_bounded_size() {
        let long: Vec<_> = (0..100_000)
            .map(|i| (f64::from(i), f64::from(i * 7919 % 1009)))
            .collect();
        assert!(svg_of(&line_chart(&[&long])).len() < 1_000_000);
    }

    #[test]
    fn long_series_have_few_markers() {
        let long: Vec<_> = (0..1000).map(|i| (f64::from(i), 0.0)).collect();
        assert_eq!(svg_of(&line_chart(&[&long])).matches("<circle").count(), 12);
        assert_eq!(
            svg_of(&line_chart(&[&long[..40]]))
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
        let svg = svg_of(&chart);
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
    fn a_legend_beyond_all_room_leaves_room_for_the_data() {
        let mut chart = line_chart(&[&[(0.0, 1.0), (1.0, 3.0)][..]; 300]);
        for series in &mut chart.series {
            series.name = "a name that takes most of the width of a chart, or nearly so".into();
        }
        let svg = svg_of(&chart);
        let named = svg.matches("a name that takes").count();
        assert!((3..20).contains(&named), "{named} names");
        assert!(svg.contains(&format!("… and {} more", 300 - named)));
    }

    #[test]
    fn large_scatters_are_sampled_and_say_so() {
        let point = |i: usize| (i as f64 / 7200.0, (i * 37 % 101) as f64 / 101.0);
        let chart = scatter_chart((0..7200).map(point).collect());
        let svg = svg_of(&chart);
        assert_eq!(svg.matches("<circle").count(), MOST_DOTS);
        assert!(svg.contains("2,000 of 7,200 points"));
        assert!(svg.len() < 500_000, "{} bytes", svg.len());
        assert_eq!(svg, svg_of(&chart));

        let few = scatter_chart((0..70).map(point).collect());
        assert_eq!(svg_of(&few).matches("<circle").count(), 70);
        assert!(svg_of(&few).contains("70 points"));
    }

    #[test]
    fn a_sample_keeps_order_and_favours_no_position() {
        let points: Vec<_> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        let chosen = sample(&points);
        assert_eq!(chosen.len(), MOST_DOTS);
        assert!(chosen.windows(2).all(|pair| pair[0].0 < pair[1].0));
        // Detections come in blocks of a hundred: each place of the block must be
        // as likely as any other, 20 of 2,000 on average.
        let mut places = [0; 100];
        chosen.iter().for_each(|p| places[p.0 as usize % 100] += 1);
        assert!(places.iter().all(|n| (3..50).contains(n)), "{places:?}");
    }

    #[test]
    fn what_a_scatter_leaves_out_is_counted() {
        let inf = f64::INFINITY;
        let points = vec![
            (0.5, 0.5),
            (0.0, 1.0),
            (f64::NAN, 0.5),
            (0.5, inf),
            (1.2, 0.5),
        ];
        let svg = svg_of(&scatter_chart(points));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("2 of 5 points; 2 not finite, 1 outside the axes"));
    }

    #[test]
    fn the_diagonal_joins_equal_values() {
        let with = ScatterChart {
            diagonal: Some("score = IoU".into()),
            ..scatter_chart(vec![])
        };
        let dashes = |chart: &ScatterChart| svg_of(chart).matches("stroke-width=\"2\"").count();
        assert_eq!(dashes(&scatter_chart(vec![])), 0);
        assert!(dashes(&with) > 20);
        assert!(svg_of(&with).contains("score = IoU"));
        // Where the axes share no values there is nothing to draw but the legend.
        let apart = ScatterChart {
            x_range: (2.0, 3.0),
            ..with
        };
        assert!(dashes(&apart) < 5);
    }

    #[test]
    fn a_heat_map_has_the_colours_of_its_values() {
        let chart = HeatMap {
            x_range: (0.0, 1.0),
            y_range: (0.0, 1.0),
            values: vec![vec![0.0, 1.0], vec![2.0, f64::NAN]],
            value_range: Some((0.0, 1.5)),
            ..HeatMap::default()
        };
        let text = svg_of(&chart);
        assert!(
            text.contains("1 not finite, 1 beyond the colours"),
            "{text}"
        );
        let image = image::load_from_memory(&png(&chart).unwrap())
            .unwrap()
            .to_rgb8();
        let (width, height) = HeatMap::SIZE;
        // Within the four quarters of the frame, whatever its margins are.
        let at = |x: f64, y: f64| {
            let (x, y) = (x * f64::from(width), y * f64::from(height));
            image.get_pixel(x as u32, y as u32).0
        };
        let colour = |share: f64| {
            let RGBColor(red, green, blue) = heat((share * 63.0).round() / 63.0);
            [red, green, blue]
        };
        assert_eq!(at(0.25, 0.75), colour(0.0));
        assert_eq!(at(0.7, 0.75), colour(1.0 / 1.5));
        assert_eq!(at(0.25, 0.25), colour(1.0));
        assert_eq!(at(0.7, 0.25), [255; 3]);
    }
}
