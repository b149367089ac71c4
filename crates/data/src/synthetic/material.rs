//! Materials of classes, and the paint of one object.

use rand::{Rng, RngExt};

use super::curve::{chance, choose, direction, log_uniform, vary};
use super::figure::{Point, Pose};
use super::form::Family;
use super::palette::{Palette, brightness};
use super::texture::{Frame, Sampler, Texture};
use crate::drawing::Color;

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
        let is_ground = matches!(family, Family::Patch | Family::Mesh);
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
                    (Pattern::Checks, 1.0),
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
            feather: match is_ground || chance(0.12, rng) {
                true => rng.random_range(0.01..0.12),
                false => 0.0,
            },
            hollow: (family.is_solid() && chance(0.15, rng)).then(|| rng.random_range(0.06..0.16)),
            polarity: choose(&[(Some(true), 0.35), (Some(false), 0.4), (None, 0.25)], rng),
            hue: rng.random(),
            strength: rng.random_range(0.4..1.0),
            is_camouflaged: is_textured && chance(0.2, rng),
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

    /// The paint of an object on a ground of this color, and that of its inner part.
    pub(super) fn paint(
        &self,
        style: &Style,
        ground: Color,
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
        let tone = brightness(ground);
        let pattern = if style.is_textured {
            self.pattern
        } else {
            Pattern::Flat
        };
        let is_camouflaged = self.is_camouflaged && style.is_textured;
        let contrast = vary(style.contrast, 0.3, rng);
        let any = rng.random();
        let is_brighter = self.polarity.filter(|_| is_typical).unwrap_or(any);
        let target = offset(tone, contrast / self.opacity.max(0.5), is_brighter);
        let base = match is_camouflaged {
            true => ground,
            false => style.palette.color(target, hue, strength),
        };
        // Towards the side with more room.
        let depth = self.pattern_contrast
            * if is_camouflaged {
                60.0
            } else {
                contrast.clamp(25.0, 90.0)
            };
        let accent = match chance(0.5, rng) || is_camouflaged {
            true => {
                [if brightness(base) > 127.5 {
                    -depth
                } else {
                    depth
                }; 3]
            }
            false => {
                let other = style
                    .palette
                    .any(offset(brightness(base), depth, rng.random()), rng);
                std::array::from_fn(|channel| other[channel] - base[channel])
            }
        };
        let turn = match rng.random_range(0..3_u32) {
            0 => 0.0,
            1 => 0.25,
            _ => rng.random(),
        };
        let zoom = vary(self.zoom, 0.2, rng);
        let field = match pattern {
            Pattern::Flat => Field::Flat,
            Pattern::Gradient => Field::Gradient(direction(turn)),
            Pattern::Radial => Field::Radial(rng.random_range(0.0..0.5)),
            Pattern::Rim => Field::Radial(0.7),
            Pattern::Stripes => Field::Stripes(Frame::new(zoom, turn, rng)),
            Pattern::Checks => Field::Checks(Frame::new(0.5 * zoom, turn, rng)),
            Pattern::Texture(texture) => Field::Texture(texture.placed(zoom, turn, rng)),
        };
        let light = style.light.filter(|_| self.roundness > 0.0);
        let light = light.map(|light| light.map(|part| part * self.roundness));
        let paint = Paint {
            base,
            accent,
            field,
            grain: None,
            light,
            pose: *pose,
        };
        let inner_target = offset(brightness(base), contrast.max(30.0), is_brighter);
        let inner = Paint {
            base: style
                .palette
                .color(inner_target, hue + 0.12, 1.3 * strength),
            accent: accent.map(|part| 0.6 * part),
            ..paint
        };
        (paint, inner)
    }
}

/// A brightness that differs by `distance` in the given direction, or in the other one if there is no room.
pub(super) fn offset(brightness: f32, distance: f32, up: bool) -> f32 {
    let (high, low) = (brightness + distance, brightness - distance);
    match up {
        true if high <= 250.0 || low < 5.0 => high.min(252.0),
        false if low >= 5.0 || high > 250.0 => low.max(3.0),
        true => low,
        false => high,
    }
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

/// Colors at the pixels of an object or of the ground.
#[derive(Debug, Clone, Copy)]
pub(super) struct Paint {
    pub base: Color,
    /// What is added to the base where the field is 1.
    pub accent: Color,
    pub field: Field,
    /// A second texture and its amplitude.
    pub grain: Option<(Sampler, f32)>,
    /// Brightening towards the light, at the edge of the object.
    pub light: Option<Point>,
    pub pose: Pose,
}

/// Values from about -1 to 1.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Flat,
    Gradient(Point),
    /// From this relative distance from the center to the edge.
    Radial(f32),
    Stripes(Frame),
    Checks(Frame),
    Texture(Sampler),
}

impl Paint {
    pub(super) fn flat(base: Color) -> Self {
        Self {
            base,
            accent: [0.0; 3],
            field: Field::Flat,
            grain: None,
            light: None,
            pose: Pose {
                center: [0.0; 2],
                half: [1.0; 2],
                rotation: [1.0, 0.0],
            },
        }
    }

    pub(super) fn color(&self, x: usize, y: usize) -> Color {
        let own = || self.pose.own([x as f32 + 0.5, y as f32 + 0.5]);
        let (column, row) = (x as i32, y as i32);
        let value = match &self.field {
            Field::Flat => 0.0,
            Field::Gradient([dx, dy]) => {
                let [u, v] = own();
                (dx * u + dy * v).clamp(-1.0, 1.0)
            }
            Field::Radial(start) => {
                let [u, v] = own();
                let distance = (u * u + v * v).sqrt();
                (2.0 * (distance - start) / (1.0 - start) - 1.0).clamp(-1.0, 1.0)
            }
            Field::Stripes(frame) => {
                let phase = (frame.at(column, row)[0] & 0xFFFF) as f32 / 65536.0;
                // A triangle wave, made steeper for bands with soft edges.
                ((4.0 * (phase - 0.5).abs() - 1.0) * 2.5).clamp(-1.0, 1.0)
            }
            Field::Checks(frame) => {
                let [u, v] = frame.at(column, row);
                1.0 - 2.0 * (((u ^ v) >> 15) & 1) as f32
            }
            Field::Texture(sampler) => sampler.at(column, row),
        };
        let mut gain = 1.0;
        if let Some([lx, ly]) = self.light {
            let [u, v] = self.pose.image_vector(own());
            gain += (lx * u + ly * v).clamp(-0.5, 0.5);
        }
        let shift = self.grain.map_or(0.0, |(sampler, amplitude)| {
            amplitude * sampler.at(column, row)
        });
        std::array::from_fn(|channel| {
            (self.base[channel] + self.accent[channel] * value + shift) * gain
        })
    }
}
