//! What is behind the objects.

use rand::{Rng, RngExt};

use super::canvas::Canvas;
use super::curve::{choose, direction, log_uniform};
use super::figure::{Figure, Mark, Point, Pose, disc};
use super::layout::Setting;
use super::material::{offset, turn};
use super::paint::{Field, Paint};
use super::palette::{Palette, brightness};
use super::texture::{Frame, Texture};
use crate::drawing::Color;
use crate::random::chance;

/// Paints the ground of a setting.
pub(super) fn paint(
    canvas: &mut Canvas,
    setting: Setting,
    palette: &Palette,
    is_textured: bool,
    rng: &mut impl Rng,
) {
    let ground = Ground {
        palette,
        is_textured,
        size: [canvas.width as f32, canvas.height as f32],
    };
    match setting {
        Setting::Scene => ground.leaves(canvas, rng),
        Setting::Surface => ground.surface(canvas, rng),
        Setting::Slide => ground.slide(canvas, rng),
        Setting::Board => ground.board(canvas, rng),
        Setting::Plain => ground.plain(canvas, rng),
    }
}

struct Ground<'a> {
    palette: &'a Palette,
    is_textured: bool,
    size: Point,
}

impl Ground<'_> {
    fn short_side(&self) -> f32 {
        self.size[0].min(self.size[1])
    }

    /// The whole image as the frame of a pattern.
    fn pose(&self) -> Pose {
        Pose {
            center: self.size.map(|side| 0.5 * side),
            half: self.size.map(|side| 0.5 * side),
            rotation: [1.0, 0.0],
        }
    }

    /// A paint with this texture.
    fn textured(
        &self,
        base: Color,
        texture: Texture,
        zoom: f32,
        amplitude: f32,
        rng: &mut impl Rng,
    ) -> Paint {
        let tint = self.palette.any(128.0, rng);
        // Mostly lighter and darker, a little of another hue.
        let accent = tint.map(|part| amplitude * (1.0 + 0.5 * (part - 128.0) / 128.0));
        let turn = turn(rng);
        let plain = Paint {
            base,
            accent,
            pose: self.pose(),
            ..Paint::flat(base)
        };
        if self.is_textured {
            Paint {
                field: Field::Texture(texture.placed(zoom, turn, rng)),
                ..plain
            }
        } else {
            plain
        }
    }

    /// Leaves of all sizes on top of each other, with sizes from a power law (Lee, Mumford and Huang, 2001).
    fn leaves(&self, canvas: &mut Canvas, rng: &mut impl Rng) {
        let middle = rng.random_range(60.0..190.0);
        let range = rng.random_range(15.0..80.0);
        let tone = |rng: &mut _| {
            f32::clamp(
                middle + RngExt::random_range(rng, -range..=range),
                8.0,
                247.0,
            )
        };
        let base = self.palette.any(tone(rng), rng);
        let texture = Texture::ALL[rng.random_range(0..Texture::ALL.len())];
        canvas.fill(&self.textured(
            base,
            texture,
            rng.random_range(0.2..1.0),
            rng.random_range(5.0..30.0),
            rng,
        ));
        let (smallest, largest) = (
            0.07 * self.short_side(),
            rng.random_range(0.3..0.8) * self.short_side(),
        );
        let ratio = (smallest / largest) * (smallest / largest);
        let kind = rng.random_range(0..4_u32);
        for _ in 0..rng.random_range(6..=44_u32) {
            let u: f32 = rng.random();
            let radius = smallest / (1.0 - u * (1.0 - ratio)).sqrt();
            let center = self
                .size
                .map(|side| rng.random_range(-0.1 * side..=1.1 * side));
            let shape = if kind == 3 {
                rng.random_range(0..3)
            } else {
                kind
            };
            let corners = match shape {
                0 => disc([0.0; 2], 1.0, 26),
                1 => {
                    let b = rng.random_range(0.2..1.0);
                    vec![[-1.0, -b], [1.0, -b], [1.0, b], [-1.0, b]]
                }
                _ => {
                    let count = rng.random_range(3..=7_usize);
                    let corner = |index| {
                        let angle = (index as f32 + rng.random_range(0.0..0.8)) / count as f32;
                        direction(angle).map(|part| part * rng.random_range(0.6..1.0))
                    };
                    (0..count).map(corner).collect()
                }
            };
            let pose = Pose {
                center,
                half: [radius, radius * rng.random_range(0.5..=1.0)],
                rotation: if chance(0.3, rng) {
                    [1.0, 0.0]
                } else {
                    direction(rng.random())
                },
            };
            let coverage = Figure::of(vec![Mark::Fill(corners)])
                .mask(&pose)
                .coverage(canvas.width, canvas.height);
            let base = self.palette.any(tone(rng), rng);
            let paint = match rng.random_range(0..10_u32) {
                0..4 => Paint::flat(base),
                4..6 => Paint {
                    accent: [rng.random_range(-35.0..35.0); 3],
                    field: Field::Gradient(direction(rng.random())),
                    pose,
                    ..Paint::flat(base)
                },
                _ => {
                    let texture = Texture::ALL[rng.random_range(0..Texture::ALL.len())];
                    self.textured(
                        base,
                        texture,
                        rng.random_range(0.25..1.3),
                        rng.random_range(5.0..45.0),
                        rng,
                    )
                }
            };
            canvas.paint(&coverage, &paint, 1.0);
        }
    }

    /// One or two textures and a slow change of brightness.
    fn surface(&self, canvas: &mut Canvas, rng: &mut impl Rng) {
        let base = self.palette.any(rng.random_range(35.0..215.0), rng);
        let texture = choose(
            &[
                (Texture::Fibers, 3.0),
                (Texture::Rough, 3.0),
                (Texture::Grain, 2.0),
                (Texture::Clouds, 2.0),
                (Texture::Smooth, 1.0),
                (Texture::Veins, 0.7),
                (Texture::Cells, 0.7),
                (Texture::Cracks, 0.7),
                (Texture::Spots, 0.5),
                (Texture::Dashes, 0.7),
                (Texture::Blotches, 0.5),
                (Texture::Weave, 0.5),
            ],
            rng,
        );
        let amplitude = log_uniform(4.0..=50.0, rng);
        let mut paint = self.textured(base, texture, log_uniform(0.25..=1.4, rng), amplitude, rng);
        if self.is_textured {
            let second = choose(
                &[
                    (Texture::Grain, 1.0),
                    (Texture::Fibers, 1.0),
                    (Texture::Rough, 1.0),
                ],
                rng,
            );
            paint.grain = Some((
                second.placed(rng.random_range(0.5..1.2), turn(rng), rng),
                rng.random_range(2.0..14.0),
            ));
        }
        canvas.fill(&paint);
        self.illuminate(canvas, rng.random_range(0.0..0.35), rng);
    }

    /// A bright, or rarely dark, even field.
    fn slide(&self, canvas: &mut Canvas, rng: &mut impl Rng) {
        let tone = if chance(0.8, rng) {
            rng.random_range(160.0..240.0)
        } else {
            rng.random_range(8.0..70.0)
        };
        let base = self.palette.any(tone, rng);
        let zoom = rng.random_range(0.04..0.3);
        canvas.fill(&self.textured(base, Texture::Smooth, zoom, rng.random_range(0.0..9.0), rng));
        self.illuminate(canvas, rng.random_range(0.0..0.15), rng);
    }

    /// Conductors, pads and planes in two tones.
    fn board(&self, canvas: &mut Canvas, rng: &mut impl Rng) {
        let is_bright: bool = rng.random();
        let depth = if chance(0.6, rng) {
            245.0
        } else {
            rng.random_range(60.0..200.0)
        };
        let base = self.palette.any(
            if is_bright {
                rng.random_range(200.0..253.0)
            } else {
                rng.random_range(3.0..55.0)
            },
            rng,
        );
        let other = self
            .palette
            .any(offset(brightness(base), depth, !is_bright), rng);
        canvas.fill(&Paint::flat(base));
        let radius = log_uniform(0.012..=0.06, rng) * self.short_side();
        let pitch = radius * rng.random_range(3.5..7.0);
        let pose = Pose {
            center: [0.0; 2],
            half: [1.0; 2],
            rotation: [1.0, 0.0],
        };
        let mut conductors = Vec::new();
        for _ in 0..rng.random_range(2..=7_u32) {
            let at = self.size.map(|side| rng.random_range(0.0..=side));
            match rng.random_range(0..5_u32) {
                // A plane.
                0 => {
                    let half = self.size.map(|side| side * rng.random_range(0.08..0.35));
                    let corner = |sx: f32, sy: f32| [at[0] + sx * half[0], at[1] + sy * half[1]];
                    let plane = vec![
                        corner(-1.0, -1.0),
                        corner(1.0, -1.0),
                        corner(1.0, 1.0),
                        corner(-1.0, 1.0),
                    ];
                    conductors.push(Mark::Fill(plane));
                }
                // Pads in a row.
                1 => {
                    let pad = radius * rng.random_range(1.4..2.6);
                    for index in 0..rng.random_range(1..=6_u32) {
                        let center = [at[0] + 3.0 * pad * index as f32, at[1]];
                        conductors.push(Mark::Fill(disc(center, pad, 20)));
                        conductors.push(Mark::Cut(disc(center, 0.45 * pad, 14)));
                    }
                }
                // Parallel traces with a bend.
                _ => {
                    let is_upright: bool = rng.random();
                    let bend = rng.random_range(-0.4..0.4) * self.short_side();
                    let bend = if chance(0.4, rng) { 0.0 } else { bend };
                    let far = self.size[0] + self.size[1];
                    for index in 0..rng.random_range(1..=5_u32) {
                        let shift = pitch * index as f32;
                        let path = [[-far, 0.0], [0.0, 0.0], [bend.abs(), bend], [far, bend]];
                        let place = |[x, y]: Point| match is_upright {
                            true => [at[0] + y + shift, at[1] + x, radius],
                            false => [at[0] + x, at[1] + y + shift, radius],
                        };
                        conductors.push(Mark::Line(path.into_iter().map(place).collect()));
                    }
                }
            }
        }
        let mask = Figure::of(conductors).mask(&pose);
        canvas.paint(
            &mask.coverage(canvas.width, canvas.height),
            &Paint::flat(other),
            1.0,
        );
    }

    /// A color, a gradient, or a regular pattern.
    fn plain(&self, canvas: &mut Canvas, rng: &mut impl Rng) {
        let base = self.palette.any(rng.random_range(12.0..245.0), rng);
        let other = self.palette.any(
            offset(brightness(base), rng.random_range(8.0..60.0), rng.random()),
            rng,
        );
        let accent = std::array::from_fn(|channel| 0.5 * (other[channel] - base[channel]));
        let period = log_uniform(4.0..=30.0, rng);
        let field = match rng.random_range(0..8_u32) {
            0..3 => Field::Flat,
            3..6 => Field::Gradient(direction(rng.random())),
            _ if !self.is_textured => Field::Flat,
            6 => Field::Stripes(Frame::new(1.0 / period, turn(rng), rng)),
            _ => Field::Checks(Frame::new(0.5 / period, turn(rng), rng)),
        };
        let mut paint = Paint {
            accent,
            field,
            pose: self.pose(),
            ..Paint::flat(base)
        };
        if self.is_textured && chance(0.5, rng) {
            let texture = choose(
                &[
                    (Texture::Smooth, 1.0),
                    (Texture::Clouds, 1.0),
                    (Texture::Grain, 1.0),
                ],
                rng,
            );
            paint.grain = Some((
                texture.placed(log_uniform(0.1..=1.0, rng), turn(rng), rng),
                rng.random_range(2.0..18.0),
            ));
        }
        canvas.fill(&paint);
    }

    /// Multiplies by a slow change of brightness, by at most this fraction.
    fn illuminate(&self, canvas: &mut Canvas, strength: f32, rng: &mut impl Rng) {
        let light = Texture::Smooth.placed(rng.random_range(0.03..0.12), rng.random(), rng);
        for (y, line) in canvas.pixels.chunks_exact_mut(canvas.width).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                let gain = 1.0 + strength * light.at(x as i32, y as i32);
                *pixel = pixel.map(|value| value * gain);
            }
        }
    }
}
