//! Colors.

use rand::{Rng, RngExt};

/// Red, green and blue, each from 0 to 255.
pub(crate) type Color = [f32; 3];

pub(crate) fn mix(a: Color, b: Color, fraction: f32) -> Color {
    std::array::from_fn(|channel| a[channel] + (b[channel] - a[channel]) * fraction)
}

/// A color at most `distance` away in each channel.
pub(crate) fn nearby(color: Color, distance: f32, rng: &mut impl Rng) -> Color {
    color.map(|value| value + rng.random_range(-distance..=distance))
}

/// A color that is brighter or darker by `distance`, whichever stays in range.
pub(crate) fn shifted(color: Color, distance: f32, rng: &mut impl Rng) -> Color {
    let brightness = color.iter().sum::<f32>() / 3.0;
    let up = if (distance..=255.0 - distance).contains(&brightness) {
        rng.random()
    } else {
        brightness < 127.5
    };
    let shift = if up { distance } else { -distance };
    color.map(|value| value + shift)
}
