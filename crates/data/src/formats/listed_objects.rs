//! The entries of files that list images and objects by their names.

use super::description::Place;

/// The entry of an image in a file.
#[derive(Debug, PartialEq)]
pub(super) struct ListedImage {
    /// Empty if missing.
    pub file_name: String,
    /// Width and height in pixels, if both are given.
    pub size: Option<(u32, u32)>,
    /// The place of a size that is not a valid number of pixels.
    pub unusable_size: Option<Place>,
    /// The split that the file names, if it names splits.
    pub split: Option<String>,
    pub objects: Vec<ListedObject>,
}

/// The entry of an object in a file.
#[derive(Debug, PartialEq)]
pub(super) struct ListedObject {
    /// Empty if missing.
    pub class: String,
    /// Left, top, right and bottom; `None` if any of them is missing.
    pub corners: Option<[f64; 4]>,
    pub iscrowd: bool,
    pub place: Place,
}
