//! Projective maps of the plane.

use crate::BoundingBox;

/// A projective map of pixel coordinates by a matrix `m`: with `(u, v, w) = m · (x, y, 1)`, the point `(x, y)` is mapped to
/// `(u / w, v / w)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Projection(pub(super) [[f64; 3]; 3]);

impl Projection {
    pub(super) fn translation(x: f64, y: f64) -> Self {
        Self([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
    }

    /// The map that applies `self` first and `next` second.
    pub(super) fn then(self, next: Self) -> Self {
        Self(std::array::from_fn(|row| {
            std::array::from_fn(|column| (0..3).map(|k| next.0[row][k] * self.0[k][column]).sum())
        }))
    }

    /// The map back; `None` if there is none.
    pub(super) fn inverse(self) -> Option<Self> {
        let m = self.0;
        // Rows and columns wrap around, which gives the signs of the cofactors.
        let cofactor = |row: usize, column: usize| {
            let (r, s) = ((row + 1) % 3, (row + 2) % 3);
            let (c, d) = ((column + 1) % 3, (column + 2) % 3);
            m[r][c] * m[s][d] - m[r][d] * m[s][c]
        };
        let determinant: f64 = (0..3)
            .map(|column| m[0][column] * cofactor(0, column))
            .sum();
        let invertible = determinant.is_normal();
        invertible.then(|| {
            Self(std::array::from_fn(|row| {
                std::array::from_fn(|column| cofactor(column, row) / determinant)
            }))
        })
    }

    /// The box around the image of the ellipse that touches the four sides of `bbox`. `w` must be positive on the box.
    ///
    /// A line `l` touches a conic with the dual matrix `D` if `lᵀDl = 0`. The dual of an ellipse about the origin is
    /// `diag(a², b², −1)`, and that of its image under `m` is `m·D·mᵀ` (Hartley and Zisserman, Multiple View Geometry,
    /// 2nd edition, result 2.14).
    pub(super) fn ellipse_box(self, bbox: BoundingBox) -> BoundingBox {
        let [x1, y1, x2, y2] = bbox.to_xyxy().map(f64::from);
        let center = Self::translation((x1 + x2) / 2.0, (y1 + y2) / 2.0);
        let half = [(x2 - x1) / 2.0, (y2 - y1) / 2.0];
        let [rows @ .., last] = center.then(self).0;
        let product = |a: [f64; 3], b: [f64; 3]| {
            half[0].powi(2) * a[0] * b[0] + half[1].powi(2) * a[1] * b[1] - a[2] * b[2]
        };
        // The lines `x = t` touch the ellipse at the roots of a quadratic equation; `y = t` likewise. Relative to the
        // image of the center, it is free of cancellation, so that the identity gives exactly the box.
        let edges = rows.map(|row| {
            let origin = row[2] / last[2];
            let row: [f64; 3] = std::array::from_fn(|k| row[k] - origin * last[k]);
            let (a, b, c) = (product(last, last), product(row, last), product(row, row));
            let root = (b * b - a * c).sqrt();
            [(b + root) / a, (b - root) / a].map(|t| (origin + t) as f32)
        });
        let [[x1, x2], [y1, y2]] = edges;
        BoundingBox::new(x1, y1, x2, y2)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn map(by: Projection, [x, y]: [f64; 2]) -> [f64; 2] {
        let [u, v, w] = by.0.map(|[a, b, c]| a * x + b * y + c);
        [u / w, v / w]
    }

    /// Any map of moderate strength about the point (50, 40).
    fn projections() -> impl Strategy<Value = Projection> {
        let entry = -1.5..1.5_f64;
        let linear = [entry.clone(), entry.clone(), entry.clone(), entry];
        (linear, [-2e-3..2e-3_f64, -2e-3..2e-3_f64])
            .prop_map(|([a, b, c, d], [g, h])| {
                let middle = Projection([[a, b, 0.0], [c, d, 0.0], [g, h, 1.0]]);
                let there = Projection::translation(-50.0, -40.0);
                there.then(middle).then(Projection::translation(60.0, 30.0))
            })
            .prop_filter("nearly singular", |map| {
                let [[a, b, _], [c, d, _], _] = map.0;
                (a * d - b * c).abs() > 0.05
            })
    }

    proptest! {
        #[test]
        fn the_box_of_an_ellipse_is_that_of_its_points(
            by in projections(),
            x in 0.0..80.0_f32, y in 0.0..60.0_f32, width in 1.0..30.0_f32, height in 1.0..30.0_f32,
        ) {
            let bbox = BoundingBox::new(x, y, x + width, y + height);
            let found = by.ellipse_box(bbox).to_xyxy().map(f64::from);
            let mut expected = [f64::MAX, f64::MAX, f64::MIN, f64::MIN];
            for step in 0..3600 {
                let (sin, cos) = (f64::from(step) / 10.0).to_radians().sin_cos();
                let center = [x + width / 2.0, y + height / 2.0].map(f64::from);
                let half = [width, height].map(|side| f64::from(side) / 2.0);
                let [u, v] = map(by, [center[0] + half[0] * cos, center[1] + half[1] * sin]);
                expected = [expected[0].min(u), expected[1].min(v), expected[2].max(u), expected[3].max(v)];
            }
            for (found, expected) in found.iter().zip(expected) {
                prop_assert!((found - expected).abs() < 1e-3, "{found} is not {expected}");
            }
        }

        #[test]
        fn the_inverse_maps_back(by in projections(), x in 0.0..100.0, y in 0.0..80.0) {
            let [u, v] = map(by.inverse().unwrap(), map(by, [x, y]));
            prop_assert!((u - x).abs() < 1e-6 && (v - y).abs() < 1e-6, "({u}, {v})");
        }

        #[test]
        fn the_identity_gives_exactly_the_box(
            x in 0.0..5000.0_f32, y in 0.0..5000.0_f32, width in 0.1..900.0_f32, height in 0.1..900.0_f32,
        ) {
            let bbox = BoundingBox::new(x, y, x + width, y + height);
            prop_assert_eq!(Projection::translation(0.0, 0.0).ellipse_box(bbox), bbox);
        }
    }

    #[test]
    fn a_singular_map_has_no_inverse() {
        let flat = Projection([[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [0.0, 0.0, 1.0]]);
        assert_eq!(flat.inverse(), None);
    }
}
