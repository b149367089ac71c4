//! The legend of a chart.

use plotters::backend::DrawingBackend;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::Color;

use super::canvas::{Anchor, Canvas, FAINT, INK, PALETTE, Style, TICK};

pub(super) struct Entry<'a> {
    pub key: Key,
    pub name: &'a str,
}

/// What stands before a name in the legend.
pub(super) enum Key {
    Line(Style),
    Dashes,
    /// A dot in the color of the palette with this index.
    Dot(usize),
}

/// Draws the entries from left to right, row by row from `top`, and returns the height
/// at which they end. Entries that would start below `lowest` are only counted.
pub(super) fn draw<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    entries: &[Entry<'_>],
    (left, right): (f64, f64),
    (top, lowest): (f64, f64),
) -> Result<f64, DrawingAreaErrorKind<DB::ErrorType>> {
    const KEY: f64 = 34.0;
    const ROW: f64 = 28.0;
    let (mut x, mut y) = (left, top);
    for (i, entry) in entries.iter().enumerate() {
        let width = KEY + 10.0 + canvas.width(entry.name, TICK) + 28.0;
        if x > left && x + width > right {
            (x, y) = (left, y + ROW);
        }
        if y > lowest {
            let rest = format!("… and {} more", entries.len() - i);
            canvas.text(&rest, (x, y), TICK, &FAINT, Anchor::LEFT)?;
            break;
        }
        let (from, to) = ((x, y), (x + KEY, y));
        match entry.key {
            Key::Line(style) => {
                canvas.path(&[from, to], &style.color, 3)?;
                canvas.marker((x + KEY / 2.0, y), style)?;
            }
            Key::Dashes => canvas.dashes(from, to)?,
            Key::Dot(color) => canvas.dot((x + KEY / 2.0, y), &PALETTE[color].to_rgba())?,
        }
        canvas.text(entry.name, (x + KEY + 10.0, y), TICK, &INK, Anchor::LEFT)?;
        x += width;
    }
    Ok(if entries.is_empty() { y } else { y + ROW })
}
