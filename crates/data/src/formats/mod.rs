//! Readers of the layouts in which annotations come.

mod coco;
#[allow(dead_code)]
mod createml;
#[allow(dead_code)]
mod csv;
mod data_folder;
mod image_paths;
mod open;
mod split;
mod voc;
mod xml;
mod yolo;

pub use data_folder::DataFolder;
