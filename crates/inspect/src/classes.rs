//! Classes.

use std::collections::BTreeMap;

use fcos_burn_data::{Category, ImageRecord};
use serde::Serialize;

use crate::{
    picture::Picture,
    splits::{Purpose, Split, Splits},
};

/// A class in at most this many training images is rare, as in LVIS (Gupta et al., 2019).
const RARE_IMAGES: usize = 10;

/// The objects of a class, by split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClassCount {
    /// The name.
    pub name: String,
    /// The number of objects in each split.
    pub objects: Vec<usize>,
    /// The number of images in each split with objects of this class.
    pub images: Vec<usize>,
    /// The number of objects in all splits, each image file counted once.
    pub total_objects: usize,
    /// The number of images in all splits with objects of this class, each image file counted once.
    pub total_images: usize,
}

/// Classes that are hard to learn or to evaluate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClassConcerns {
    /// Classes in at most 10 training images, or with less than a tenth of the average number of objects per class.
    pub rare: Vec<String>,
    /// Classes with objects in other splits, but without training objects.
    pub not_trained: Vec<String>,
    /// Classes with training objects, but without validation objects.
    pub not_validated: Vec<String>,
    /// Classes without objects.
    pub unused: Vec<String>,
}

/// The classes of all splits, matched by name as in [`Category::matches`]. Two classes of a split with the same name
/// stay separate.
pub(crate) struct ClassIndex {
    /// The names, in the order of the training split.
    pub names: Vec<String>,
    /// For each split, the positions of its classes in `names`.
    pub positions: Vec<Vec<usize>>,
}

impl ClassIndex {
    pub fn of(splits: &Splits) -> Self {
        let trained_on = splits.trained_on().map(|split| &splits.splits()[split]);
        let splits = splits.splits().iter();
        let trained_first = trained_on.into_iter().chain(splits.clone());
        let mut classes: Vec<Category> = Vec::new();
        for split in trained_first {
            let own = split.dataset.categories();
            let places = Category::matches(own, &classes);
            let new = own.iter().zip(places).filter(|(_, place)| place.is_none());
            classes.extend(new.map(|(category, _)| category.clone()));
        }
        let positions = |split: &Split| {
            let places = Category::matches(split.dataset.categories(), &classes);
            places.into_iter().flatten().collect()
        };
        Self {
            positions: splits.map(positions).collect(),
            names: classes.into_iter().map(|class| class.name).collect(),
        }
    }

    /// Counts the objects of each class. Totals are over the `different` images.
    pub fn count(&self, splits: &Splits, different: &[(Picture, &ImageRecord)]) -> Vec<ClassCount> {
        let counts = |name: &String| ClassCount {
            name: name.clone(),
            objects: vec![0; splits.splits().len()],
            images: vec![0; splits.splits().len()],
            total_objects: 0,
            total_images: 0,
        };
        let mut classes: Vec<ClassCount> = self.names.iter().map(counts).collect();
        for (Picture { split, .. }, record) in splits.pictures() {
            for (class, objects) in self.counts_in(split, record) {
                classes[class].objects[split] += objects;
                classes[class].images[split] += 1;
            }
        }
        for (picture, record) in different {
            for (class, objects) in self.counts_in(picture.split, record) {
                classes[class].total_objects += objects;
                classes[class].total_images += 1;
            }
        }
        classes
    }

    /// The classes in an image of `split`, with the number of objects of each.
    fn counts_in(&self, split: usize, record: &ImageRecord) -> BTreeMap<usize, usize> {
        let mut counts = BTreeMap::new();
        for object in record.ordinary_objects() {
            *counts
                .entry(self.positions[split][object.label])
                .or_default() += 1;
        }
        counts
    }
}

impl ClassConcerns {
    pub(crate) fn of(classes: &[ClassCount], purposes: &[Purpose]) -> Self {
        // The sum over the splits with this purpose; `None` if there are none.
        let sum = |counts: &[usize], purpose| -> Option<usize> {
            let counted = counts.iter().zip(purposes);
            let counted = counted.filter(|(_, of)| **of == purpose);
            counted.map(|(count, _)| *count).reduce(|a, b| a + b)
        };
        let trained = |class: &ClassCount| sum(&class.objects, Purpose::Training);
        let average =
            classes.iter().filter_map(trained).sum::<usize>() as f64 / classes.len() as f64;
        let mut concerns = Self::default();
        for class in classes {
            let name = || class.name.clone();
            if class.objects.iter().all(|count| *count == 0) {
                concerns.unused.push(name());
                continue;
            }
            let images = sum(&class.images, Purpose::Training);
            match trained(class).zip(images) {
                Some((0, _)) => {
                    concerns.not_trained.push(name());
                    continue;
                }
                Some((objects, images))
                    if images <= RARE_IMAGES || (objects as f64) < average / 10.0 =>
                {
                    concerns.rare.push(name());
                }
                _ => {}
            }
            if sum(&class.objects, Purpose::Validation) == Some(0) {
                concerns.not_validated.push(name());
            }
        }
        concerns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concerns_follow_the_counts() {
        let class = |name: &str, objects: [usize; 2], images: [usize; 2]| ClassCount {
            name: name.to_owned(),
            objects: objects.to_vec(),
            images: images.to_vec(),
            total_objects: objects.iter().sum(),
            total_images: images.iter().sum(),
        };
        let classes = [
            class("common", [900, 9], [300, 9]),
            class("few images", [100, 9], [10, 9]),
            class("few objects", [20, 0], [20, 0]),
            class("enough", [21, 1], [11, 1]),
            class("only validation", [0, 3], [0, 3]),
            class("none", [0, 0], [0, 0]),
        ];
        // 1041 objects in 6 classes: a tenth of the average is 17.35.
        let concerns = ClassConcerns::of(&classes, &[Purpose::Training, Purpose::Validation]);
        assert_eq!(concerns.rare, ["few images"]);
        assert_eq!(concerns.not_validated, ["few objects"]);
        assert_eq!(concerns.not_trained, ["only validation"]);
        assert_eq!(concerns.unused, ["none"]);
        let mut many = classes.clone();
        many[0].objects[0] = 2000;
        let concerns = ClassConcerns::of(&many, &[Purpose::Training, Purpose::Validation]);
        assert_eq!(concerns.rare, ["few images", "few objects", "enough"]);
        let concerns = ClassConcerns::of(&classes, &[Purpose::Other, Purpose::Other]);
        assert_eq!(concerns.unused, ["none"]);
        assert!(concerns.rare.is_empty() && concerns.not_trained.is_empty());
    }
}
