//! Classes.

use std::collections::HashMap;

use serde::Serialize;

use crate::splits::{Purpose, Split, Splits};

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
    /// The number of images of each split that have such objects.
    pub images: Vec<usize>,
}

/// Classes that are hard to learn in training or to measure in validation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ClassConcerns {
    /// In at most 10 training images, or with less than a tenth of the average number of objects per class.
    pub rare: Vec<String>,
    /// With objects in other splits, but no training objects.
    pub not_trained: Vec<String>,
    /// With training objects, but no validation objects.
    pub not_validated: Vec<String>,
    /// Without objects.
    pub unused: Vec<String>,
}

/// The classes of all splits by name.
pub(crate) struct ClassIndex {
    /// The names, in the order of the training split.
    pub names: Vec<String>,
    /// For each split, the positions of its classes in `names`.
    pub positions: Vec<Vec<usize>>,
}

impl ClassIndex {
    pub fn of(splits: &Splits) -> Self {
        let ordered = splits.trained_on().into_iter().chain(splits.splits());
        let mut names: Vec<String> = Vec::new();
        let mut position_of: HashMap<&str, usize> = HashMap::new();
        for category in ordered.flat_map(|split| split.dataset.categories()) {
            position_of.entry(&category.name).or_insert_with(|| {
                names.push(category.name.clone());
                names.len() - 1
            });
        }
        let positions = |split: &Split| {
            let categories = split.dataset.categories().iter();
            let position = |name: &str| position_of.get(name).copied().unwrap_or_default();
            categories
                .map(|category| position(&category.name))
                .collect()
        };
        let positions = splits.splits().iter().map(positions).collect();
        Self { names, positions }
    }

    /// Counts the objects of each class.
    pub fn count(&self, splits: &Splits) -> Vec<ClassCount> {
        let counts = |name: &String| ClassCount {
            name: name.clone(),
            objects: vec![0; splits.splits().len()],
            images: vec![0; splits.splits().len()],
        };
        let mut classes: Vec<ClassCount> = self.names.iter().map(counts).collect();
        for (split, of) in splits.splits().iter().enumerate() {
            // The last image in which a class was seen.
            let mut seen = vec![None; classes.len()];
            for (image, record) in of.dataset.images().iter().enumerate() {
                for object in record.objects.iter().filter(|object| !object.iscrowd) {
                    let position = self.positions[split][object.label];
                    classes[position].objects[split] += 1;
                    if seen[position].replace(image) != Some(image) {
                        classes[position].images[split] += 1;
                    }
                }
            }
        }
        classes
    }
}

impl ClassConcerns {
    pub(crate) fn of(classes: &[ClassCount], purposes: &[Purpose]) -> Self {
        // The sum over the splits of that purpose; `None` if there are none.
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
