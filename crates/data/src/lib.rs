#![doc = include_str!("../README.md")]

mod animation;
mod dataset;
mod decoding;
mod drawing;
mod error;
mod files;
mod formats;
mod layout;
mod loading;
mod names;
mod panics;
mod random;
mod report;
pub mod shapes;
mod spelling;
pub mod synthetic;
pub mod transforms;
pub mod video;
mod writers;

// Crates whose types are part of this API, in the versions that it uses.
pub use {hotcoco, image, rand, serde_json};

pub use fcos_burn_boxes::BoundingBox;
pub use image::RgbImage;

pub use animation::{Animation, AnimationFrame};
pub use dataset::{
    Category, DetectionDataset, ImageFiles, ImagePlace, ImageRecord, ImageSource, Object,
    equal_images,
};
pub use decoding::{ImageListing, image_files, read_image};
pub use error::DataError;
pub use formats::{DataFolder, Division, PassedOver, PassedOverCause};
pub use layout::Layout;
pub use loading::{
    ImageBatch, InputChannel, Loader, LoaderError, Normalization, RepeatFactors, SampleOrder,
    SampleReader, epoch_order, stack, stack_bytes, stack_resized,
};
#[doc(hidden)]
pub use names::{are_nearly_equal, list_names};
pub use random::{SampleRng, sample_rng};
pub use report::{Finding, LoadReport, Tally};
#[doc(hidden)]
pub use writers::FileNames;
pub use writers::{DatasetWriter, ImageTransfer, WriteFinding, WriteReport};
