//! The splits of a data set.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::coco_task::split_in_name;
use super::description::Description;
use super::inventory::Inventory;
use super::split_name::SplitWord;
use crate::files::{file_name, stem};
use crate::{DataError, DetectionDataset, Layout, LoadReport};

pub(super) use super::split_name::{Role, is_role_word, is_trainval, names_split};

/// The name of the only split if no file or folder names one.
pub(super) const ONLY_SPLIT: &str = "all";

/// Reads the annotations of one split.
pub(super) trait SplitReader: fmt::Debug + Send + Sync {
    /// Reads the annotation files.
    fn describe(&self) -> Result<Description, DataError>;

    /// An estimate of the number of annotated images, made without reading the annotations. Decides between layouts
    /// that both fit a folder.
    fn annotated(&self) -> usize;

    /// Whether the split is known to have no images.
    fn is_empty(&self) -> bool {
        false
    }

    /// Whether the split may have objects. Without any, nothing can be measured on it.
    fn has_objects(&self) -> bool {
        true
    }

    /// What identifies the images of the split: equal paths in two splits of a data set mean the same image. Empty if
    /// the split cannot be read.
    fn members(&self) -> HashSet<PathBuf>;

    /// What was found in the image folders of a split without images or objects but is not read.
    fn left_out(&self) -> LoadReport {
        LoadReport::default()
    }
}

/// A named part of a data set.
#[derive(Debug, Clone)]
pub(super) struct Split {
    pub name: String,
    pub reader: Arc<dyn SplitReader>,
}

impl Split {
    pub fn new(name: impl Into<String>, reader: impl SplitReader + 'static) -> Self {
        Self {
            name: name.into(),
            reader: Arc::new(reader),
        }
    }
}

/// A folder recognized as a data set of some layout.
#[derive(Debug)]
pub(super) struct Found {
    pub layout: Layout,
    /// Why the layout was recognized, such as `data.yaml`.
    pub evidence: String,
    /// Sorted by name.
    pub splits: Vec<Split>,
    /// Splits that the data set names but that do not exist, with their expected paths.
    pub absent: Vec<(String, PathBuf)>,
    /// Findings about the folder as a whole, such as unused files. Reported with the training split, or with every
    /// split if there is no training split.
    pub report: LoadReport,
    /// Messages about what was skipped and may be missing from any split.
    pub omissions: Vec<String>,
}

impl Found {
    /// The splits sorted by name.
    pub fn new(layout: Layout, evidence: impl Into<String>, mut splits: Vec<Split>) -> Self {
        splits.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            layout,
            evidence: evidence.into(),
            splits,
            absent: Vec::new(),
            report: LoadReport::default(),
            omissions: Vec::new(),
        }
    }

    /// Reads the split called `name`, or the only one.
    pub fn read(&self, dir: &Path, name: Option<&str>) -> Result<DetectionDataset, DataError> {
        let split = self.choose(dir, name)?;
        let mut description = split.reader.describe()?;
        let mut report = match self.is_reported_with(split) {
            true => self.report.clone(),
            false => LoadReport::default(),
        };
        for omission in &self.omissions {
            report.note(omission);
        }
        report.extend(description.report);
        description.report = report;
        description.assemble()
    }

    /// Whether messages about the folder as a whole belong to the report of this split.
    fn is_reported_with(&self, split: &Split) -> bool {
        let is_training = |split: &Split| Role::of_split(&split.name) == Some(Role::Train);
        is_training(split) || !self.splits.iter().any(is_training)
    }

    /// Adds a report on the folder as a whole.
    #[must_use]
    pub fn with_report(mut self, report: LoadReport) -> Self {
        self.report = report;
        self
    }

    pub fn annotated(&self) -> usize {
        let readers = self.splits.iter().map(|split| split.reader.annotated());
        readers.sum()
    }

    /// Whether all images are in splits with names, at least one of which is a word for a split.
    pub fn is_divided(&self) -> bool {
        let mut names = self.splits.iter().map(|split| split.name.as_str());
        names.clone().all(|name| name != ONLY_SPLIT)
            && names.any(|name| names_split(name) || Role::of_split(name).is_some())
    }

    /// The split called `name` in any case, or the only split if `name` is `None`.
    pub fn choose(&self, dir: &Path, name: Option<&str>) -> Result<&Split, DataError> {
        let called =
            |fits: &dyn Fn(&str) -> bool| self.splits.iter().find(|split| fits(&split.name));
        let split = match name {
            Some(name) => called(&|known| known == name)
                .or_else(|| called(&|known| known.eq_ignore_ascii_case(name)))
                .or_else(|| {
                    called(&|known| Role::of(known).is_some() && Role::of(known) == Role::of(name))
                }),
            None if self.splits.len() == 1 => self.splits.first(),
            None => None,
        };
        let absent = |name: &str| {
            let mut absent = self.absent.iter();
            absent.find(|(known, _)| known.eq_ignore_ascii_case(name))
        };
        if let (None, Some((_, path))) = (split, name.and_then(absent)) {
            let path = path.clone();
            return Err(DataError::MissingFolder { path });
        }
        let path = dir.to_path_buf();
        let layout = self.layout;
        let available = || self.splits.iter().map(|split| split.name.clone()).collect();
        split.ok_or_else(|| match name {
            Some(split) => DataError::UnknownSplit {
                path,
                layout,
                split: split.to_string(),
                available: available(),
            },
            None => DataError::SplitNotNamed {
                path,
                layout,
                available: available(),
            },
        })
    }
}

/// The name of a split of the data set in `dir` in messages.
pub(super) fn title(dir: &Path, split: &str) -> String {
    format!("{} [{split}]", dir.display())
}

/// Of lists of images, those of splits: their names start with a word for a split, or else have one at any place, if one
/// of them is for training and another one is not.
pub(super) fn lists_of_splits(mut lists: Vec<&PathBuf>) -> Vec<&PathBuf> {
    let starts_with_word = |list: &&PathBuf| names_split(&stem(list));
    if lists.iter().any(starts_with_word) {
        lists.retain(starts_with_word);
        return lists;
    }
    let is_for_training =
        |list: &&PathBuf| Some(SplitWord::in_name(&stem(list))?.is_for_training());
    let is_any = |wanted| {
        lists
            .iter()
            .any(|list| is_for_training(list) == Some(wanted))
    };
    match is_any(true) && is_any(false) {
        true => lists.retain(|list| is_for_training(list).is_some()),
        false => lists.clear(),
    }
    lists
}

/// Distinct split names for these annotation files of a folder.
pub(super) fn split_names(inventory: &Inventory, files: &[&Path]) -> Vec<String> {
    let name = |file: &&Path| {
        let stem = stem(file);
        if let Some(name) = split_in_name(&stem) {
            return name.to_string();
        }
        let mut words = stem.split(|letter: char| !letter.is_ascii_alphanumeric());
        let word = words.find(|word| names_split(word)).map(str::to_string);
        let folder = || inventory.split_of(file).map(str::to_string);
        let roboflow = || {
            let folder = file.parent().map(file_name).filter(|name| !name.is_empty());
            folder.filter(|_| stem.starts_with("_annotations"))
        };
        match word.or_else(folder).or_else(roboflow) {
            Some(name) => name,
            None if files.len() == 1 => ONLY_SPLIT.to_string(),
            None => stem,
        }
    };
    let names: Vec<String> = files.iter().map(name).collect();
    let is_unique = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let distinct = |(file, name): (&&Path, &String)| match is_unique(name) {
        true => name.clone(),
        false => file.with_extension("").display().to_string(),
    };
    files.iter().zip(&names).map(distinct).collect()
}
