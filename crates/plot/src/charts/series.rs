//! Named lines, and their entries in the legend.

use plotters::backend::DrawingBackend;

use super::canvas::{Drawn, Style};
use super::frame::Frame;
use super::legend::{Entry, Key};

/// A named line of a [`LineChart`](crate::LineChart) or a [`HeatMap`](crate::HeatMap), or the
/// marked dots of a [`ScatterChart`](crate::ScatterChart).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The name in the legend. An empty name has no entry there.
    pub name: String,
    /// The points `(x, y)`, in the order in which a line connects them.
    pub points: Vec<(f64, f64)>,
}

/// The legend of lines whose styles `style` chooses by index.
pub(super) fn legend(series: &[Series], style: fn(usize) -> Style) -> Vec<Entry<'_>> {
    series
        .iter()
        .enumerate()
        .filter(|(_, series)| !series.name.is_empty())
        .map(|(i, series)| Entry {
            key: Key::Line(style(i)),
            name: &series.name,
        })
        .collect()
}

/// Draws lines whose styles `style` chooses by index.
pub(super) fn draw<DB: DrawingBackend>(
    series: &[Series],
    style: fn(usize) -> Style,
    frame: &Frame<'_, DB>,
) -> Drawn<DB> {
    for (i, series) in series.iter().enumerate() {
        frame.line(&series.points, style(i))?;
    }
    Ok(())
}
