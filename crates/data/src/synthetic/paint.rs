//! Colors at the pixels of an object or of the ground.

use super::figure::{Point, Pose};
use super::texture::{Frame, Sampler};
use crate::drawing::Color;

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
