//! Folders that tell the files of a data set apart.

use std::path::Path;

use crate::spelling::folded;

/// Names of folders, in lower case, that only say what kind of files they hold.
const KINDS: [&str; 15] = [
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "pictures",
    "photos",
    "labels",
    "label",
    "annotations",
    "txt",
    "yolo",
    "xml",
    "xmls",
    "json",
];

/// Whether a folder only says what kind of files it holds.
pub(super) fn is_kind(folder: &str) -> bool {
    KINDS.contains(&folded(folder).as_str())
}

/// The folders of a file as [folded] names, without those for a kind of files.
pub(super) fn sub_folders(file: &Path) -> Vec<String> {
    let folders = file.parent().unwrap_or(Path::new("")).iter();
    let folders = folders.map(|part| folded(&part.to_string_lossy()));
    folders
        .filter(|part| !KINDS.contains(&part.as_str()))
        .collect()
}
