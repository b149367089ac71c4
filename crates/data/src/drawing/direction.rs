//! Directions in the plane.

use rand::{Rng, RngExt};

/// A vector of length 1 in a random direction, by the rational parametrization of the circle.
pub(crate) fn unit_vector(rng: &mut impl Rng) -> [f32; 2] {
    let t: f32 = rng.random_range(-1.0..=1.0);
    let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
    if rng.random() {
        [cos, sin]
    } else {
        [-cos, -sin]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    #[test]
    fn unit_vectors_have_length_one_in_all_quadrants() {
        let mut rng = sample_rng(0, 0, 0);
        let vectors: Vec<[f32; 2]> = (0..400).map(|_| unit_vector(&mut rng)).collect();
        assert!(
            vectors
                .iter()
                .all(|[x, y]| (x * x + y * y - 1.0).abs() < 1e-6)
        );
        for (x_sign, y_sign) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
            let quadrant = vectors
                .iter()
                .filter(|[x, y]| x * x_sign > 0.0 && y * y_sign > 0.0)
                .count();
            assert!(quadrant > 60, "{quadrant} of 400");
        }
    }
}
