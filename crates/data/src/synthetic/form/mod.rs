//! Forms: what the objects of a class have in common, and how one of them is drawn.
//!
//! A family draws the parameters of a class with `design`, and an object with variations of them with `figure`.

mod assembly;
mod circuit;
mod contour;
mod fractal;
mod stroke;

use crate::SampleRng;

use self::assembly::{Array, Cell, Cluster, Compound};
use self::circuit::Circuit;
use self::contour::{Blob, Patch, Polygon, Rings, Round};
use self::fractal::Fractal;
use self::stroke::{Glyph, Mesh, Thread};
use super::figure::Figure;

/// The kinds of forms, in the order in which classes take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Blob,
    Polygon,
    Round,
    Thread,
    Fractal,
    Glyph,
    Rings,
    Compound,
    Cell,
    Cluster,
    Circuit,
    Mesh,
    Patch,
    Array,
}

impl Family {
    pub(super) const ALL: [Self; 14] = [
        Self::Blob,
        Self::Polygon,
        Self::Round,
        Self::Thread,
        Self::Fractal,
        Self::Glyph,
        Self::Rings,
        Self::Compound,
        Self::Cell,
        Self::Cluster,
        Self::Circuit,
        Self::Mesh,
        Self::Patch,
        Self::Array,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Blob => "blob",
            Self::Polygon => "polygon",
            Self::Round => "round",
            Self::Thread => "thread",
            Self::Fractal => "fractal",
            Self::Glyph => "glyph",
            Self::Rings => "rings",
            Self::Compound => "compound",
            Self::Cell => "cell",
            Self::Cluster => "cluster",
            Self::Circuit => "circuit",
            Self::Mesh => "mesh",
            Self::Patch => "patch",
            Self::Array => "array",
        }
    }

    /// Whether objects of the family have an inside, so that an outline of them is recognizable.
    pub(super) fn is_solid(self) -> bool {
        matches!(
            self,
            Self::Blob | Self::Polygon | Self::Round | Self::Compound | Self::Patch
        )
    }
}

/// The form of a class.
#[derive(Debug, Clone)]
pub(super) enum Form {
    Blob(Blob),
    Polygon(Polygon),
    Round(Round),
    Thread(Thread),
    Fractal(Fractal),
    Glyph(Glyph),
    Rings(Rings),
    Compound(Compound),
    Cell(Cell),
    Cluster(Cluster),
    Circuit(Circuit),
    Mesh(Mesh),
    Patch(Patch),
    Array(Array),
}

impl Form {
    pub(super) fn design(family: Family, rng: &mut SampleRng) -> Self {
        match family {
            Family::Blob => Self::Blob(Blob::design(rng)),
            Family::Polygon => Self::Polygon(Polygon::design(rng)),
            Family::Round => Self::Round(Round::design(rng)),
            Family::Thread => Self::Thread(Thread::design(rng)),
            Family::Fractal => Self::Fractal(Fractal::design(rng)),
            Family::Glyph => Self::Glyph(Glyph::design(rng)),
            Family::Rings => Self::Rings(Rings::design(rng)),
            Family::Compound => Self::Compound(Compound::design(rng)),
            Family::Cell => Self::Cell(Cell::design(rng)),
            Family::Cluster => Self::Cluster(Cluster::design(rng)),
            Family::Circuit => Self::Circuit(Circuit::design(rng)),
            Family::Mesh => Self::Mesh(Mesh::design(rng)),
            Family::Patch => Self::Patch(Patch::design(rng)),
            Family::Array => Self::Array(Array::design(rng)),
        }
    }

    /// One object, in any frame. `length` is its length in the image, in pixels, for forms that adapt their detail to it.
    pub(super) fn figure(&self, length: f32, rng: &mut SampleRng) -> Figure {
        match self {
            Self::Blob(form) => Figure::of(form.marks(rng)),
            Self::Polygon(form) => Figure::of(form.marks(rng)),
            Self::Round(form) => Figure::of(form.marks(rng)),
            Self::Thread(form) => Figure::of(form.marks(length, rng)),
            Self::Fractal(form) => Figure::of(form.marks(length, rng)),
            Self::Glyph(form) => Figure::of(form.marks(rng)),
            Self::Rings(form) => Figure::of(form.marks(length, rng)),
            Self::Compound(form) => form.figure(rng),
            Self::Cell(form) => form.figure(rng),
            Self::Cluster(form) => Figure::of(form.marks(length, rng)),
            Self::Circuit(form) => Figure::of(form.marks(rng)),
            Self::Mesh(form) => Figure::of(form.marks(length, rng)),
            Self::Patch(form) => Figure::of(form.marks(length, rng)),
            Self::Array(form) => Figure::of(form.marks(rng)),
        }
    }
}
