//! Random changes of hue, saturation and value.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use super::{Augmentation, Sample};
use crate::DataError;

/// Rotates the hue and multiplies saturation and value, as YOLO does.
///
/// The hue is rotated by up to `hue` turns in either direction. The factors of saturation and value are uniform in
/// `[1 − s, 1 + s]`; products above 1 are cut off. Unlike [`ColorJitter`](super::ColorJitter), it never changes the
/// order of the channels of a color by their value unless the hue does, and grays stay gray.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HsvJitter {
    /// Largest rotation of the hue in turns, from 0 to 0.5.
    pub hue: f32,
    /// Strength of the change of saturation, from 0 to 1.
    pub saturation: f32,
    /// Strength of the change of value, from 0 to 1.
    pub value: f32,
}

/// YOLO's.
impl Default for HsvJitter {
    fn default() -> Self {
        Self {
            hue: 0.015,
            saturation: 0.7,
            value: 0.4,
        }
    }
}

impl HsvJitter {
    /// Sets the largest rotation of the [hue](Self::hue), in turns.
    #[must_use]
    pub fn with_hue(mut self, hue: f32) -> Self {
        self.hue = hue;
        self
    }

    /// Sets the strength of the change of [saturation](Self::saturation).
    #[must_use]
    pub fn with_saturation(mut self, saturation: f32) -> Self {
        self.saturation = saturation;
        self
    }

    /// Sets the strength of the change of [value](Self::value).
    #[must_use]
    pub fn with_value(mut self, value: f32) -> Self {
        self.value = value;
        self
    }
}

impl Augmentation for HsvJitter {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        let mut within = |strength: f32| rng.random_range(-strength..=strength);
        let sixths = 6.0 * within(self.hue);
        let saturation = 1.0 + within(self.saturation);
        let value = 1.0 + within(self.value);
        Ok(sample.recolor(|color| changed(color, sixths, saturation, value)))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("hue", self.hue, 0.0..=0.5)?;
        DataError::require_in_range("saturation", self.saturation, 0.0..=1.0)?;
        DataError::require_in_range("value", self.value, 0.0..=1.0)
    }
}

/// The color with its hue rotated by `sixths` of a turn, from −3 to 3, and its saturation and value multiplied.
#[inline]
fn changed([r, g, b]: [u8; 3], sixths: f32, saturation: f32, value: f32) -> [u8; 3] {
    let (max, min) = (r.max(g).max(b), r.min(g).min(b));
    let max_value = (value * f32::from(max)).min(255.0);
    if max == min {
        return [(max_value + 0.5) as u8; 3];
    }
    let chroma = f32::from(max - min);
    let [red, green, blue] = [r, g, b].map(f32::from);
    // From 0 to 6: red, yellow, green, cyan, blue, magenta.
    let hue = match () {
        () if max == r => (green - blue) / chroma,
        () if max == g => (blue - red) / chroma + 2.0,
        () => (red - green) / chroma + 4.0,
    };
    let hue = hue + sixths;
    let saturation = (saturation * chroma / f32::from(max)).min(1.0);
    // Without a case for each sector of the hue: how far a channel is from the highest one is a trapezoidal wave.
    [5.0_f32, 3.0, 1.0].map(|offset| {
        // At least 3, so that the cast rounds down.
        let k = offset + 6.0 + hue;
        let k = k - 6.0 * f32::from((k * (1.0 / 6.0)) as u8);
        let distance = k.min(4.0 - k).clamp(0.0, 1.0);
        (max_value - max_value * saturation * distance + 0.5) as u8
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::{Rgb, RgbImage};

    use super::*;
    use crate::sample_rng;

    /// The textbook conversion to hue in degrees, saturation and value.
    fn hsv([r, g, b]: [u8; 3]) -> [f64; 3] {
        let [r, g, b] = [r, g, b].map(|channel| f64::from(channel) / 255.0);
        let (max, min) = (r.max(g).max(b), r.min(g).min(b));
        let chroma = max - min;
        let hue = match () {
            () if chroma == 0.0 => 0.0,
            () if max == r => 60.0 * ((g - b) / chroma).rem_euclid(6.0),
            () if max == g => 60.0 * ((b - r) / chroma + 2.0),
            () => 60.0 * ((r - g) / chroma + 4.0),
        };
        [hue, if max == 0.0 { 0.0 } else { chroma / max }, max]
    }

    /// The textbook conversion back, by sectors of the hue.
    fn rgb([hue, saturation, value]: [f64; 3]) -> [u8; 3] {
        let sector = hue / 60.0;
        let fraction = sector.fract();
        let p = value * (1.0 - saturation);
        let q = value * (1.0 - saturation * fraction);
        let t = value * (1.0 - saturation * (1.0 - fraction));
        let color = match sector as u32 % 6 {
            0 => [value, t, p],
            1 => [q, value, p],
            2 => [p, value, t],
            3 => [p, q, value],
            4 => [t, p, value],
            _ => [value, p, q],
        };
        color.map(|channel| (255.0 * channel).round() as u8)
    }

    fn colors() -> impl Iterator<Item = [u8; 3]> {
        let levels = || (0..=255).step_by(15);
        levels().flat_map(move |r| levels().flat_map(move |g| levels().map(move |b| [r, g, b])))
    }

    #[test]
    fn colors_match_the_textbook() {
        for (turn, saturation, value) in [
            (0.0, 1.0, 1.0),
            (0.1, 1.3, 0.7),
            (-0.4, 0.2, 1.4),
            (0.5, 2.0, 0.0),
            (-0.5, 0.0, 2.0),
        ] {
            for color in colors() {
                let [h, s, v] = hsv(color);
                let turned = (h + 360.0 * turn).rem_euclid(360.0);
                let expected = rgb([turned, (s * saturation).min(1.0), (v * value).min(1.0)]);
                let found = changed(color, 6.0 * turn as f32, saturation as f32, value as f32);
                let close = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 1);
                assert!(close, "{color:?}: {found:?} is not {expected:?}");
            }
        }
    }

    #[test]
    fn zero_strength_changes_nothing() {
        let all: Vec<u8> = colors().flatten().collect();
        let image = RgbImage::from_raw(18 * 18, 18, all).unwrap();
        let sample = Sample::new(image, []);
        let none = HsvJitter::default()
            .with_hue(0.0)
            .with_saturation(0.0)
            .with_value(0.0);
        let result = none
            .apply(sample.clone(), &mut sample_rng(0, 0, 0))
            .unwrap();
        assert_eq!(result, sample);
    }

    #[test]
    fn each_strength_bounds_its_change() {
        let before = [200, 120, 90];
        let sample = Sample::new(RgbImage::from_pixel(1, 1, Rgb(before)), []);
        let jitter = HsvJitter::default();
        let [h, s, v] = hsv(before);
        for index in 0..200 {
            let result = jitter
                .apply(sample.clone(), &mut sample_rng(0, 0, index))
                .unwrap();
            let [hue, saturation, value] = hsv(result.image().get_pixel(0, 0).0);
            let turned = ((hue - h + 180.0).rem_euclid(360.0) - 180.0).abs();
            // The tolerances are those of rounding to bytes.
            assert!(
                turned <= 360.0 * 0.015 + 1.5 / saturation / value,
                "{turned}"
            );
            assert!((saturation / s - 1.0).abs() <= 0.7 + 0.03, "{saturation}");
            assert!((value / v - 1.0).abs() <= 0.4 + 0.01, "{value}");
        }
    }
}
