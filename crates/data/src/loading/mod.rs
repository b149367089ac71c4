//! From samples to batches: order, worker threads, normalization, padding.

mod batch;
mod loader;
mod normalization;
mod order;
mod repeat_factor;
mod resized_samples;
mod sample_reader;

pub use batch::{ImageBatch, stack, stack_bytes, stack_resized};
pub use loader::{Loader, LoaderError};
pub use normalization::{InputChannel, Normalization};
pub use order::{SampleOrder, epoch_order};
pub use repeat_factor::RepeatFactors;
pub use sample_reader::SampleReader;
