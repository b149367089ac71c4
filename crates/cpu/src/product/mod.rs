//! Matrix products that read their left factor from feature maps where it lies, and their right
//! factor from [`Panels`].
//!
//! Every element is one sum over the inner dimension, in its order and with fused
//! multiplications and additions where the processor has them. So results depend neither on the
//! number of threads nor, with AVX2 or better, on the vector instructions.
//!
//! In 16 bits, a term of such a sum consists of two products of brain floats, and both factors hold
//! pairs of them in place of values. With AVX-512 BF16, subnormal numbers count as zero. Without it,
//! convolutions use 32 bits.

#[forbid(unsafe_code)]
mod arithmetic;
#[cfg(target_arch = "x86_64")]
mod bf16;
#[forbid(unsafe_code)]
mod columns;
#[forbid(unsafe_code)]
mod format;
#[forbid(unsafe_code)]
mod multiply;
#[forbid(unsafe_code)]
mod pairs;
#[forbid(unsafe_code)]
mod panels;
mod prefetch;
#[forbid(unsafe_code)]
mod rows;
#[forbid(unsafe_code)]
mod vectors;

pub use columns::{ColumnMemory, Columns, LeftColumns};
pub use format::ProductFormat;
pub use panels::{Blocks, Panel, PanelColumns, Panels, lanes};
pub use prefetch::prefetch;
pub use rows::{Finish, Rows};
pub use vectors::{load, store};
