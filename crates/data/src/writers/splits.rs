//! What is written of each split.

use std::borrow::Cow;
use std::collections::HashSet;

use crate::{Category, DetectionDataset, ImageRecord};

/// A split as it is written: records with new file names, whose images are in place.
#[derive(Debug)]
pub(super) struct WrittenSplit {
    pub name: String,
    pub images: Vec<ImageRecord>,
}

/// The categories of the first data set, then those that the others add by name, with ids that are not taken.
pub(super) fn all_categories(datasets: &[&DetectionDataset]) -> Vec<Category> {
    let mut all: Vec<Category> = Vec::new();
    for dataset in datasets {
        if all.is_empty() {
            all = dataset.categories().to_vec();
            continue;
        }
        let mut names: HashSet<String> = all.iter().map(|category| category.name.clone()).collect();
        let mut ids: HashSet<u64> = all.iter().map(|category| category.id).collect();
        for category in dataset.categories() {
            if !names.insert(category.name.clone()) {
                continue;
            }
            let mut id = category.id;
            while !ids.insert(id) {
                id = id.wrapping_add(1);
            }
            let name = category.name.clone();
            all.push(Category { id, name });
        }
    }
    all
}

/// The data set with labels that are indices of `categories`, which has all of its classes.
pub(super) fn relabeled<'a>(
    dataset: &'a DetectionDataset,
    categories: &[Category],
) -> Cow<'a, DetectionDataset> {
    match dataset.categories() == categories {
        true => Cow::Borrowed(dataset),
        false => Cow::Owned(dataset.clone().with_categories(categories)),
    }
}
