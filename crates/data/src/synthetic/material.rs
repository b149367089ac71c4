//! Materials of classes, and the paint of one object.

use rand::{Rng, RngExt};

use super::canvas::Below;
use super::curve::{choose, direction, log_uniform, vary};
use super::figure::{Point, Pose};
use super::form::Family;
use super::paint::{Field, Paint};
use super::palette::{Palette, brightness};
use super::texture::{Frame, Texture};
use crate::random::chance;

/// What the objects of a class are made of.
#[derive(Debug, Clone)]
pub(super) struct Material {
    pattern: Pattern,
    /// Difference of the tones of the pattern, from 0 to 1.
    pattern_contrast: f32,
    /// Texels or pixels per pixel, as the pattern needs.
    zoom: f32,
    /// 1 hides what is below.
    pub opacity: f32,
    /// Width of the soft edge in relation to the length of the object.
    pub feather: f32,
    /// Width of the outline in relation to the length of the object, if there is only an outline.
    pub hollow: Option<f32>,
    /// Whether objects are brighter than the ground; `None` for either.
    polarity: Option<bool>,
    hue: f32,
    strength: f32,
    /// Whether objects differ from the ground only in texture.
    is_camouflaged: bool,
    roundness: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Pattern {
    Flat,
    /// From one end of the object to the other.
    Gradient,
    /// From the center to the edge.
    Radial,
    /// A border in another tone.
    Rim,
    Stripes,
    Checks,
    Texture(Texture),
}

impl Material {
    pub(super) fn design(family: Family, rng: &mut impl Rng) -> Self {
        let texture = Texture::ALL[rng.random_range(0..Texture::ALL.len())];
        // Soft edges would wash out thin lines.
        let softness = match family {
            Family::Patch => 0.6,
            _ if family.is_solid() => 0.15,
            _ => 0.0,
        };
        let pattern = match family {
            // Their own lines are the pattern.
            Family::Thread | Family::Mesh | Family::Rings | Family::Cluster => choose(
                &[(Pattern::Flat, 3.0), (Pattern::Texture(texture), 1.0)],
                rng,
            ),
            Family::Cell => choose(
                &[
                    (Pattern::Radial, 2.0),
                    (Pattern::Rim, 1.0),
                    (Pattern::Flat, 1.0),
                    (Pattern::Texture(texture), 1.0),
                ],
                rng,
            ),
            _ => choose(
                &[
                    (Pattern::Flat, 2.0),
                    (Pattern::Gradient, 1.0),
                    (Pattern::Radial, 1.0),
                    (Pattern::Rim, 1.0),
                    (Pattern::Stripes, 1.5),
                    (Pattern::Checks, 0.5),
                    (Pattern::Texture(texture), 4.5),
                ],
                rng,
            ),
        };
        let zoom = match pattern {
            Pattern::Stripes | Pattern::Checks => 1.0 / log_uniform(3.5..=16.0, rng),
            _ => log_uniform(0.35..=1.4, rng),
        };
        let is_textured = matches!(
            pattern,
            Pattern::Texture(_) | Pattern::Stripes | Pattern::Checks
        );
        let is_translucent = chance(if family == Family::Cell { 0.6 } else { 0.2 }, rng);
        Self {
            pattern,
            pattern_contrast: rng.random_range(0.3..1.0),
            zoom,
            opacity: if is_translucent {
                rng.random_range(0.4..0.85)
            } else {
                1.0
            },
            feather: match chance(softness, rng) {
                true => rng.random_range(0.01..0.12),
                false => 0.0,
            },
            hollow: (family.is_solid() && chance(0.15, rng)).then(|| rng.random_range(0.06..0.16)),
            polarity: choose(&[(Some(true), 0.35), (Some(false), 0.4), (None, 0.25)], rng),
            hue: rng.random(),
            strength: rng.random_range(0.4..1.0),
            // Thin lines would be invisible.
            is_camouflaged: is_textured && chance(0.2, rng) && family.is_solid(),
            roundness: if chance(0.5, rng) {
                rng.random_range(0.1..0.5)
            } else {
                0.0
            },
        }
    }

    /// Without pattern, for clutter.
    pub(super) fn plain(rng: &mut impl Rng) -> Self {
        Self {
            pattern: Pattern::Flat,
            pattern_contrast: 0.0,
            zoom: 1.0,
            opacity: 1.0,
            feather: 0.0,
            hollow: None,
            polarity: None,
            hue: rng.random(),
            strength: rng.random(),
            is_camouflaged: false,
            roundness: 0.0,
        }
    }

    /// The paint of an object on what is below it, and that of its inner part.
    pub(super) fn paint(
        &self,
        style: &Style,
        below: Below,
        pose: &Pose,
        rng: &mut impl Rng,
    ) -> (Paint, Paint) {
        let is_typical = chance(style.typical_color, rng);
        let (hue, strength) = match is_typical {
            true => (
                self.hue + rng.random_range(-0.05..0.05),
                vary(self.strength, 0.2, rng),
            ),
            false => (rng.random(), rng.random()),
        };
        let any = rng.random();
        let is_brighter = self.polarity.filter(|_| is_typical).unwrap_or(any);
        // Enough to stand out from a textured ground.
        let contrast = vary(style.contrast, 0.3, rng).max(12.0 + 0.9 * below.deviation)
            / self.opacity.max(0.5);
        let is_camouflaged = self.is_camouflaged && style.is_textured;
        let base = match is_camouflaged {
            true => below.color,
            false => style.palette.color(
                offset(brightness(below.color), contrast, is_brighter),
                hue,
                strength,
            ),
        };
        let depth = match is_camouflaged {
            true => self.pattern_contrast * (30.0 + 1.5 * below.deviation),
            false => self.pattern_contrast * contrast.clamp(25.0, 90.0),
        };
        let accent = match is_camouflaged || chance(0.5, rng) {
            true => {
                [if brightness(base) > 127.5 {
                    -depth
                } else {
                    depth
                }; 3]
            }
            false => {
                let other = offset(brightness(base), depth, rng.random());
                let other = style.palette.any(other, rng);
                std::array::from_fn(|channel| other[channel] - base[channel])
            }
        };
        let light = style.light.filter(|_| self.roundness > 0.0);
        let body = Paint {
            base,
            accent,
            field: if style.is_textured {
                self.field(rng)
            } else {
                Field::Flat
            },
            grain: None,
            light: light.map(|light| light.map(|part| part * self.roundness)),
            pose: *pose,
        };
        let inner = offset(brightness(base), contrast.max(30.0), is_brighter);
        let inner = Paint {
            base: style.palette.color(inner, hue + 0.12, 1.3 * strength),
            accent: accent.map(|part| 0.6 * part),
            ..body
        };
        (body, inner)
    }

    /// The pattern at a random place.
    fn field(&self, rng: &mut impl Rng) -> Field {
        let turn = turn(rng);
        let zoom = vary(self.zoom, 0.2, rng);
        match self.pattern {
            Pattern::Flat => Field::Flat,
            Pattern::Gradient => Field::Gradient(direction(turn)),
            Pattern::Radial => Field::Radial(rng.random_range(0.0..0.5)),
            Pattern::Rim => Field::Radial(0.7),
            Pattern::Stripes => Field::Stripes(Frame::new(zoom, turn, rng)),
            Pattern::Checks => Field::Checks(Frame::new(0.5 * zoom, turn, rng)),
            Pattern::Texture(texture) => Field::Texture(texture.placed(zoom, turn, rng)),
        }
    }
}

/// The direction of a pattern in turns: often along an axis of the image.
pub(super) fn turn(rng: &mut impl Rng) -> f32 {
    match rng.random_range(0..3_u32) {
        0 => 0.0,
        1 => 0.25,
        _ => rng.random(),
    }
}

/// A brightness that differs by `distance` in the given direction, or in the other one if there is more room.
pub(super) fn offset(brightness: f32, distance: f32, up: bool) -> f32 {
    let (high, low) = (brightness + distance, brightness - distance);
    let up = match (high <= 250.0, low >= 5.0) {
        (true, true) => up,
        (false, false) => brightness < 127.5,
        (fits_above, _) => fits_above,
    };
    if up { high.min(252.0) } else { low.max(3.0) }
}

/// What the objects of an image have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub palette: Palette,
    /// Typical difference in brightness between an object and what is below.
    pub contrast: f32,
    pub is_textured: bool,
    pub typical_color: f32,
    /// Direction to the light, if objects are shaded.
    pub light: Option<Point>,
}
