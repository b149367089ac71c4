//! Matching the classes of two data sets by name.

use std::collections::HashMap;

use super::{Category, DetectionDataset};
use crate::list_names;

impl Category {
    /// For each of `categories`, the index of the category in `others` with the same name. Names must match
    /// exactly. If several have the same name, the first is matched with the first, and so on.
    ///
    /// ```
    /// use fcos_burn_data::Category;
    ///
    /// let data = Category::list(["dog", "Cat", "cow"]);
    /// let detector = Category::list(["cat", "cow", "dog"]);
    /// assert_eq!(Category::matches(&data, &detector), [Some(2), None, Some(1)]);
    /// ```
    pub fn matches(categories: &[Self], others: &[Self]) -> Vec<Option<usize>> {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        // In reverse, since places are popped from the end.
        for (place, other) in others.iter().enumerate().rev() {
            places.entry(&other.name).or_default().push(place);
        }
        let place = |category: &Self| places.get_mut(category.name.as_str())?.pop();
        categories.iter().map(place).collect()
    }
}

impl DetectionDataset {
    /// The same images with labels that are indices of `categories`, matched by name (see [`Category::matches`]).
    /// Splits of a data set, or a data set and a trained detector, then agree even if their files number classes
    /// differently.
    ///
    /// Objects of classes that are not in `categories` are excluded, since a detector for these classes cannot find
    /// them. The [`report`](Self::report) counts them by class. A class that is not in `categories` and has no objects
    /// is reported as a remark.
    ///
    /// ```
    /// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
    /// use fcos_burn_data::{Category, DetectionDataset};
    ///
    /// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
    /// let mut reversed = dataset.categories().to_vec();
    /// reversed.reverse();
    /// let name = |dataset: &DetectionDataset| {
    ///     let label = dataset.images()[0].objects[0].label;
    ///     dataset.categories()[label].name.clone()
    /// };
    /// let before = name(&dataset);
    /// let relabeled = dataset.with_categories(&reversed);
    /// assert_eq!(relabeled.categories(), reversed);
    /// assert_eq!(name(&relabeled), before);
    /// # Ok::<(), fcos_burn_data::DataError>(())
    /// ```
    #[must_use]
    pub fn with_categories(mut self, categories: &[Category]) -> Self {
        if self.categories() == categories {
            return self;
        }
        let own = std::mem::replace(&mut self.annotations.categories, categories.to_vec());
        let label_of = Category::matches(&own, categories);
        let mut left_out = vec![0_usize; own.len()];
        for image in &mut self.annotations.images {
            image
                .objects
                .retain_mut(|object| match label_of[object.label] {
                    Some(label) => {
                        object.label = label;
                        true
                    }
                    None => {
                        left_out[object.label] += 1;
                        false
                    }
                });
        }
        let report = &mut self.annotations.report;
        for ((category, label), count) in own.iter().zip(label_of).zip(left_out) {
            let name = &category.name;
            match (label, count) {
                (Some(_), _) => {}
                (None, 0) => report.remark(format!(
                    "class '{name}' cannot be detected: the detector does not have this class"
                )),
                (None, count) => report.note(format!(
                    "{count} objects of class '{name}' excluded: the detector does not have this class"
            )),
            }
        }
        self
    }

    /// The same images for a detector of the classes in `known`, matched by name (see [`Category::matches`]). Unlike
    /// [`with_categories`](Self::with_categories), this keeps the ids and the order of the classes that both have, so
    /// that results refer to the annotation files of this data set.
    ///
    /// Objects of other classes are excluded, since the detector cannot find them. The [`report`](Self::report) counts
    /// them by class. Classes in `known` without objects in this data set are reported as a remark.
    ///
    /// ```
    /// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
    /// use fcos_burn_data::{Category, DetectionDataset};
    ///
    /// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
    /// let known = dataset.with_known_classes(&Category::list(["dog", "circle"]));
    /// assert_eq!(known.categories().len(), 1);
    /// assert_eq!(known.categories()[0].name, "circle");
    /// assert!(known.report().remarks().contains(&"no objects of class dog".to_owned()));
    /// # Ok::<(), fcos_burn_data::DataError>(())
    /// ```
    #[must_use]
    pub fn with_known_classes(self, known: &[Category]) -> Self {
        let own = self.categories();
        let shared: Vec<Category> = (own.iter().zip(Category::matches(own, known)))
            .filter_map(|(category, place)| place.map(|_| category.clone()))
            .collect();
        let mut dataset = self.with_categories(&shared);
        let without = dataset.classes_without_objects();
        let absent: Vec<&str> = (known.iter().map(|category| category.name.as_str()))
            .zip(Category::matches(known, &shared))
            .filter(|(name, place)| place.is_none() || without.contains(name))
            .map(|(name, _)| name)
            .collect();
        if !absent.is_empty() {
            let remark = format!("no objects of class {}", list_names(&absent));
            dataset.annotations.report.remark(remark);
        }
        dataset
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::RgbImage;

    use super::*;
    use crate::{BoundingBox, DataError, ImageRecord, ImageSource, Object};

    #[derive(Debug)]
    struct Blank;

    impl ImageSource for Blank {
        fn image(&self, _index: usize) -> Result<RgbImage, DataError> {
            Ok(RgbImage::new(32, 32))
        }
    }

    /// A data set of one image with an object of each of these labels.
    fn dataset(categories: Vec<Category>, labels: &[usize]) -> DetectionDataset {
        let bbox = BoundingBox::new(1.0, 1.0, 9.0, 9.0);
        let objects = (1..)
            .zip(labels)
            .map(|(id, &label)| Object::new(id, bbox, label));
        let objects = objects.collect();
        let images = vec![ImageRecord::new(1, "blank", 32, 32).with_objects(objects)];
        DetectionDataset::new("mine", categories, images, Blank).unwrap()
    }

    fn labels(dataset: &DetectionDataset) -> Vec<usize> {
        let objects = dataset.images()[0].objects.iter();
        objects.map(|object| object.label).collect()
    }

    #[test]
    fn categories_with_equal_names_are_matched_in_order() {
        let matches = |categories: &[&str], others: &[&str]| {
            let list = |names: &[&str]| Category::list(names.iter().copied());
            Category::matches(&list(categories), &list(others))
        };
        assert_eq!(
            matches(&["a", "a", "a"], &["a", "b", "a"]),
            [Some(0), Some(2), None]
        );
        assert_eq!(
            matches(&["a", "A", " a", ""], &["A"]),
            [None, Some(0), None, None]
        );
        assert_eq!(matches(&[], &["a"]), []);
    }

    #[test]
    fn labels_follow_names() {
        let data = || dataset(Category::list(["cat", "dog", "cow"]), &[0, 1, 2, 2]);
        let relabeled = data().with_categories(&Category::list(["cow", "emu", "cat"]));
        assert_eq!(labels(&relabeled), [2, 0, 0]);
        assert_eq!(
            relabeled.report().notes(),
            ["1 objects of class 'dog' excluded: the detector does not have this class"]
        );
    }

    #[test]
    fn known_classes_keep_their_ids_and_order() {
        let mut categories = Category::list(["cat", "dog", "cow", "ant"]);
        categories[2].id = 77;
        let known = Category::list(["emu", "ant", "cow", "cat"]);
        let dataset = dataset(categories, &[0, 1, 2, 2]).with_known_classes(&known);
        let ids = dataset.categories().iter().map(|category| category.id);
        assert_eq!(ids.collect::<Vec<_>>(), [1, 77, 4]);
        assert_eq!(labels(&dataset), [0, 1, 1]);
        assert_eq!(dataset.report().notes().len(), 1);
        assert_eq!(dataset.report().remarks(), ["no objects of class emu, ant"]);
        let remarks = self::dataset(Category::list(["cat", "owl"]), &[0])
            .with_known_classes(&Category::list(["cat"]))
            .report()
            .remarks()
            .to_vec();
        assert_eq!(
            remarks,
            ["class 'owl' cannot be detected: the detector does not have this class"]
        );
    }
}
