//! Locating the label files of images.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::inventory::Inventory;
use super::split_name::{SplitWord, words};
use super::sub_folders::sub_folders;
use super::yolo_label::is_label_text;
use crate::decoding::{is_image, is_unread_image};
use crate::error::is_absent;
use crate::files::{file_name, has_extension, read_text, stem};
use crate::spelling::folded;

/// Finds the label files of images.
#[derive(Debug)]
pub(super) struct LabelFiles {
    inventory: Arc<Inventory>,
    /// The files of the inventory that are at the expected place of some image's label file.
    expected: OnceLock<HashSet<PathBuf>>,
}

/// The label file of an image.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LabelPath {
    pub path: PathBuf,
    /// Whether the file is at an expected place, rather than the only match by name.
    pub is_expected: bool,
}

impl LabelFiles {
    pub fn new(inventory: &Arc<Inventory>) -> Self {
        Self {
            inventory: Arc::clone(inventory),
            expected: OnceLock::new(),
        }
    }

    /// The label file of an image: the file at an expected place, ignoring case and how characters are composed, or else
    /// the only file with its stem that belongs to no other image and is in the same subfolders.
    pub fn of(&self, image: &Path) -> Option<LabelPath> {
        let found = |path: PathBuf, is_expected| Some(LabelPath { path, is_expected });
        let places = expected_places(image);
        // A file without readable metadata counts as present, so that reading it is an error.
        let exists =
            |path: &&PathBuf| !std::fs::metadata(path).is_err_and(|error| is_absent(&error));
        if let Some(path) = places.iter().find(exists) {
            return found(path.clone(), true);
        }
        let root = self.inventory.root();
        let relative = image.strip_prefix(root).ok()?;
        let (stem, name) = (stem(image), file_name(image));
        let unused = || {
            let named = [stem.as_str(), name.as_str()].into_iter();
            let files = named.flat_map(|stem| self.inventory.with_stem(stem));
            files.filter(|file| has_extension(file, "txt") && !self.expected().contains(*file))
        };
        let plain = |path: &Path| folded(&path.to_string_lossy());
        for place in &places {
            let place = plain(place.strip_prefix(root).unwrap_or(place));
            let mut same = unused().filter(|file| plain(file) == place);
            if let (Some(file), None) = (same.next(), same.next()) {
                return found(root.join(file), true);
            }
        }
        let holds_labels = |file: &Path| {
            let text = read_text(&root.join(file)).unwrap_or_default();
            text.trim().is_empty() || is_label_text(&text)
        };
        let mut candidates = unused().filter(|file| sub_folders(file) == sub_folders(relative));
        match (candidates.next(), candidates.next()) {
            (Some(file), None) if holds_labels(file) => found(root.join(file), false),
            _ => None,
        }
    }

    /// Whether a label file belongs to an image of the inventory. The path is relative to its folder.
    pub fn has_image(&self, file: &Path) -> bool {
        let path = self.inventory.root().join(file);
        let (stem, own) = (stem(file), file.with_extension(""));
        // `a.jpg.txt` may belong to `a.jpg`.
        let named = [stem.clone(), crate::files::stem(&own)];
        let images = named.iter().flat_map(|stem| self.inventory.with_stem(stem));
        let mut images = images.filter(|file| is_image(file) || is_unread_image(file));
        self.expected().contains(file)
            || images.any(|image| {
                let labels = self.of(&self.inventory.root().join(image));
                labels.is_some_and(|labels| labels.path == path)
            })
    }

    fn expected(&self) -> &HashSet<PathBuf> {
        self.expected.get_or_init(|| {
            let files = self.inventory.files().iter();
            let images = files.filter(|file| is_image(file) || is_unread_image(file));
            let places = images.flat_map(|image| expected_places(image));
            places
                .filter(|file| self.inventory.contains(file))
                .collect()
        })
    }
}

/// Where the label file of an image is expected: at its path with the last folder `images` replaced by `labels`, or
/// next to the image. Without such a folder, also at its path with `images` replaced in the name of a folder, such as
/// `images_train` or `train_images`.
pub(super) fn expected_places(image: &Path) -> Vec<PathBuf> {
    let beside = image.with_extension("txt");
    let parts: Vec<Component> = image.components().collect();
    let replacement = |part: &Component| match part.as_os_str().to_str()? {
        "images" | "JPEGImages" => Some("labels".to_string()),
        "Images" => Some("Labels".to_string()),
        "IMAGES" => Some("LABELS".to_string()),
        _ => None,
    };
    let within = |part: &Component| folder_of_labels(part.as_os_str().to_str()?);
    let folders = &parts[..parts.len().saturating_sub(1)];
    let last = |replaced: &dyn Fn(&Component) -> Option<String>| {
        let mut folders = folders.iter().enumerate().rev();
        folders.find_map(|(position, part)| Some((position, replaced(part)?)))
    };
    let swapped = |(last, labels): (usize, String)| {
        let swap = |(position, part): (usize, &Component)| match position == last {
            true => labels.clone().into(),
            false => part.as_os_str().to_os_string(),
        };
        let swapped: PathBuf = parts.iter().enumerate().map(swap).collect();
        swapped.with_extension("txt")
    };
    match (last(&replacement), last(&within)) {
        (Some(labels), _) => vec![swapped(labels), beside],
        (None, Some(labels)) => vec![beside, swapped(labels)],
        (None, None) => vec![beside],
    }
}

/// The folder of labels that belongs to a folder of images with other words in its name: `labels_train` for
/// `images_train`.
fn folder_of_labels(images: &str) -> Option<String> {
    let is_attached =
        || SplitWord::in_name(images).is_some_and(|split| split.rest.contains("images"));
    let kinds = [
        ("images", "labels"),
        ("Images", "Labels"),
        ("IMAGES", "LABELS"),
    ];
    let mut kinds = kinds.into_iter().filter(|(kind, _)| {
        images.contains(kind) && (words(images).any(|word| word == *kind) || is_attached())
    });
    let (kind, labels) = kinds.next()?;
    Some(images.replacen(kind, labels, 1))
}

/// Whether a folder of an image has `images` among the words of its name.
pub(super) fn is_for_images(image: &Path) -> bool {
    let folders = image.parent().unwrap_or(Path::new("")).iter();
    let mut names = folders.filter_map(|folder| folder.to_str());
    names.any(|name| folder_of_labels(name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_files_are_in_a_labels_folder_or_next_to_the_images() {
        let files = |image: &str| -> Vec<String> {
            let files = expected_places(Path::new(image)).into_iter();
            files.map(|file| file.display().to_string()).collect()
        };
        assert_eq!(
            files("/d/images/train/a.jpg"),
            ["/d/labels/train/a.txt", "/d/images/train/a.txt"]
        );
        assert_eq!(
            files("/images/d/train/images/a.b.png")[0],
            "/images/d/train/labels/a.b.txt"
        );
        assert_eq!(files("flat/a.jpg"), ["flat/a.txt"]);
        for (images, labels) in [
            ("images_train", "labels_train"),
            ("train-images", "train-labels"),
            ("TrainImages", "TrainLabels"),
            ("valimages", "vallabels"),
            ("my images", "my labels"),
        ] {
            let found = files(&format!("{images}/a.jpg"));
            assert_eq!(
                found,
                [format!("{images}/a.txt"), format!("{labels}/a.txt")]
            );
        }
        assert_eq!(files("myimages/a.jpg"), ["myimages/a.txt"]);
        assert_eq!(
            files("train_images/images/images_1.jpg")[0],
            "train_images/labels/images_1.txt"
        );
    }
}
