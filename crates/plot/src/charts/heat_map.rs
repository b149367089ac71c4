//! A function of two variables as colors.

use std::path::Path;

use plotters::backend::DrawingBackend;
use plotters::style::{RGBColor, WHITE};

use super::axis::{self, Axis};
use super::canvas::{Canvas, Drawn, Style};
use super::frame::{Frame, Headings};
use super::note::reasons;
use super::render::{self, Chart};
use super::series::{self, Series};
use crate::PlotError;

/// The number of different colors of the cells.
const COLORS: usize = 64;

/// The space for the color bar on the right of the frame, in pixels.
const COLOR_BAR_MARGIN: f64 = 170.0;

/// A function of two variables as colors, with lines over it, such as a loss by score and
/// IoU.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeatMap {
    /// The title above the chart.
    pub title: String,
    /// What the x axis measures, with its unit.
    pub x_label: String,
    /// What the y axis measures, with its unit.
    pub y_label: String,
    /// What the colors measure, with its unit.
    pub value_label: String,
    /// The ends of the x axis. An empty range becomes `(0, 1)`.
    pub x_range: (f64, f64),
    /// The ends of the y axis. An empty range becomes `(0, 1)`.
    pub y_range: (f64, f64),
    /// The values of the cells: rows from the low to the high end of the y axis, each from
    /// the low to the high end of the x axis. The rows have equal heights, and the cells of
    /// a row equal widths. Values that are not finite stay white and are counted.
    pub values: Vec<Vec<f64>>,
    /// The values of the first and last color. Values outside have the color of the nearer
    /// end and are counted. `None` or an empty range covers all values.
    pub value_range: Option<(f64, f64)>,
    /// Lines over the cells, clipped at the ends of the y axis.
    pub lines: Vec<Series>,
}

impl HeatMap {
    /// Writes the chart to `STEM.svg` and `STEM.png`, in an existing folder.
    ///
    /// # Errors
    ///
    /// [`PlotError`] names the file and the cause.
    pub fn save(&self, stem: &Path) -> Result<(), PlotError> {
        render::save(self, stem)
    }
}

impl Chart for HeatMap {
    const SIZE: (u32, u32) = (1050, 900);

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let none = std::iter::empty::<f64>();
        let x = Axis::over(self.x_range, none.clone());
        let y = Axis::over(self.y_range, none);
        let values = self.values.iter().flatten().copied();
        let finite = values.clone().filter(|value| axis::is_finite(*value));
        let ends = self.value_range.unwrap_or_else(|| {
            finite
                .clone()
                .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                    (low.min(value), high.max(value))
                })
        });
        let scale = Axis::over(ends, finite.clone());
        let beyond = finite.clone().filter(|value| !scale.covers(*value));
        let note = reasons([
            (
                values.clone().count() - finite.clone().count(),
                "not finite",
            ),
            (beyond.count(), "beyond the colors"),
        ]);
        let frame = Frame::draw(
            canvas,
            Headings {
                title: &self.title,
                note: &note,
                x: &self.x_label,
                y: &self.y_label,
            },
            &series::legend(&self.lines, Style::over_blue),
            (x, y),
            COLOR_BAR_MARGIN,
        )?;
        let step = |share: f64| (share * (COLORS - 1) as f64).round() / (COLORS - 1) as f64;
        let color = |value: &f64| match scale.position(*value) {
            Some(share) => heat(step(share.clamp(0.0, 1.0))),
            None => WHITE,
        };
        let cells: Vec<Vec<RGBColor>> = self
            .values
            .iter()
            .map(|row| row.iter().map(color).collect())
            .collect();
        frame.cells(&cells)?;
        let bar: Vec<RGBColor> = (0..COLORS)
            .map(|step| heat(step as f64 / (COLORS - 1) as f64))
            .collect();
        frame.color_bar(&scale, &bar, &self.value_label)?;
        series::draw(&self.lines, Style::over_blue, &frame)
    }
}

/// The color of a value between the low end of the scale (0) and the high end (1): from
/// white to dark blue. Lines remain visible over all but the darkest.
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;
    use crate::charts::render::rendered::{png_pixels, svg_text};

    #[test]
    fn cells_have_the_colors_of_their_values() {
        let chart = HeatMap {
            x_range: (0.0, 1.0),
            y_range: (0.0, 1.0),
            values: vec![vec![0.0, 1.0], vec![2.0, f64::NAN]],
            value_range: Some((0.0, 1.5)),
            ..HeatMap::default()
        };
        let text = svg_text(&chart);
        assert!(text.contains("1 not finite, 1 beyond the colors"), "{text}");
        let image = png_pixels(&chart);
        let (width, height) = HeatMap::SIZE;
        // Each position lies well inside one of the four cells.
        let at = |x: f64, y: f64| {
            let (x, y) = (x * f64::from(width), y * f64::from(height));
            image.get_pixel(x as u32, y as u32).0
        };
        let color = |share: f64| {
            let RGBColor(red, green, blue) = heat((share * 63.0).round() / 63.0);
            [red, green, blue]
        };
        assert_eq!(at(0.25, 0.75), color(0.0));
        assert_eq!(at(0.7, 0.75), color(1.0 / 1.5));
        assert_eq!(at(0.25, 0.25), color(1.0));
        assert_eq!(at(0.7, 0.25), [255; 3]);
    }
}
