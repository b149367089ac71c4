//! Which folders of a data set hold its splits.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::split_name::{Role, SplitWord, names_split};
use crate::decoding::{is_image, is_unread_image};
use crate::files::{file_name, stem};

/// The folders of a data set that name its splits.
///
/// A folder whose name starts with a word for a split names one. A folder with such a word elsewhere in its name, as in
/// `coon_train` and `trainset`, names one only beside another split: classes and places may have such names, too. A
/// folder that holds several splits, such as `train_data` with `train` and `val`, is not a split itself.
#[derive(Debug, Default)]
pub(super) struct SplitFolders {
    /// The splits of folders that do not start with a word for a split.
    others: HashMap<PathBuf, String>,
    /// Folders that hold other splits. Their names do not name a split.
    around: HashSet<PathBuf>,
    /// Folders that hold the whole data set. Their names say nothing about the role of an image.
    whole: HashSet<PathBuf>,
}

impl SplitFolders {
    /// The folders of these files, which are relative to the folder of the data set and sorted.
    pub fn of(files: &[PathBuf]) -> Self {
        let folders = Folders::of(files);
        let mut found = Self {
            others: folders.named_beside_others(),
            ..Self::default()
        };
        let named = folders.all.keys().copied();
        let mut named: Vec<&Path> = named
            .filter(|folder| found.name_of(folder).is_some())
            .collect();
        if named.is_empty() {
            return found;
        }
        let common = common_folder(files);
        let is_whole = |folder: &Path| common.as_ref().is_some_and(|all| all.starts_with(folder));
        // Inner folders first.
        named.sort_by_key(|folder| std::cmp::Reverse(folder.components().count()));
        for folder in named {
            let words: HashSet<SplitWord> = folders
                .under(folder)
                .filter_map(|below| word_of(found.outermost(below, folder)?))
                .collect();
            let mut with_images = folders.with_images(folder);
            let is_whole = is_whole(folder);
            let is_divided = !words.is_empty()
                && with_images.all(|below| found.outermost(below, folder).is_some());
            let is_around = words.iter().any(|word| {
                word.is_for_training()
                    && (words.iter().filter(|other| other.role() != word.role())).any(|other| {
                        // Other words may be those of classes.
                        other.rest == word.rest
                            || is_divided && (other.rest.is_empty() || word.rest.is_empty())
                    })
            });
            if is_around || (is_whole && is_divided) {
                found.around.insert(folder.to_path_buf());
            }
            if is_whole {
                found.whole.insert(folder.to_path_buf());
            }
        }
        found
    }

    /// The name of the split that a file belongs to, from its outermost folder that names one.
    pub fn split_of<'a>(&'a self, file: &'a Path) -> Option<&'a str> {
        let folder = self.outermost(file.parent()?, Path::new(""))?;
        self.name_of(folder)
    }

    /// The role of the split that a file belongs to, if its folders name one. A folder that holds the whole data set does
    /// not: it also holds the images of other splits, if there are any.
    pub fn role_of(&self, file: &Path) -> Option<Role> {
        let is_ignored =
            |folder: &Path| self.around.contains(folder) || self.whole.contains(folder);
        let folders = file.parent()?.ancestors();
        let named = folders.filter(|folder| self.name_of(folder).is_some() && !is_ignored(folder));
        Role::of_split(self.name_of(named.last()?)?)
    }

    /// The outermost folder that names a split, of a folder and those above it but below another one.
    fn outermost<'a>(&self, folder: &'a Path, below: &Path) -> Option<&'a Path> {
        let folders = folder.ancestors().take_while(|folder| *folder != below);
        let named = folders.filter(|folder| self.name_of(folder).is_some());
        named.filter(|folder| !self.around.contains(*folder)).last()
    }

    /// The split that a folder names by itself.
    fn name_of<'a>(&'a self, folder: &'a Path) -> Option<&'a str> {
        let own = || {
            folder
                .file_name()?
                .to_str()
                .filter(|name| names_split(name))
        };
        own().or_else(|| self.others.get(folder).map(String::as_str))
    }
}

/// The folders of a data set.
struct Folders<'a> {
    /// Relative to the folder of the data set, without that folder. Whether they or folders in them hold images.
    all: BTreeMap<&'a Path, bool>,
    /// The folders with images of their own.
    with_images: BTreeSet<&'a Path>,
}

impl<'a> Folders<'a> {
    fn of(files: &'a [PathBuf]) -> Self {
        let mut all: BTreeMap<&Path, bool> = BTreeMap::new();
        let mut with_images = BTreeSet::new();
        let mut last = None;
        for file in files {
            let parent = file.parent().unwrap_or(Path::new(""));
            // Most files are in the folder of the one before.
            if last == Some((parent, true)) {
                continue;
            }
            let holds_images = is_image(file) || is_unread_image(file);
            if last == Some((parent, holds_images)) {
                continue;
            }
            last = Some((parent, holds_images));
            if holds_images {
                with_images.insert(parent);
            }
            let above = parent.ancestors();
            for folder in above.take_while(|folder| !folder.as_os_str().is_empty()) {
                *all.entry(folder).or_default() |= holds_images;
            }
        }
        Self { all, with_images }
    }

    /// A folder and those in it.
    fn under(&self, folder: &Path) -> impl Iterator<Item = &'a Path> {
        let from = (Bound::Included(folder), Bound::Unbounded);
        let all = self.all.range::<Path, _>(from).map(|(below, _)| *below);
        all.take_while(move |below| below.starts_with(folder))
    }

    /// Of these, the ones with images of their own.
    fn with_images(&self, folder: &Path) -> impl Iterator<Item = &'a Path> {
        let from = (Bound::Included(folder), Bound::Unbounded);
        let all = self.with_images.range::<Path, _>(from).copied();
        all.take_while(move |below| below.starts_with(folder))
    }

    /// The splits of folders with a word for a split after the start of their name. There must be a folder beside it
    /// that differs in this word alone, as with `coon_train` and `coon_val`; or all folders with images beside it must
    /// have such a word, one of them for training, and one must not look like a class.
    fn named_beside_others(&self) -> HashMap<PathBuf, String> {
        let mut siblings: BTreeMap<&Path, Vec<(&Path, SplitWord)>> = BTreeMap::new();
        // Parents of folders with images that have no word for a split.
        let mut mixed: HashSet<&Path> = HashSet::new();
        for (folder, holds_images) in &self.all {
            let parent = folder.parent().unwrap_or(Path::new(""));
            match word_of(folder) {
                Some(word) => siblings.entry(parent).or_default().push((folder, word)),
                None if *holds_images => drop(mixed.insert(parent)),
                None => {}
            }
        }
        let mut found: Vec<(&Path, &SplitWord)> = Vec::new();
        for (parent, named) in &siblings {
            let with_images = || named.iter().filter(|(folder, _)| self.all[folder]);
            let mut roles: HashMap<&str, HashSet<Option<Role>>> = HashMap::new();
            for (_, word) in named {
                roles.entry(&word.rest).or_default().insert(word.role());
            }
            let has_counterpart = |word: &SplitWord| {
                let mut roles = roles[word.rest.as_str()].iter();
                roles.any(|role| *role != word.role())
            };
            let is_split =
                |(_, word): &(&Path, SplitWord)| word.is_plain() || has_counterpart(word);
            let is_division = !mixed.contains(parent)
                && with_images().any(is_split)
                && with_images().any(|(_, word)| word.is_for_training())
                && with_images().any(|(_, word)| !word.is_for_training());
            for (folder, word) in named.iter().filter(|(folder, _)| !starts_with_word(folder)) {
                if has_counterpart(word) || (is_division && self.all[folder]) {
                    found.push((folder, word));
                }
            }
        }
        // Folders of images and folders of labels name the same splits. Others with the same word are different splits.
        let mut full_names: HashMap<(&str, bool), BTreeSet<String>> = HashMap::new();
        let alike = |folder: &Path, word: &SplitWord| (word.word, self.all[&folder]);
        let starting = siblings.values().flatten().filter(|(folder, word)| {
            starts_with_word(folder) && file_name(folder).eq_ignore_ascii_case(word.word)
        });
        let starting = starting.map(|(folder, word)| (*folder, word));
        for (folder, word) in found.iter().copied().chain(starting) {
            let names = full_names.entry(alike(folder, word)).or_default();
            names.insert(file_name(folder).to_lowercase());
        }
        let name = |folder: &Path, word: &SplitWord| match full_names[&alike(folder, word)].len() {
            1 => word.word.to_string(),
            _ => file_name(folder),
        };
        let named = found.into_iter();
        named
            .map(|(folder, word)| (folder.to_path_buf(), name(folder, word)))
            .collect()
    }
}

fn starts_with_word(folder: &Path) -> bool {
    names_split(&file_name(folder))
}

/// The word for a split in the name of a folder.
fn word_of(folder: &Path) -> Option<SplitWord> {
    let name = file_name(folder);
    // The first of several words decides, as in `train_test`.
    SplitWord::in_name(&name).or_else(|| Role::of_word(&name).map(SplitWord::of_role))
}

/// The innermost folder that holds all images, and all files and folders whose names mention a split. `None` without
/// images.
fn common_folder(files: &[PathBuf]) -> Option<PathBuf> {
    let mut common: Option<&Path> = None;
    let mut has_images = false;
    let mut last = None;
    for file in files {
        let parent = file.parent().unwrap_or(Path::new(""));
        let is_picture = is_image(file) || is_unread_image(file);
        has_images |= is_picture;
        if last == Some(parent) || common.is_some_and(|common| parent.starts_with(common)) {
            continue;
        }
        let mut folders = parent.iter().filter_map(|part| part.to_str());
        if !is_picture && !mentions_split(&stem(file)) && !folders.any(mentions_split) {
            continue;
        }
        last = Some(parent);
        common = Some(match common {
            None => parent,
            Some(common) => {
                let mut above = common.ancestors();
                above
                    .find(|above| parent.starts_with(above))
                    .unwrap_or(Path::new(""))
            }
        });
    }
    common.filter(|_| has_images).map(Path::to_path_buf)
}

fn mentions_split(name: &str) -> bool {
    SplitWord::in_name(name).is_some() || names_split(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splits(files: &[&str]) -> Vec<String> {
        let mut files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        files.sort();
        let folders = SplitFolders::of(&files);
        let images = files.iter().filter(|file| is_image(file));
        let split = |file: &PathBuf| folders.split_of(file).unwrap_or("-").to_string();
        images.map(split).collect()
    }

    #[test]
    fn the_outermost_folder_that_names_a_split_does() {
        assert_eq!(
            splits(&[
                "images/Train/cam/a.jpg",
                "images/a.jpg",
                "val/test_cam/b.jpg"
            ]),
            ["Train", "-", "val"]
        );
        // A class may be called like a split.
        assert_eq!(
            splits(&["test/bus/a.jpg", "test/train/b.jpg", "train/train/c.jpg"]),
            ["test", "test", "train"]
        );
        for other in ["bus", "test car"] {
            let files = ["train", "val"].map(|split| {
                ["train station", "test tube", other].map(|class| format!("{split}/{class}/a.jpg"))
            });
            let files: Vec<&str> = files.iter().flatten().map(String::as_str).collect();
            let found = splits(&files);
            assert_eq!(found, ["train", "train", "train", "val", "val", "val"]);
        }
    }

    #[test]
    fn a_folder_around_splits_is_none() {
        for wrapper in ["train_data", "test", "Training", "val_2017"] {
            for other in ["readme.md", "other/a.jpg", "test_data/a.jpg", "classes.txt"] {
                let inside = |file: &str| format!("{wrapper}/{file}");
                let [a, b] = ["images/train/a.jpg", "images/val/b.jpg"].map(inside);
                let found = splits(&[&a, &b, other]);
                assert!(
                    found.ends_with(&["train".into(), "val".into()])
                        || found.starts_with(&["train".into(), "val".into()]),
                    "{found:?}"
                );
            }
        }
        // It holds everything, so it does not tell one image from another.
        assert_eq!(splits(&["test_dataset/train/a.jpg"]), ["train"]);
        assert_eq!(splits(&["train/images/a.jpg"]), ["train"]);
        assert_eq!(
            splits(&["test_dataset/bus/a.jpg", "test_dataset/train/b.jpg"]),
            ["test_dataset", "test_dataset"]
        );
    }

    #[test]
    fn the_role_of_a_folder_with_everything_is_unknown() {
        let role = |files: &[&str]| {
            let mut files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
            files.sort();
            SplitFolders::of(&files).role_of(Path::new("train_data/images/a.jpg"))
        };
        let image = "train_data/images/a.jpg";
        assert_eq!(role(&[image, "data.yaml", "train_data/val.txt"]), None);
        for other in ["val.txt", "b.jpg", "val_data/labels/b.txt"] {
            assert_eq!(role(&[image, other]), Some(Role::Train), "{other}");
        }
    }

    #[test]
    fn words_inside_of_names_count_beside_other_splits() {
        for (files, expected) in [
            (
                &["coon_train/a.jpg", "coon_val/b.jpg", "x/c.jpg"][..],
                &["train", "val", "-"][..],
            ),
            (&["testset/a.jpg", "trainset/b.jpg"], &["test", "train"]),
            (
                &[
                    "images_train/a.jpg",
                    "images_val/b.jpg",
                    "labels_train/a.txt",
                ],
                &["train", "val"],
            ),
            (
                &["TestImages/a.jpg", "TrainImages/b.jpg"],
                &["test", "train"],
            ),
            (&["coon_train/a.jpg", "valid/b.jpg"], &["train", "valid"]),
            (
                &["a_train/a.jpg", "a_val/b.jpg", "b_train/c.jpg"],
                &["a_train", "val", "b_train"],
            ),
            (
                &["my_train/a.jpg", "train/b.jpg", "val/c.jpg"],
                &["my_train", "train", "val"],
            ),
            // Classes and places.
            (&["bus/a.jpg", "steam_train/b.jpg"], &["-", "-"]),
            (&["crash_test/a.jpg", "street/b.jpg"], &["-", "-"]),
            (
                &["crash_test/a.jpg", "steam_train/b.jpg", "bus/c.jpg"],
                &["-", "-", "-"],
            ),
            (&["coon_train/a.jpg"], &["-"]),
            (&["web_dev/a.jpg", "beta_test/b.jpg"], &["-", "-"]),
            (&["crash_test/a.jpg", "steam_train/b.jpg"], &["-", "-"]),
        ] {
            let mut sorted: Vec<(&str, &str)> = files
                .iter()
                .copied()
                .filter(|file| file.ends_with(".jpg"))
                .zip(expected.iter().copied())
                .collect();
            sorted.sort();
            let expected: Vec<&str> = sorted.iter().map(|(_, split)| *split).collect();
            assert_eq!(splits(files), expected, "{files:?}");
        }
    }
}
