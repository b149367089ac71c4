//! Recognizing data sets of any layout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inventory::Inventory;
use super::split::{Found, names_split};
use super::{coco, createml, csv, voc, yolo};
use crate::DataError;
use crate::files::read_text;

/// Recognizes a layout by the files of a folder, or by a single one that describes the data set, relative to the folder.
/// `None` if it is another layout.
type Recognizer = fn(&Arc<Inventory>, Option<&Path>) -> Result<Option<Found>, DataError>;

/// All layouts. Where two fit equally well, the earlier one is taken.
const RECOGNIZERS: [Recognizer; 5] = [coco::find, voc::find, yolo::find, csv::find, createml::find];

/// The layout at `path`: a folder, or the file that describes a data set.
pub(super) fn recognize(path: &Path) -> Result<Found, DataError> {
    let (folder, given) = match path.is_file() {
        true => {
            let folder = folder_of(path);
            let given = path.strip_prefix(&folder).unwrap_or(path);
            (folder, Some(given.to_path_buf()))
        }
        false => (path.to_path_buf(), None),
    };
    let inventory = Arc::new(Inventory::of(&folder)?);
    // An archive is often unpacked into a separate folder.
    if let (None, Some(inner)) = (&given, only_folder(&inventory))
        && let Ok(found) = recognize(&inner)
    {
        return Ok(found);
    }
    if let Some(found) = best(&inventory, given.as_deref())? {
        return Ok(found);
    }
    Err(DataError::UnknownLayout {
        path: path.to_path_buf(),
        found: summary(&inventory),
    })
}

/// The folder of the data set that a file describes: its own, or the one above for a file in `annotations/`.
fn folder_of(file: &Path) -> PathBuf {
    let parent = file.parent().unwrap_or(Path::new(""));
    let parent = match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    };
    let is_for_annotations = parent.file_name().is_some_and(|name| {
        ["annotations", "labels", "json"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    });
    match parent.parent() {
        Some(above) if is_for_annotations => match above.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => above.to_path_buf(),
        },
        _ => parent.to_path_buf(),
    }
}

/// The layout with the most annotated images. Its evidence lists the others.
fn best(inventory: &Arc<Inventory>, given: Option<&Path>) -> Result<Option<Found>, DataError> {
    let (mut all, mut failed) = (Vec::new(), None);
    for recognizer in RECOGNIZERS {
        match recognizer(inventory, given) {
            Ok(found) => all.extend(found),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    if all.len() <= 1 {
        return match (all.pop(), failed) {
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        };
    }
    let weights: Vec<usize> = all.iter().map(Found::annotated).collect();
    let most = weights.iter().copied().max().unwrap_or_default();
    let chosen = weights
        .iter()
        .position(|weight| *weight == most)
        .unwrap_or_default();
    let mut found = all.swap_remove(chosen);
    let others = all.iter().map(|other| {
        format!(
            "{} with {} annotated images ({})",
            other.layout,
            other.annotated(),
            other.evidence
        )
    });
    let others: Vec<String> = others.collect();
    found.evidence = format!(
        "{} with {most} annotated images; also found: {}",
        found.evidence,
        others.join(" and ")
    );
    Ok(Some(found))
}

/// The only subfolder of an inventory, if all files are in it and it is not a part of a layout.
fn only_folder(inventory: &Inventory) -> Option<PathBuf> {
    let folder = |file: &PathBuf| {
        let mut parts = file.components();
        let first = parts.next()?;
        parts.next().map(|_| first.as_os_str().to_os_string())
    };
    let first = inventory.files().first().and_then(folder)?;
    let last = inventory.files().last().and_then(folder)?;
    let name = first.to_string_lossy().to_lowercase();
    let is_part =
        ["images", "labels", "annotations", "jpegimages", "imagesets"].contains(&name.as_str());
    (first == last && !is_part && !names_split(&name)).then(|| inventory.root().join(first))
}

/// What is in a folder that is not a data set, as in `3 .jpg, 1 .json`.
fn summary(inventory: &Inventory) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in inventory.files() {
        let extension = file
            .extension()
            .map(|extension| extension.to_string_lossy().to_lowercase());
        let kind = extension.map_or("without extension".to_string(), |extension| {
            format!(".{extension}")
        });
        *counts.entry(kind).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds: Vec<String> = (counts.iter().take(5))
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    let hint = hint(inventory).unwrap_or_default();
    match kinds.is_empty() {
        true => "no files".to_string(),
        false => format!(
            "{} files: {}{hint}",
            inventory.files().len(),
            kinds.join(", ")
        ),
    }
}

/// What to do about the native formats of tools.
fn hint(inventory: &Inventory) -> Option<&'static str> {
    let holds = |extension: &str, mark: &str| {
        let mut first = inventory.with_extension(extension).take(3);
        first.any(|file| {
            let text = read_text(&inventory.root().join(file));
            text.is_ok_and(|text| text.contains(mark))
        })
    };
    if holds("xml", "<annotations>") {
        return Some(
            "; one XML file for all images is CVAT's native format: export COCO, VOC or YOLO instead",
        );
    }
    if holds("json", "\"shapes\"") {
        return Some(
            "; a JSON file with shapes for each image is labelme's format: convert it to COCO, VOC or YOLO",
        );
    }
    None
}
