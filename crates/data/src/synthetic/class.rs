//! Classes: forms with materials.

use rand::RngExt;

use super::curve::direction;
use super::figure::{Figure, Point, Pose};
use super::form::{Family, Form};
use super::mask::Mask;
use super::material::Material;
use crate::SampleRng;
use crate::drawing::GRID;
use crate::random::{chance, keyed_rng};

/// What the objects of a class have in common. It depends only on the index of the class.
#[derive(Debug, Clone)]
pub(super) struct Class {
    pub name: String,
    pub family: Family,
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
            family,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_rng;

    /// Area in relation to the longest possible square, aspect ratio and area of the inner part.
    fn descriptor(class: &Class, index: usize) -> [f64; 3] {
        let shape = class.object(60.0, &mut sample_rng(1, 0, index));
        let (_, mask, inner) = shape.at([64.0, 64.0]);
        let sum = |mask: &Mask| f64::from(mask.coverage(128, 128).alpha.iter().sum::<f32>());
        let (a, b) = (shape.pose.half[0], shape.pose.half[1]);
        let area = sum(&mask) / f64::from(4.0 * a * b);
        let edge = {
            let coverage = mask.coverage(128, 128);
            let edges = coverage
                .alpha
                .iter()
                .filter(|alpha| (0.01..0.99).contains(*alpha));
            edges.count() as f64 / (sum(&mask) + 1.0)
        };
        [
            area,
            edge,
            inner.map_or(0.0, |inner| sum(&inner) / sum(&mask)),
        ]
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn variance(values: &[f64]) -> f64 {
        let center = mean(values);
        mean(
            &values
                .iter()
                .map(|value| (value - center) * (value - center))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn objects_of_a_class_are_more_alike_than_classes_are() {
        let classes: Vec<Vec<[f64; 3]>> = (0..112)
            .map(|index| {
                let class = Class::new(index);
                (0..8).map(|object| descriptor(&class, object)).collect()
            })
            .collect();
        for part in 0..3 {
            let of = |objects: &Vec<[f64; 3]>| {
                objects
                    .iter()
                    .map(|object| object[part])
                    .collect::<Vec<_>>()
            };
            let within: Vec<f64> = classes
                .iter()
                .map(|objects| variance(&of(objects)))
                .collect();
            let means: Vec<f64> = classes.iter().map(|objects| mean(&of(objects))).collect();
            let ratio = variance(&means) / mean(&within);
            assert!(ratio > 4.0, "descriptor {part}: {ratio}");
        }
    }

    #[test]
    fn a_class_depends_only_on_its_index() {
        for index in [0, 17, 111] {
            assert_eq!(
                format!("{:?}", Class::new(index)),
                format!("{:?}", Class::new(index))
            );
        }
        assert_ne!(
            format!("{:?}", Class::new(0).form),
            format!("{:?}", Class::new(14).form)
        );
        assert_eq!(Class::new(0).family, Class::new(14).family);
        assert_eq!(Class::new(14).name, "blob-2");
    }
}
