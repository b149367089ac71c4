//! A chart without its data: headings, legend and axes, around the rectangle in which
//! the data is drawn.

use plotters::backend::DrawingBackend;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::{Color, RGBColor};

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Drawn, FAINT, GRID, INK, LABEL, PALETTE, Style, TICK, TITLE};
use super::legend::{self, Entry};
use super::polyline::{clipped, thinned};

/// A series of up to this many points has a marker at each.
const ALL_MARKED: usize = 40;

/// The number of markers of a longer series without interruptions.
const SOME_MARKED: usize = 12;

pub(super) struct Headings<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

/// The usual space on the right of the frame, in pixels.
pub(super) const MARGIN: f64 = 34.0;

/// The rectangle enclosed by the axes, in pixels.
pub(super) struct Frame<'a, DB: DrawingBackend> {
    canvas: &'a Canvas<DB>,
    x: Axis,
    y: Axis,
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl<'a, DB: DrawingBackend> Frame<'a, DB> {
    pub fn draw(
        canvas: &'a Canvas<DB>,
        headings: Headings<'_>,
        entries: &[Entry<'_>],
        (x, y): (Axis, Axis),
        right_margin: f64,
    ) -> Result<Self, DrawingAreaErrorKind<DB::ErrorType>> {
        let (width, height) = canvas.area.dim_in_pixel();
        let (width, height) = (f64::from(width), f64::from(height));

        let widest = y
            .ticks
            .iter()
            .map(|tick| canvas.width(&tick.label, TICK))
            .fold(0.0, f64::max);
        let left = 62.0 + widest;
        let right = width - right_margin;
        let bottom = height - 78.0;

        let mut top = 28.0;
        canvas.text(headings.title, (left, top), TITLE, &INK, Anchor::LEFT)?;
        top += 30.0;
        if !headings.note.is_empty() {
            canvas.text(headings.note, (left, top), TICK, &FAINT, Anchor::LEFT)?;
            top += 26.0;
        }
        top = legend::draw(canvas, entries, (left, right), (top, height / 3.0))? + 6.0;

        let frame = Self {
            canvas,
            x,
            y,
            left,
            right,
            top,
            bottom,
        };
        frame.axes()?;
        let center = ((left + right) / 2.0, height - 24.0);
        frame
            .canvas
            .text(headings.x, center, LABEL, &INK, Anchor::CENTER)?;
        let center = (26.0, (top + bottom) / 2.0);
        frame
            .canvas
            .text(headings.y, center, LABEL, &INK, Anchor::UPWARD)?;
        Ok(frame)
    }

    fn axes(&self) -> Drawn<DB> {
        let Self {
            canvas,
            left,
            right,
            top,
            bottom,
            ..
        } = self;
        for tick in &self.x.ticks {
            let Some(x) = self.across(tick.value) else {
                continue;
            };
            canvas.path(&[(x, *top), (x, *bottom)], &GRID, 1)?;
            canvas.path(&[(x, *bottom), (x, bottom + 6.0)], &INK, 1)?;
            canvas.text(&tick.label, (x, bottom + 20.0), TICK, &INK, Anchor::CENTER)?;
        }
        for tick in &self.y.ticks {
            let Some(y) = self.down(tick.value) else {
                continue;
            };
            canvas.path(&[(*left, y), (*right, y)], &GRID, 1)?;
            canvas.path(&[(left - 6.0, y), (*left, y)], &INK, 1)?;
            canvas.text(&tick.label, (left - 11.0, y), TICK, &INK, Anchor::RIGHT)?;
        }
        canvas.path(
            &[(*left, *top), (*left, *bottom), (*right, *bottom)],
            &INK,
            1,
        )
    }

    pub fn line(&self, points: &[(f64, f64)], style: Style) -> Drawn<DB> {
        let placed: Vec<_> = points.iter().map(|p| self.place(*p)).collect();
        let shown = placed.iter().flatten().count();
        let every = if shown <= ALL_MARKED {
            1
        } else {
            shown.div_ceil(SOME_MARKED)
        };
        for run in placed.split(Option::is_none) {
            let run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            for part in clipped(&thinned(&run), self.top, self.bottom) {
                self.canvas.path(&part, &style.color, 3)?;
            }
            for &at in run.iter().step_by(every) {
                if (self.top..=self.bottom).contains(&at.1) {
                    self.canvas.marker(at, style)?;
                }
            }
        }
        Ok(())
    }

    /// Fills the frame with cells of equal size: rows from bottom to top, cells from left
    /// to right. Neighbors of the same color become one rectangle.
    pub fn cells(&self, rows: &[Vec<RGBColor>]) -> Drawn<DB> {
        let down = (self.bottom - self.top) / rows.len() as f64;
        for (row, cells) in rows.iter().enumerate() {
            let across = (self.right - self.left) / cells.len() as f64;
            let bottom = self.bottom - row as f64 * down;
            let mut start = 0;
            for run in cells.chunk_by(|a, b| a == b) {
                let end = start + run.len();
                let from = (self.left + start as f64 * across, bottom - down);
                let to = (self.left + end as f64 * across, bottom);
                self.canvas.fill(from, to, &run[0])?;
                start = end;
            }
        }
        Ok(())
    }

    /// Draws the scale of the colors of [`cells`](Self::cells) on the right of the frame.
    pub fn color_bar(&self, values: &Axis, colors: &[RGBColor], label: &str) -> Drawn<DB> {
        const WIDTH: f64 = 22.0;
        let Self {
            canvas,
            top,
            bottom,
            ..
        } = self;
        let left = self.right + 26.0;
        let height = (bottom - top) / colors.len() as f64;
        for (step, color) in colors.iter().enumerate() {
            let low = bottom - step as f64 * height;
            canvas.fill((left, low - height), (left + WIDTH, low), color)?;
        }
        let mut widest: f64 = 0.0;
        for tick in &values.ticks {
            let Some(share) = values.position(tick.value) else {
                continue;
            };
            let y = bottom - share * (bottom - top);
            canvas.path(&[(left + WIDTH, y), (left + WIDTH + 6.0, y)], &INK, 1)?;
            let at = (left + WIDTH + 11.0, y);
            canvas.text(&tick.label, at, TICK, &INK, Anchor::LEFT)?;
            widest = widest.max(canvas.width(&tick.label, TICK));
        }
        let center = (left + WIDTH + 31.0 + widest, (top + bottom) / 2.0);
        canvas.text(label, center, LABEL, &INK, Anchor::UPWARD)
    }

    pub fn dots(&self, points: impl Iterator<Item = (f64, f64)>, color: usize) -> Drawn<DB> {
        for at in points.filter_map(|point| self.place(point)) {
            self.canvas.dot(at, &PALETTE[color].mix(0.3))?;
        }
        Ok(())
    }

    pub fn diagonal(&self) -> Drawn<DB> {
        let ((x_low, x_high), (y_low, y_high)) = (self.x.range(), self.y.range());
        let (low, high) = (x_low.max(y_low), x_high.min(y_high));
        if low < high
            && let (Some(from), Some(to)) = (self.place((low, low)), self.place((high, high)))
        {
            self.canvas.dashes(from, to)?;
        }
        Ok(())
    }

    /// The position of a point in pixels.
    fn place(&self, (x, y): (f64, f64)) -> Option<(f64, f64)> {
        self.across(x).zip(self.down(y))
    }

    fn across(&self, x: f64) -> Option<f64> {
        self.x
            .position(x)
            .map(|p| self.left + p * (self.right - self.left))
    }

    fn down(&self, y: f64) -> Option<f64> {
        self.y
            .position(y)
            .map(|p| self.bottom - p * (self.bottom - self.top))
    }
}
