//! The paths of annotated images.

use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use crate::DataError;

/// The path of an image that an annotation file names. It must be inside `folder`: the file may come from anyone.
pub(super) fn image_path(folder: &Path, file_name: &str) -> Result<PathBuf, String> {
    let slashed = file_name.replace('\\', "/");
    let drive = slashed.as_bytes().get(1) == Some(&b':');
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    match !drive && Path::new(&slashed).components().all(inside) {
        true => Ok(with_separators(folder, file_name)),
        false => Err(points_outside(file_name)),
    }
}

/// The cause of an error about a file name.
pub(super) fn points_outside(file_name: &str) -> String {
    format!("the image file name '{file_name}' points outside the folder of the data set")
}

/// `folder` joined with `file_name`, which may come from another system: a backslash separates folders unless a file has
/// it in its name.
pub(super) fn with_separators(folder: &Path, file_name: &str) -> PathBuf {
    let path = folder.join(file_name);
    // Nearly all names have none, and no need to look at the disk.
    match !file_name.contains('\\') || path.is_file() {
        true => path,
        false => folder.join(file_name.replace('\\', "/")),
    }
}

/// Fails unless every image is on disk.
pub(super) fn require_images(paths: &[PathBuf]) -> Result<(), DataError> {
    let missing: Vec<&PathBuf> = paths.par_iter().filter(|path| !path.is_file()).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(DataError::MissingImages {
            first: (*first).clone(),
            missing: missing.len(),
            total: paths.len(),
        }),
    }
}
