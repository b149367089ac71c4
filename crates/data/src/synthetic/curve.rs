//! Smooth functions from operations that are rounded exactly.

use std::ops::RangeInclusive;

use rand::{Rng, RngExt};

/// The sine of an angle in turns, within 0.0011.
pub(super) fn sine(turns: f32) -> f32 {
    let t = turns - turns.floor() - 0.5;
    let parabola = 16.0 * t * (t.abs() - 0.5);
    parabola + 0.225 * (parabola * parabola.abs() - parabola)
}

/// Cosine and sine of an angle in turns, within 0.0011.
pub(super) fn direction(turns: f32) -> [f32; 2] {
    [sine(turns + 0.25), sine(turns)]
}

/// `base` to the power of `exponent`, which is from 0 to 1, by repeated square roots.
pub(super) fn power(base: f32, exponent: f32) -> f32 {
    const BITS: u32 = 12;
    let bits = (exponent * (1 << BITS) as f32) as u32;
    let mut root = base;
    let mut product = if bits >> BITS == 1 { base } else { 1.0 };
    for bit in (0..BITS).rev() {
        root = root.sqrt();
        if (bits >> bit) & 1 == 1 {
            product *= root;
        }
    }
    product
}

/// A value whose logarithm is uniform between those of the bounds, which are positive.
pub(super) fn log_uniform(range: RangeInclusive<f32>, rng: &mut impl Rng) -> f32 {
    let (low, high) = range.into_inner();
    low * power((high / low).max(1.0), rng.random())
}

/// A value that differs from `value` by at most the fraction `relative` of it.
pub(super) fn vary(value: f32, relative: f32, rng: &mut impl Rng) -> f32 {
    value * (1.0 + rng.random_range(-relative..=relative))
}

/// One of the values, by weight.
pub(super) fn choose<T: Copy>(weighted: &[(T, f32)], rng: &mut impl Rng) -> T {
    let total: f32 = weighted.iter().map(|(_, weight)| weight).sum();
    let mut left = total * rng.random::<f32>();
    for (value, weight) in weighted {
        left -= weight;
        if left < 0.0 {
            return *value;
        }
    }
    weighted[weighted.len() - 1].0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    #[test]
    fn approximations_are_close_to_the_functions() {
        for step in -400..=400 {
            let turns = step as f32 / 160.0;
            let exact = (turns * std::f32::consts::TAU).sin();
            assert!((sine(turns) - exact).abs() < 1.2e-3, "{turns}");
            let [cos, sin] = direction(turns);
            assert!((cos * cos + sin * sin - 1.0).abs() < 3e-3);
        }
        for (base, exponent) in [
            (20.0, 0.5),
            (3.0, 0.123),
            (117.0, 0.999),
            (5.0, 0.0),
            (7.0, 1.0),
        ] {
            let exact = f32::powf(base, exponent);
            assert!((power(base, exponent) / exact - 1.0).abs() < 2e-3);
        }
    }

    #[test]
    fn logarithms_of_log_uniform_values_are_uniform() {
        let mut rng = sample_rng(0, 0, 0);
        let values: Vec<f32> = (0..4000)
            .map(|_| log_uniform(6.0..=96.0, &mut rng))
            .collect();
        for (low, high) in [(6.0, 12.0), (12.0, 24.0), (24.0, 48.0), (48.0, 96.0)] {
            let count = values
                .iter()
                .filter(|value| (low..high).contains(*value))
                .count();
            assert!(
                (900..1100).contains(&count),
                "{count} of 4000 from {low} to {high}"
            );
        }
    }
}
