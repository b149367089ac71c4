//! Readers of the layouts in which annotations come.

pub(crate) mod coco;
mod objects;
pub(crate) mod voc;
mod xml;
pub(crate) mod yolo;

use std::io::Read;
use std::path::{Component, Path, PathBuf};

use rayon::prelude::*;

use crate::decoding::open;
use crate::{DataError, Layout};

/// The layout of the data set in `dir` and the splits it holds, sorted by name.
///
/// # Errors
///
/// A missing folder, an unknown layout, a file that lists the splits and cannot be read.
pub fn splits(dir: impl AsRef<Path>) -> Result<(Layout, Vec<String>), DataError> {
    let dir = dir.as_ref();
    let layout = recognise(dir)?;
    let names = match layout {
        Layout::Voc => voc::splits(dir)?
            .into_iter()
            .map(|split| split.name)
            .collect(),
        Layout::Yolo => yolo::splits(dir)?
            .into_iter()
            .map(|split| split.name)
            .collect(),
        Layout::Coco | Layout::Shapes => coco::splits(dir)?
            .into_iter()
            .map(|split| split.name)
            .collect(),
    };
    Ok((layout, names))
}

/// The layout of the data set in `dir`, by what is in it; never [`Layout::Shapes`].
pub(crate) fn recognise(dir: &Path) -> Result<Layout, DataError> {
    if !dir.is_dir() {
        return Err(DataError::MissingFolder {
            path: dir.to_path_buf(),
        });
    }
    if voc::recognises(dir)? {
        Ok(Layout::Voc)
    } else if !coco::splits(dir)?.is_empty() {
        Ok(Layout::Coco)
    } else if yolo::recognises(dir)? {
        Ok(Layout::Yolo)
    } else {
        Err(DataError::UnknownLayout {
            path: dir.to_path_buf(),
        })
    }
}

/// A named part of a data set, and where it is.
pub(crate) struct Split<T> {
    pub name: String,
    pub source: T,
}

/// The split called `name`, or the only one where none is named.
fn choose<T>(
    dir: &Path,
    layout: Layout,
    mut splits: Vec<Split<T>>,
    name: Option<&str>,
) -> Result<Split<T>, DataError> {
    let position = match name {
        Some(name) => splits.iter().position(|split| split.name == name),
        None if splits.len() == 1 => Some(0),
        None => None,
    };
    if let Some(position) = position {
        return Ok(splits.swap_remove(position));
    }
    let path = dir.to_path_buf();
    let available = splits.into_iter().map(|split| split.name).collect();
    Err(match name {
        Some(split) => DataError::UnknownSplit {
            path,
            layout,
            split: split.to_string(),
            available,
        },
        None => DataError::SplitNotNamed {
            path,
            layout,
            available,
        },
    })
}

/// What a data set is called in messages.
fn title(dir: &Path, split: &str) -> String {
    format!("{} [{split}]", dir.display())
}

/// The entries of `dir` sorted by name; none where there is no such folder.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !dir.is_dir() {
        return Ok(Vec::new());
    }
    let read = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    let mut paths = read().map_err(DataError::io(dir))?;
    paths.sort();
    Ok(paths)
}

/// The files of `dir` with that extension, sorted by name; none where there is no such folder.
fn files_with_extension(dir: &Path, extension: &str) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = entries(dir)?;
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    Ok(paths)
}

/// Whether the name is that of an image that can be decoded.
pub fn is_image(path: &Path) -> bool {
    const EXTENSIONS: [&str; 8] = ["jpg", "jpeg", "png", "bmp", "gif", "tif", "tiff", "webp"];
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn stem(path: &Path) -> String {
    path.file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The longest text, in bytes, that is read whole. A file that never ends may look like any other.
const MAX_TEXT: u64 = 256 << 20;

fn read_text(path: &Path) -> Result<String, DataError> {
    let mut text = String::new();
    let read = open(path).and_then(|file| file.take(MAX_TEXT + 1).read_to_string(&mut text));
    match read.map_err(DataError::io(path))? as u64 {
        ..=MAX_TEXT => Ok(text),
        _ => Err(DataError::Annotations {
            path: path.to_path_buf(),
            cause: format!("the file has more than {} MiB", MAX_TEXT >> 20),
        }),
    }
}

/// The path of an image that an annotation file names, which must lie in `folder`: the file may come from a stranger.
fn image_path(folder: &Path, file_name: &str) -> Result<PathBuf, String> {
    let slashed = file_name.replace('\\', "/");
    let drive = slashed.as_bytes().get(1) == Some(&b':');
    let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    match !drive && Path::new(&slashed).components().all(inside) {
        true => Ok(with_separators(folder, file_name)),
        false => Err(leads_out(file_name)),
    }
}

fn leads_out(file_name: &str) -> String {
    format!("the image file name '{file_name}' leads out of the data set's folder")
}

/// `folder` with `file_name`, which may come from another system: Windows' separators are taken for separators where no
/// file has them in its name.
fn with_separators(folder: &Path, file_name: &str) -> PathBuf {
    let path = folder.join(file_name);
    // Nearly all names are the same either way, and need no look at the disk.
    match !file_name.contains('\\') || path.is_file() {
        true => path,
        false => folder.join(file_name.replace('\\', "/")),
    }
}

/// Fails unless every image is on disk.
fn require_images(paths: &[PathBuf]) -> Result<(), DataError> {
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
