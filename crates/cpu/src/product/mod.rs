//! Matrix products that read their left factor from feature maps where it lies, and their right
//! factor from [`Panels`].
//!
//! Every element is one sum over the inner dimension, in its order and with fused
//! multiplications and additions where the processor has them. So results depend neither on the
//! number of threads nor, with AVX2 or better, on the vector instructions.

mod columns;
mod panels;
mod rows;
mod vectors;

pub use columns::Columns;
pub use panels::{Panel, PanelColumns, Panels, lanes};
pub use rows::{Finish, Rows};
pub use vectors::{load, store};
