//! Classes: forms with materials.

use rand::RngExt;

use super::curve::{chance, direction};
use super::figure::{Figure, Point, Pose};
use super::form::{Family, Form};
use super::mask::Mask;
use super::material::Material;
use crate::SampleRng;
use crate::drawing::GRID;
use crate::random::keyed_rng;

/// What the objects of a class have in common. It depends only on the index of the class.
#[derive(Debug, Clone)]
pub(super) struct Class {
    pub name: String,
    form: Form,
    pub material: Material,
    orientation: Orientation,
}

#[derive(Debug, Clone, Copy)]
enum Orientation {
    Any,
    /// Almost the same for all objects.
    Upright,
    /// A multiple of a quarter turn.
    Quarter,
}

impl Class {
    pub(super) fn new(index: usize) -> Self {
        let family = Family::ALL[index % Family::ALL.len()];
        let member = index / Family::ALL.len();
        let rng = &mut keyed_rng(*b"synclass", 0, index as u64, 0);
        Self {
            name: format!("{}-{}", family.name(), member + 1),
            form: Form::design(family, rng),
            material: Material::design(family, rng),
            orientation: match family {
                Family::Circuit => Orientation::Quarter,
                Family::Glyph | Family::Array if chance(0.6, rng) => Orientation::Upright,
                _ if chance(0.25, rng) => Orientation::Upright,
                _ => Orientation::Any,
            },
        }
    }

    /// An object of this length, in pixels, around the origin.
    pub(super) fn object(&self, length: f32, rng: &mut SampleRng) -> Shape {
        let figure = self.form.figure(length, rng).normalized();
        let figure = figure.warped(rng.random_range(0.0..0.12), [rng.random(), rng.random()]);
        let turn = match self.orientation {
            Orientation::Any => rng.random(),
            Orientation::Upright => rng.random_range(-0.03..0.03),
            Orientation::Quarter => 0.25 * rng.random_range(0..4_u32) as f32,
        };
        let squeeze = rng.random_range(0.8..=1.0);
        let flip = if rng.random() { 1.0 } else { -1.0 };
        // Letters and boards are not mirrored.
        let flip = if matches!(self.orientation, Orientation::Any) {
            flip
        } else {
            1.0
        };
        let half = 0.5 * length;
        Shape {
            figure: figure.moved(|[x, y]| [x, flip * y]),
            pose: Pose {
                center: [0.0; 2],
                half: if rng.random() {
                    [half, half * squeeze]
                } else {
                    [half * squeeze, half]
                },
                rotation: direction(turn),
            },
            hollow: self.material.hollow.map(|width| {
                // An outline of at least a pixel and a quarter.
                ((width * length * GRID as f32) as usize).max(5)
            }),
        }
    }
}

/// An object that can be placed.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    figure: Figure,
    pose: Pose,
    hollow: Option<usize>,
}

impl Shape {
    /// The object around a point: its pose, its grid points, and those of its inner part.
    pub(super) fn at(&self, center: Point) -> (Pose, Mask, Option<Mask>) {
        let pose = Pose {
            center,
            ..self.pose
        };
        let mut mask = self.figure.mask(&pose);
        if let Some(depth) = self.hollow {
            mask.hollow(depth);
        }
        let inner = self.figure.inner_mask(&pose, &mask);
        (pose, mask, inner)
    }
}
