//! A chart without its data: headings, legend and axes, and the rectangle that
//! these leave for lines and dots.

use plotters::backend::DrawingBackend;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::style::{Color, RGBColor};

use super::axis::Axis;
use super::canvas::{
    Anchor, Canvas, Drawn, FAINT, GRID, INK, LABEL, PALETTE, Style, TICK, TITLE, pixel,
};

/// Series of up to this many points have a marker at each.
const ALL_MARKED: usize = 40;

/// The number of markers of a longer series.
const SOME_MARKED: usize = 12;

pub(super) struct Headings<'a> {
    pub title: &'a str,
    pub note: &'a str,
    pub x: &'a str,
    pub y: &'a str,
}

pub(super) struct Entry<'a> {
    pub key: Key,
    pub name: &'a str,
}

/// What stands before a name in the legend.
pub(super) enum Key {
    Line(Style),
    Dashes,
    /// In a colour of the palette.
    Dot(usize),
}

/// Room at the right of a chart.
pub(super) const MARGIN: f64 = 34.0;

/// A chart without its data: the drawn headings and axes, and the rectangle that
/// the axes enclose.
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
        legend: &[Entry<'_>],
        (x, y): (Axis, Axis),
        margin: f64,
    ) -> Result<Self, DrawingAreaErrorKind<DB::ErrorType>> {
        let (width, height) = canvas.area.dim_in_pixel();
        let (width, height) = (f64::from(width), f64::from(height));

        let widest = y
            .ticks
            .iter()
            .map(|tick| canvas.width(&tick.label, TICK))
            .fold(0.0, f64::max);
        let left = 62.0 + widest;
        let right = width - margin;
        let bottom = height - 78.0;

        let mut top = 28.0;
        canvas.text(headings.title, (left, top), TITLE, &INK, Anchor::LEFT)?;
        top += 30.0;
        if !headings.note.is_empty() {
            canvas.text(headings.note, (left, top), TICK, &FAINT, Anchor::LEFT)?;
            top += 26.0;
        }
        top = draw_legend(canvas, legend, (left, right), (top, height / 3.0))? + 6.0;

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
        let centre = ((left + right) / 2.0, height - 24.0);
        frame
            .canvas
            .text(headings.x, centre, LABEL, &INK, Anchor::CENTRE)?;
        let centre = (26.0, (top + bottom) / 2.0);
        frame
            .canvas
            .text(headings.y, centre, LABEL, &INK, Anchor::UPWARDS)?;
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
            canvas.text(&tick.label, (x, bottom + 20.0), TICK, &INK, Anchor::CENTRE)?;
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
                self.canvas.path(&part, &style.colour, 3)?;
            }
            for &at in run.iter().step_by(every) {
                if (self.top..=self.bottom).contains(&at.1) {
                    self.canvas.marker(at, style)?;
                }
            }
        }
        Ok(())
    }

    /// Fills the frame with cells of equal size, row by row from the bottom, each from the
    /// left. Neighbours of one colour are one rectangle.
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

    /// Draws what the colours of [`cells`](Self::cells) mean at the right of the frame.
    pub fn colour_bar(&self, values: &Axis, colours: &[RGBColor], label: &str) -> Drawn<DB> {
        const WIDTH: f64 = 22.0;
        let Self {
            canvas,
            top,
            bottom,
            ..
        } = self;
        let left = self.right + 26.0;
        let height = (bottom - top) / colours.len() as f64;
        for (step, colour) in colours.iter().enumerate() {
            let low = bottom - step as f64 * height;
            canvas.fill((left, low - height), (left + WIDTH, low), colour)?;
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
        let centre = (left + WIDTH + 31.0 + widest, (top + bottom) / 2.0);
        canvas.text(label, centre, LABEL, &INK, Anchor::UPWARDS)
    }

    pub fn dots(&self, points: impl Iterator<Item = (f64, f64)>, colour: usize) -> Drawn<DB> {
        for at in points.filter_map(|point| self.place(point)) {
            self.canvas.dot(at, &PALETTE[colour].mix(0.3))?;
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

    /// Where a point falls, in pixels.
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

/// Draws the entries from left to right, row after row, and returns the height at
/// which they end; those with no room above the lowest row are only counted.
fn draw_legend<DB: DrawingBackend>(
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
                canvas.path(&[from, to], &style.colour, 3)?;
                canvas.marker((x + KEY / 2.0, y), style)?;
            }
            Key::Dashes => canvas.dashes(from, to)?,
            Key::Dot(colour) => canvas.dot((x + KEY / 2.0, y), &PALETTE[colour].to_rgba())?,
        }
        canvas.text(entry.name, (x + KEY + 10.0, y), TICK, &INK, Anchor::LEFT)?;
        x += width;
    }
    Ok(if entries.is_empty() { y } else { y + ROW })
}

/// A line that looks the same with at most four points a column of pixels: the
/// first, the last and the two extremes.
fn thinned(line: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut kept = Vec::with_capacity(line.len());
    for column in line.chunk_by(|a, b| pixel(*a).0 == pixel(*b).0) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let lowest = (0..column.len()).min_by(by_height).unwrap_or(0);
        let highest = (0..column.len()).max_by(by_height).unwrap_or(0);
        let mut indices = [0, lowest, highest, column.len() - 1];
        indices.sort_unstable();
        kept.extend(indices.map(|i| column[i]));
    }
    kept.dedup();
    kept
}

/// The parts of a line between two heights; a part has at least two points.
fn clipped(line: &[(f64, f64)], top: f64, bottom: f64) -> Vec<Vec<(f64, f64)>> {
    let mut parts: Vec<Vec<(f64, f64)>> = Vec::new();
    for pair in line.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        if from.1.max(to.1) < top || from.1.min(to.1) > bottom {
            continue;
        }
        let cut = |(x, y): (f64, f64)| {
            let edge = y.clamp(top, bottom);
            if edge == y {
                return (x, y);
            }
            let share = (edge - from.1) / (to.1 - from.1);
            (from.0 + share * (to.0 - from.0), edge)
        };
        let (start, end) = (cut(from), cut(to));
        match parts.last_mut() {
            Some(part) if part.last() == Some(&start) => part.push(end),
            _ => parts.push(vec![start, end]),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_at_the_ends_of_the_axis() {
        let line = [
            (0.0, 0.0),
            (10.0, 20.0),
            (20.0, 0.0),
            (30.0, 10.0),
            (40.0, 10.0),
        ];
        assert_eq!(
            clipped(&line, 5.0, 15.0),
            [
                vec![(2.5, 5.0), (7.5, 15.0)],
                vec![(12.5, 15.0), (17.5, 5.0)],
                vec![(25.0, 5.0), (30.0, 10.0), (40.0, 10.0)],
            ]
        );
        assert_eq!(clipped(&line[3..], 11.0, 15.0), Vec::<Vec<_>>::new());
        assert_eq!(clipped(&line[..1], -5.0, 5.0), Vec::<Vec<_>>::new());
    }

    #[test]
    fn thinning_keeps_the_ends_and_extremes_of_a_column() {
        let heights = [3.0, 4.0, 9.0, 5.0, 1.0, 2.0, 6.0];
        let column: Vec<_> = heights.iter().map(|y| (7.0 + y / 100.0, *y)).collect();
        let kept: Vec<f64> = thinned(&column).iter().map(|p| p.1).collect();
        assert_eq!(kept, [3.0, 9.0, 1.0, 6.0]);
        let sparse = [(0.0, 1.0), (1.0, 2.0), (2.0, 0.0)];
        assert_eq!(thinned(&sparse), sparse);
    }
}
