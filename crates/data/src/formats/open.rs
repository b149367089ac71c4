//! Recognizing data sets of any layout.

use std::collections::BTreeMap;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::coco_task::INSTANCES;
use super::inventory::{Inventory, is_part};
use super::refusals::refusals;
use super::split::{Found, names_split};
use super::{coco, createml, csv, native_formats, voc, yolo};
use crate::DataError;
use crate::files::{file_name, has_extension, stem};

/// Recognizes a layout by the files of a folder, or by a single file that describes the data set, relative to the
/// folder. `None` if the layout is another one.
type Recognizer = fn(&Arc<Inventory>, Option<&Path>) -> Result<Option<Found>, DataError>;

/// All layouts. If two fit equally well, the earlier one is chosen.
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
    // An archive is often unpacked into a folder of its own.
    if let (None, Some(inner)) = (&given, only_folder(&inventory)) {
        let is_named = names_split(&file_name(&inner));
        match recognize(&inner) {
            Err(DataError::UnknownLayout { .. }) => {}
            // Its name is that of the only split, unless there are splits in it.
            Ok(found) if is_named && !found.is_divided() => {}
            Err(_) if is_named => {}
            found => return found,
        }
    }
    if let Some(mut found) = best(&inventory, given.as_deref())? {
        found.omissions = inventory.omissions();
        return Ok(found);
    }
    let summary = iter::once(summary(&inventory))
        .chain(native_formats::advice(&inventory, given.as_deref()))
        .chain(inventory.omissions())
        .chain(refusals(&inventory, given.as_deref()));
    Err(DataError::UnknownLayout {
        path: path.to_path_buf(),
        found: summary.collect::<Vec<_>>().join("; "),
    })
}

/// The folder of the data set that a file describes: the folder of the file, or its parent for a file in
/// `annotations/`.
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

/// The layout with the most annotated images. Its evidence mentions layouts that fit less well or cannot be read.
fn best(inventory: &Arc<Inventory>, given: Option<&Path>) -> Result<Option<Found>, DataError> {
    let mut all: Vec<Found> = Vec::new();
    let mut errors = Vec::new();
    for recognizer in RECOGNIZERS {
        match recognizer(inventory, given) {
            Ok(found) => all.extend(found),
            Err(error) if is_of_a_description(&error) => return Err(error),
            Err(error) => errors.push(error),
        }
    }
    // Counting may take long, and is only needed to choose between several layouts.
    let is_choice = all.len() > 1;
    let count = |found: &Found| if is_choice { found.annotated() } else { 0 };
    let counted = all.into_iter().map(|found| (count(&found), found));
    let mut all: Vec<(usize, Found)> = counted.collect();
    // On a tie, `max_by_key` returns the last.
    let chosen = all.iter().enumerate().rev();
    let Some((chosen, _)) = chosen.max_by_key(|(_, (count, _))| *count) else {
        return errors.into_iter().next().map_or(Ok(None), Err);
    };
    let (most, mut found) = all.remove(chosen);
    let others = all.iter().map(|(count, other)| {
        format!(
            "{} with {count} annotated images ({})",
            other.layout, other.evidence
        )
    });
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        found.evidence = format!(
            "{} with {most} annotated images, at least as many as {}",
            found.evidence,
            others.join(" and ")
        );
    }
    for error in errors {
        found.evidence = format!("{}; not read: {error}", found.evidence);
    }
    Ok(Some(found))
}

/// Whether the name of the file at fault shows that it describes a data set.
fn is_of_a_description(error: &DataError) -> bool {
    let (DataError::Io { path, .. }
    | DataError::Annotations { path, .. }
    | DataError::Line { path, .. }) = error
    else {
        return false;
    };
    let name = file_name(path).to_lowercase();
    let is_coco = name.starts_with(INSTANCES) && name.ends_with(".json");
    let is_yolo = ["data.yaml", "data.yml", "dataset.yaml", "dataset.yml"].contains(&name.as_str());
    is_coco || is_yolo || name.starts_with("_annotations.")
}

/// The only subfolder of an inventory, if it holds all files but documentation and is not part of a layout. It may be
/// named like a split.
fn only_folder(inventory: &Inventory) -> Option<PathBuf> {
    let folder = |file: &PathBuf| {
        let mut parts = file.components();
        let first = parts.next()?;
        parts.next().map(|_| first.as_os_str().to_os_string())
    };
    let mut files = (inventory.files().iter()).filter(|file| !is_documentation(file));
    let first = files.next()?;
    let last = folder(files.next_back().unwrap_or(first))?;
    let first = folder(first)?;
    let is_wrapper = |name: &Path| !is_part(name) || name.to_str().is_some_and(names_split);
    (first == last && is_wrapper(Path::new(&first))).then(|| inventory.root().join(first))
}

/// Whether a file at the top is about the data set but not part of it, such as `README.md`.
fn is_documentation(file: &Path) -> bool {
    let stem = stem(file).to_lowercase();
    let is_named = ["readme", "license", "licence", "citation"]
        .iter()
        .any(|known| stem.starts_with(known));
    let is_page = ["md", "pdf"].iter().any(|known| has_extension(file, known));
    file.components().count() == 1 && (is_named || is_page)
}

/// The contents of a folder that is not a data set, as in `3 .jpg, 1 .json`.
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
    match kinds.is_empty() {
        true => "no files".to_string(),
        false => format!("{} files: {}", inventory.files().len(), kinds.join(", ")),
    }
}
