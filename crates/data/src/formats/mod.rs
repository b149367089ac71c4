//! Readers of annotation layouts.
//!
//! The recognizer of a layout takes the [`Inventory`](inventory::Inventory) of a folder and returns the splits that it
//! [found](split::Found). The [reader](split::SplitReader) of a split turns its files into a
//! [`Description`](description::Description). [A single step](description::Description::assemble), shared by all
//! layouts, turns this into a data set.

mod candidates;
mod class_name;
mod coco;
mod coco_file;
mod coco_task;
mod createml;
mod csv;
mod data_folder;
mod description;
mod division;
mod image_finder;
mod inventory;
mod label_files;
mod listed_images;
mod listed_objects;
mod listing;
mod listing_classes;
mod named_folders;
mod native_formats;
mod open;
mod refusals;
mod split;
mod split_folders;
mod split_name;
mod sub_folders;
mod voc;
mod xml;
mod yolo;
mod yolo_box;
mod yolo_description;
mod yolo_label;
mod yolo_pose;

pub use data_folder::{DataFolder, PassedOver, PassedOverCause};
pub use division::Division;
pub(crate) use split_name::{Role, is_trainval};
