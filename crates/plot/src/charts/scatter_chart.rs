//! Dots in a plane.

use std::path::Path;

use plotters::backend::DrawingBackend;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::axis::{self, Axis};
use super::canvas::{Canvas, Drawn};
use super::frame::{Frame, Headings, MARGIN};
use super::legend::{Entry, Key};
use super::note::{count, grouped, reasons};
use super::render::{self, Chart};
use super::series::Series;
use crate::PlotError;

/// The maximum number of dots that are drawn.
const MAX_DOTS: usize = 2000;

/// Dots in a plane, such as the score and IoU of each detection.
///
/// At most 2,000 dots are drawn, sampled without replacement. The sample depends only on
/// the number of points. The line below the title tells how many of the points are
/// shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterChart {
    /// The title above the chart.
    pub title: String,
    /// What the x axis measures, with its unit.
    pub x_label: String,
    /// What the y axis measures, with its unit.
    pub y_label: String,
    /// The ends of the x axis. Points outside are not drawn but counted. An empty range
    /// covers all points.
    pub x_range: (f64, f64),
    /// The ends of the y axis, with the same rules.
    pub y_range: (f64, f64),
    /// The positions `(x, y)` of the dots.
    pub points: Vec<(f64, f64)>,
    /// Dots in another color, drawn over the others, and their name in the legend. If the
    /// dots are sampled, every dot of both groups is equally likely to be drawn.
    pub marked: Series,
    /// The name in the legend of a dashed line `y = x`. `None` draws no line.
    pub diagonal: Option<String>,
}

impl ScatterChart {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in an existing folder.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        render::save(self, stem)
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
        let x = Axis::over(self.x_range, points.iter().map(|((x, _), _)| *x));
        let y = Axis::over(self.y_range, points.iter().map(|((_, y), _)| *y));
        let finite: Vec<_> = points
            .iter()
            .filter(|(p, _)| axis::is_finite(p.0) && axis::is_finite(p.1))
            .copied()
            .collect();
        let inside: Vec<_> = finite
            .iter()
            .filter(|(p, _)| x.covers(p.0) && y.covers(p.1))
            .copied()
            .collect();
        let dots = sample_dots(&inside);

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
        for color in 0..2 {
            let group = dots.iter().filter(|(_, group)| *group == color);
            frame.dots(group.map(|(point, _)| *point), color)?;
        }
        if self.diagonal.is_some() {
            frame.diagonal()?;
        }
        Ok(())
    }
}

/// At most 2,000 of the points, in their order; the same ones for the same number of points.
///
/// They are drawn at random because detections are ordered by image and score: a fixed
/// stride could select the same rank in every image.
pub fn sample_dots<T: Copy>(points: &[T]) -> Vec<T> {
    if points.len() <= MAX_DOTS {
        return points.to_vec();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut chosen = rand::seq::index::sample(&mut rng, points.len(), MAX_DOTS).into_vec();
    chosen.sort_unstable();
    chosen.into_iter().map(|i| points[i]).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::charts::render::rendered::svg_text;

    fn scatter_chart(points: Vec<(f64, f64)>) -> ScatterChart {
        ScatterChart {
            x_range: (0.0, 1.0),
            y_range: (0.0, 1.0),
            points,
            ..Default::default()
        }
    }

    #[test]
    fn a_chart_without_points_says_so() {
        assert!(svg_text(&scatter_chart(Vec::new())).contains("0 points"));
    }

    #[test]
    fn large_charts_show_a_sample_and_its_size() {
        let point = |i: usize| (i as f64 / 7200.0, (i * 37 % 101) as f64 / 101.0);
        let chart = scatter_chart((0..7200).map(point).collect());
        let svg = svg_text(&chart);
        assert_eq!(svg.matches("<circle").count(), MAX_DOTS);
        assert!(svg.contains("2,000 of 7,200 points"));
        assert!(svg.len() < 500_000, "{} bytes", svg.len());
        assert_eq!(svg, svg_text(&chart));

        let few = scatter_chart((0..70).map(point).collect());
        assert_eq!(svg_text(&few).matches("<circle").count(), 70);
        assert!(svg_text(&few).contains("70 points"));
    }

    #[test]
    fn a_sample_keeps_the_order_and_favors_no_position() {
        let points: Vec<_> = (0..100_000).map(|i| (f64::from(i), 0.0)).collect();
        let chosen = sample_dots(&points);
        assert_eq!(chosen.len(), MAX_DOTS);
        assert!(chosen.windows(2).all(|pair| pair[0].0 < pair[1].0));
        // Detections come in blocks of 100 per image. Every position in a block must be
        // equally likely: 20 of 2,000 on average.
        let mut places = [0; 100];
        chosen.iter().for_each(|p| places[p.0 as usize % 100] += 1);
        assert!(places.iter().all(|n| (3..50).contains(n)), "{places:?}");
    }

    #[test]
    fn points_that_are_not_shown_are_counted() {
        let inf = f64::INFINITY;
        let points = vec![
            (0.5, 0.5),
            (0.0, 1.0),
            (f64::NAN, 0.5),
            (0.5, inf),
            (1.2, 0.5),
        ];
        let svg = svg_text(&scatter_chart(points));
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("2 of 5 points; 2 not finite, 1 outside the axes"));
    }

    #[test]
    fn the_diagonal_connects_equal_values() {
        let with = ScatterChart {
            diagonal: Some("score = IoU".into()),
            ..scatter_chart(vec![])
        };
        let dashes = |chart: &ScatterChart| svg_text(chart).matches("stroke-width=\"2\"").count();
        assert_eq!(dashes(&scatter_chart(vec![])), 0);
        assert!(dashes(&with) > 20);
        assert!(svg_text(&with).contains("score = IoU"));
        // If the ranges do not overlap, only the key in the legend is drawn.
        let apart = ScatterChart {
            x_range: (2.0, 3.0),
            ..with
        };
        assert!(dashes(&apart) < 5);
    }
}
