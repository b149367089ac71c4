//! The content of written splits.

use std::collections::{HashMap, HashSet};

use crate::{Category, DetectionDataset, ImageRecord};

/// A split as written: records with new file names, whose images are in place.
#[derive(Debug)]
pub(super) struct WrittenSplit {
    pub name: String,
    pub images: Vec<ImageRecord>,
}

/// The categories of the first data set, then categories with other names from the other data sets, with unused ids.
/// Each name occurs once, since other tools identify classes by name.
pub(super) fn all_categories(datasets: &[&DetectionDataset]) -> Vec<Category> {
    let mut all: Vec<Category> = Vec::new();
    let mut names: HashSet<&str> = HashSet::new();
    let mut ids: HashSet<u64> = HashSet::new();
    for category in datasets.iter().flat_map(|dataset| dataset.categories()) {
        if !names.insert(&category.name) {
            continue;
        }
        let mut id = category.id;
        while !ids.insert(id) {
            id = id.wrapping_add(1);
        }
        let name = category.name.clone();
        all.push(Category { id, name });
    }
    all
}

/// For each of the data set's categories, the index of the category with its name in `categories`, which has all names.
pub(super) fn labels_among(dataset: &DetectionDataset, categories: &[Category]) -> Vec<usize> {
    let names = categories.iter().map(|category| category.name.as_str());
    let label_of: HashMap<&str, usize> = names.zip(0..).collect();
    let own = dataset.categories().iter();
    own.filter_map(|category| label_of.get(category.name.as_str()).copied())
        .collect()
}
