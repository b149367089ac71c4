//! The classes of one data set in the order of another.

use std::collections::{BTreeMap, HashMap};

use super::{Category, DetectionDataset};

impl DetectionDataset {
    /// The same images with labels that are indices of `categories`, matched by name. This makes the splits of a data set,
    /// or the data of a trained detector, agree even if their files number classes differently.
    ///
    /// Objects of a class that is not among `categories` are left out, since a detector of these classes cannot find them,
    /// and the [`report`](Self::report) counts them by class. Classes without an object in this data set are a remark.
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
        let names = categories.iter().map(|category| category.name.as_str());
        let label_of: HashMap<&str, usize> = names.zip(0..).collect();
        let own = std::mem::replace(&mut self.annotations.categories, categories.to_vec());
        let label_of: Vec<Option<usize>> = (own.iter())
            .map(|category| label_of.get(category.name.as_str()).copied())
            .collect();
        // By label, so that messages are in the order of the classes.
        let mut left_out: BTreeMap<usize, usize> = BTreeMap::new();
        for image in &mut self.annotations.images {
            image
                .objects
                .retain_mut(|object| match label_of[object.label] {
                    Some(label) => {
                        object.label = label;
                        true
                    }
                    None => {
                        *left_out.entry(object.label).or_default() += 1;
                        false
                    }
                });
        }
        for (label, count) in left_out {
            let name = &own[label].name;
            self.annotations.report.note(format!(
                "{count} objects of class '{name}' left out: the detector does not have this class"
            ));
        }
        self
    }
}
