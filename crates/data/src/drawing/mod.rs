//! What the generated sets share: splits, colors, directions, and which part of an object counts as visible.

mod color;
mod direction;
mod split;
mod visible;

pub(crate) use color::{Color, mix, nearby, shifted};
pub(crate) use direction::unit_vector;
pub use split::Split;
pub(crate) use split::{IMAGES, SIDES};
pub(crate) use visible::{Edges, GRID, MIN_VISIBLE, POINTS, Visible};
