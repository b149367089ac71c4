//! Outlines of objects and strokes, as sets of points in the plane.

use crate::drawing::Color;

/// The classes, in the order of the labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShapeKind {
    Circle,
    Square,
    Triangle,
    Star,
    Cross,
    Ring,
}

impl ShapeKind {
    pub(super) const ALL: [Self; 6] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Star,
        Self::Cross,
        Self::Ring,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Star => "star",
            Self::Cross => "cross",
            Self::Ring => "ring",
        }
    }

    /// The center of the color range of typical objects of the class.
    pub(super) fn typical_color(self) -> Color {
        match self {
            Self::Circle => [215.0, 60.0, 55.0],
            Self::Square => [55.0, 95.0, 210.0],
            Self::Triangle => [225.0, 205.0, 60.0],
            Self::Star => [180.0, 65.0, 190.0],
            Self::Cross => [60.0, 170.0, 75.0],
            Self::Ring => [70.0, 200.0, 205.0],
        }
    }

    /// Whether the shape of half-length 1 around the origin contains the point.
    fn contains(self, u: f32, v: f32) -> bool {
        match self {
            Self::Circle => u * u + v * v <= 1.0,
            Self::Square => u.abs() <= 1.0 && v.abs() <= 1.0,
            Self::Triangle => v <= 1.0 && 2.0 * u.abs() <= v + 1.0,
            Self::Star => star_contains(u, v),
            Self::Cross => u.abs().min(v.abs()) <= 0.3 && u.abs().max(v.abs()) <= 1.0,
            Self::Ring => (0.3..=1.0).contains(&(u * u + v * v)),
        }
    }
}

/// A five-pointed star with its tips on the unit circle, one of them at (0, -1), and its notches at half that radius.
///
/// The star is symmetric about five axes. Folding the point over three of them leaves one edge to compare with.
fn star_contains(u: f32, v: f32) -> bool {
    const COS_36: f32 = 0.809_017;
    const SIN_36: f32 = 0.587_785_25;
    const NOTCH: f32 = 0.5;
    let (mut x, mut y) = (u.abs(), -v);
    for (nx, ny) in [(COS_36, -SIN_36), (-COS_36, -SIN_36)] {
        let beyond = 2.0 * (nx * x + ny * y).max(0.0);
        x -= beyond * nx;
        y -= beyond * ny;
    }
    x = x.abs();
    // The edge from the tip (0, 1) to the notch at 36 degrees from it.
    let (edge_x, edge_y) = (NOTCH * SIN_36, NOTCH * COS_36 - 1.0);
    edge_x * (y - 1.0) - edge_y * x <= 0.0
}

/// A region of the plane, in pixels.
pub(super) trait Region {
    fn contains(&self, x: f32, y: f32) -> bool;

    /// Left, top, right and bottom bounds of the region.
    fn extent(&self) -> [f32; 4];

    /// Left and right bounds of the region in the row at `y`.
    fn span(&self, _y: f32) -> [f32; 2] {
        let [left, _, right, _] = self.extent();
        [left, right]
    }
}

/// A shape with position, size and rotation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub kind: ShapeKind,
    pub center: [f32; 2],
    /// Half the length along the shape's own axes, in pixels.
    pub half: [f32; 2],
    /// Cosine and sine of the rotation.
    pub rotation: [f32; 2],
}

impl Region for Figure {
    fn contains(&self, x: f32, y: f32) -> bool {
        let ([cx, cy], [cos, sin]) = (self.center, self.rotation);
        let (dx, dy) = (x - cx, y - cy);
        self.kind.contains(
            (cos * dx + sin * dy) / self.half[0],
            (cos * dy - sin * dx) / self.half[1],
        )
    }

    fn extent(&self) -> [f32; 4] {
        let ([cx, cy], [cos, sin], [a, b]) = (self.center, self.rotation.map(f32::abs), self.half);
        let (reach_x, reach_y) = (cos * a + sin * b, sin * a + cos * b);
        [cx - reach_x, cy - reach_y, cx + reach_x, cy + reach_y]
    }
}

/// A line segment with round ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub ends: [[f32; 2]; 2],
    /// Half the width, in pixels.
    pub radius: f32,
}

impl Region for Segment {
    fn contains(&self, x: f32, y: f32) -> bool {
        let [[ax, ay], [bx, by]] = self.ends;
        let (dx, dy) = (bx - ax, by - ay);
        let length = (dx * dx + dy * dy).max(f32::MIN_POSITIVE);
        let along = (((x - ax) * dx + (y - ay) * dy) / length).clamp(0.0, 1.0);
        let (ex, ey) = (x - ax - along * dx, y - ay - along * dy);
        ex * ex + ey * ey <= self.radius * self.radius
    }

    fn extent(&self) -> [f32; 4] {
        let [[ax, ay], [bx, by]] = self.ends;
        let reach = self.radius;
        [
            ax.min(bx) - reach,
            ay.min(by) - reach,
            ax.max(bx) + reach,
            ay.max(by) + reach,
        ]
    }

    /// The bounds of the infinite line: a long slanted segment fills little of its extent.
    fn span(&self, y: f32) -> [f32; 2] {
        let [[ax, ay], [bx, by]] = self.ends;
        let (dx, dy) = (bx - ax, by - ay);
        let [left, _, right, _] = self.extent();
        if dy == 0.0 {
            return [left, right];
        }
        let middle = ax + (y - ay) / dy * dx;
        let reach = self.radius * (dx * dx + dy * dy).sqrt() / dy.abs();
        [left.max(middle - reach), right.min(middle + reach)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fraction of the square `[-1, 1]²` that a shape covers.
    fn covered(kind: ShapeKind) -> f32 {
        let n = 400;
        let at = |i: usize| (i as f32 + 0.5) * 2.0 / n as f32 - 1.0;
        let hits = (0..n * n)
            .filter(|i| kind.contains(at(i % n), at(i / n)))
            .count();
        hits as f32 / (n * n) as f32
    }

    #[test]
    fn areas_match_their_closed_forms() {
        let pi = std::f32::consts::PI;
        // Ten triangles between center, tip and notch: ½·1·½·sin 36° each; the square's area is 4.
        let star = 10.0 * 0.25 * (pi / 5.0).sin() / 4.0;
        // Two bars of 2 x 0.6 minus their common square.
        let cross = (2.0 * 1.2 - 0.36) / 4.0;
        let expected = [pi / 4.0, 1.0, 0.5, star, cross, 0.7 * pi / 4.0];
        for (kind, area) in ShapeKind::ALL.into_iter().zip(expected) {
            assert!(
                (covered(kind) - area).abs() < 3e-3,
                "{}: {} is not {area}",
                kind.name(),
                covered(kind)
            );
        }
    }

    #[test]
    fn segments_stay_within_their_spans() {
        for ends in [
            [[5.0, 5.0], [35.0, 30.0]],
            [[30.0, 5.0], [5.0, 9.0]],
            [[8.0, 9.0], [8.0, 9.0]],
        ] {
            let segment = Segment { ends, radius: 2.5 };
            for i in 0..160 * 160 {
                let (x, y) = ((i % 160) as f32 / 4.0, (i / 160) as f32 / 4.0);
                let [left, right] = segment.span(y);
                assert!(
                    (left - 1e-3..=right + 1e-3).contains(&x) || !segment.contains(x, y),
                    "{ends:?} at {x}, {y}"
                );
            }
        }
    }

    #[test]
    fn rotated_figures_stay_within_their_extent() {
        for kind in ShapeKind::ALL {
            let figure = Figure {
                kind,
                center: [20.0, 20.0],
                half: [12.0, 5.0],
                rotation: [0.6, -0.8],
            };
            let [x1, y1, x2, y2] = figure.extent();
            for i in 0..160 * 160 {
                let (x, y) = ((i % 160) as f32 / 4.0, (i / 160) as f32 / 4.0);
                let within = (x1..=x2).contains(&x) && (y1..=y2).contains(&y);
                assert!(within || !figure.contains(x, y), "{kind:?} at {x}, {y}");
            }
        }
    }
}
