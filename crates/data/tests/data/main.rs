//! Tests of what the crate offers. They are one program, since it takes long to compile many.

mod animation;
mod augmentations;
mod bccd;
mod combined_images;
mod division;
mod formats;
mod image_sources;
mod images;
mod label_forms;
mod listings;
mod named_images;
mod native_formats;
mod orientation;
mod reproducible;
mod round_trips;
mod splits;
mod tool_exports;
mod video;
mod writers;
