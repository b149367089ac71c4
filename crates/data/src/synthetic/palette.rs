//! Which colors occur in an image.

use rand::{Rng, RngExt};

use super::curve::{choose, sine};
use crate::drawing::Color;

/// The colors of an image: all gray, of one tint, or any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    /// The largest distance of a channel from gray.
    saturation: f32,
    /// The hue of all colors, in turns, and how far theirs may be from it.
    hue: f32,
    spread: f32,
}

impl Palette {
    pub(super) const GRAY: Self = Self {
        saturation: 0.0,
        hue: 0.0,
        spread: 0.0,
    };

    /// Colors around one hue.
    pub(super) fn tinted(rng: &mut impl Rng) -> Self {
        Self {
            saturation: rng.random_range(8.0..60.0),
            hue: rng.random(),
            spread: rng.random_range(0.02..0.15),
        }
    }

    /// Colors of any hue.
    pub(super) fn vivid(rng: &mut impl Rng) -> Self {
        Self {
            saturation: rng.random_range(25.0..120.0),
            hue: rng.random(),
            spread: 0.5,
        }
    }

    pub(super) fn draw(gray: f32, tinted: f32, vivid: f32, rng: &mut impl Rng) -> Self {
        match choose(&[(0, gray), (1, tinted), (2, vivid)], rng) {
            0 => Self::GRAY,
            1 => Self::tinted(rng),
            _ => Self::vivid(rng),
        }
    }

    pub(super) fn is_gray(&self) -> bool {
        self.saturation == 0.0
    }

    /// A color of this brightness. `hue` is from 0 to 1, `strength` a fraction of the largest saturation.
    pub(super) fn color(&self, brightness: f32, hue: f32, strength: f32) -> Color {
        let hue = self.hue + self.spread * (2.0 * hue - 1.0);
        // Colors near black and white are less saturated.
        let room = (brightness.min(255.0 - brightness) / 80.0).clamp(0.1, 1.0);
        let saturation = self.saturation * strength * room;
        [0.25, -0.083_333_33, 0.583_333_3].map(|shift| brightness + saturation * sine(hue + shift))
    }

    /// A color of this brightness and any hue.
    pub(super) fn any(&self, brightness: f32, rng: &mut impl Rng) -> Color {
        self.color(brightness, rng.random(), rng.random())
    }
}

pub(super) fn brightness(color: Color) -> f32 {
    (color[0] + color[1] + color[2]) / 3.0
}
