//! The shapes, text and colors of charts.

use plotters::backend::DrawingBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind};
use plotters::element::{Circle, PathElement, Rectangle, Text, TriangleMarker};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color, FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, RGBColor, TextStyle,
};

pub(super) type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// The palette of Okabe and Ito without yellow, which is hard to see on white.
pub(super) const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];
pub(super) const INK: RGBColor = RGBColor(30, 30, 30);
pub(super) const FAINT: RGBColor = RGBColor(90, 90, 90);
pub(super) const GRID: RGBColor = RGBColor(222, 222, 222);

/// The look of a series. No two of the first 21 are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub color: RGBColor,
    marker: Marker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Disc,
    Triangle,
    Square,
}

impl Style {
    /// The look of a line over a heat map, whose colors are shades of blue.
    pub fn over_blue(index: usize) -> Self {
        Self {
            color: [PALETTE[1], INK][index % 2],
            ..Self::of(index)
        }
    }

    /// The look of a line on white.
    pub fn of(index: usize) -> Self {
        let markers = [Marker::Disc, Marker::Triangle, Marker::Square];
        Self {
            color: PALETTE[index % PALETTE.len()],
            marker: markers[index % markers.len()],
        }
    }
}

/// Heights of text, in pixels.
pub(super) const TITLE: f64 = 30.0;
pub(super) const LABEL: f64 = 24.0;
pub(super) const TICK: f64 = 20.0;

/// Which part of a text lies at its point, and the direction of the text.
pub(super) struct Anchor(HPos, FontTransform);

impl Anchor {
    pub const LEFT: Self = Self(HPos::Left, FontTransform::None);
    pub const RIGHT: Self = Self(HPos::Right, FontTransform::None);
    pub const CENTER: Self = Self(HPos::Center, FontTransform::None);
    pub const UPWARD: Self = Self(HPos::Center, FontTransform::Rotate270);
}

/// Whether a path turns by more than 60° at `b`.
fn is_sharp(a: (i32, i32), b: (i32, i32), c: (i32, i32)) -> bool {
    let (ux, uy) = (f64::from(b.0 - a.0), f64::from(b.1 - a.1));
    let (vx, vy) = (f64::from(c.0 - b.0), f64::from(c.1 - b.1));
    ux * vx + uy * vy < 0.5 * ux.hypot(uy) * vx.hypot(vy)
}

/// Draws shapes and text on an area of pixels.
pub(super) struct Canvas<DB: DrawingBackend> {
    pub area: DrawingArea<DB, Shift>,
    pub font: FontFamily<'static>,
    /// How far to lower text so that its capital letters are centered, as a fraction of
    /// its size. The backends of plotters center text differently.
    pub text_drop: f64,
}

/// The pixel nearest to a position.
pub(super) fn pixel((x, y): (f64, f64)) -> (i32, i32) {
    (x.round() as i32, y.round() as i32)
}

impl<DB: DrawingBackend> Canvas<DB> {
    pub fn path(&self, points: &[(f64, f64)], color: &RGBColor, width: u32) -> Drawn<DB> {
        let mut pixels: Vec<_> = points.iter().copied().map(pixel).collect();
        pixels.dedup();
        // The bitmap backend joins two strokes where their inner sides cross, which at a
        // sharp corner is beyond their ends. The path is therefore split there.
        let mut rest = pixels.as_slice();
        while let Some(corner) = rest.windows(3).position(|p| is_sharp(p[0], p[1], p[2])) {
            self.area.draw(&PathElement::new(
                &rest[..corner + 2],
                color.stroke_width(width),
            ))?;
            rest = &rest[corner + 1..];
        }
        self.area
            .draw(&PathElement::new(rest, color.stroke_width(width)))
    }

    pub fn marker(&self, at: (f64, f64), Style { color, marker }: Style) -> Drawn<DB> {
        let (x, y) = pixel(at);
        match marker {
            Marker::Disc => self.area.draw(&Circle::new((x, y), 6, color.filled())),
            Marker::Triangle => self
                .area
                .draw(&TriangleMarker::new((x, y), 8, color.filled())),
            Marker::Square => self.area.draw(&Rectangle::new(
                [(x - 5, y - 5), (x + 5, y + 5)],
                color.filled(),
            )),
        }
    }

    /// Fills the rectangle between two corners.
    pub fn fill(&self, from: (f64, f64), to: (f64, f64), color: &RGBColor) -> Drawn<DB> {
        self.area
            .draw(&Rectangle::new([pixel(from), pixel(to)], color.filled()))
    }

    pub fn dot(&self, at: (f64, f64), color: &RGBAColor) -> Drawn<DB> {
        self.area.draw(&Circle::new(pixel(at), 4, color.filled()))
    }

    pub fn dashes(&self, from: (f64, f64), to: (f64, f64)) -> Drawn<DB> {
        const DASH: f64 = 10.0;
        const GAP: f64 = 7.0;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |d: f64| {
            let share = (d / length).min(1.0);
            (
                from.0 + share * (to.0 - from.0),
                from.1 + share * (to.1 - from.1),
            )
        };
        let dashes = (length / (DASH + GAP)).ceil() as usize;
        for start in (0..dashes).map(|i| i as f64 * (DASH + GAP)) {
            self.path(&[at(start), at(start + DASH)], &INK, 2)?;
        }
        Ok(())
    }

    pub fn text(
        &self,
        text: &str,
        (x, y): (f64, f64),
        size: f64,
        color: &RGBColor,
        Anchor(side, direction): Anchor,
    ) -> Drawn<DB> {
        let drop = self.text_drop * size;
        let at = match direction {
            FontTransform::Rotate270 => (x + drop, y),
            _ => (x, y + drop),
        };
        let style = TextStyle::from(self.face(size).transform(direction))
            .color(color)
            .pos(Pos::new(side, VPos::Center));
        self.area.draw(&Text::new(text, pixel(at), style))
    }

    pub fn width(&self, text: &str, size: f64) -> f64 {
        self.face(size)
            .box_size(text)
            .map_or(0.0, |(width, _)| f64::from(width))
    }

    fn face(&self, size: f64) -> FontDesc<'static> {
        FontDesc::new(self.font, size, FontStyle::Normal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_21_series_look_different() {
        for i in 0..21 {
            for j in 0..i {
                assert_ne!(Style::of(i), Style::of(j), "{i} and {j}");
            }
        }
    }
}
