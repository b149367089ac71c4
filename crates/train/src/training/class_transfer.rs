//! Which classes keep the classifier of the initial weights.

use std::fmt;

use fcos_burn_data::{Category, are_nearly_equal, list_names};

/// The classes of the data and those of the weights, matched by name.
pub(super) struct ClassTransfer {
    /// For each class of the data, the row of the weights' classifier, if they have the class.
    pub rows: Vec<Option<usize>>,
    kept: Vec<String>,
    new: Vec<String>,
    dropped: Vec<String>,
}

impl ClassTransfer {
    pub(super) fn new(data: &[Category], weights: &[Category]) -> Self {
        let rows = Category::matches(data, weights);
        let names = |has_row: bool| -> Vec<String> {
            let classes = data.iter().zip(&rows);
            let classes = classes.filter(|(_, row)| row.is_some() == has_row);
            classes.map(|(class, _)| class.name.clone()).collect()
        };
        let used = Category::matches(weights, data);
        let dropped = weights
            .iter()
            .zip(used)
            .filter(|(_, place)| place.is_none());
        Self {
            kept: names(true),
            new: names(false),
            dropped: dropped.map(|(class, _)| class.name.clone()).collect(),
            rows,
        }
    }

    /// Logs which classes keep their classifier, and names that are nearly the same.
    pub(super) fn log(&self) {
        for class in &self.new {
            let same = |other: &&String| are_nearly_equal(other, class);
            if let Some(other) = self.dropped.iter().find(same) {
                log::warn!(
                    "class '{class}' starts with a new classifier: the weights have '{other}', but names must match \
                     exactly"
                );
            }
        }
        match self.kept.is_empty() {
            true => log::warn!("none of the classes is in the weights: {self}"),
            false => log::info!("{self}"),
        }
    }
}

impl fmt::Display for ClassTransfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} classes keep the classifier of the weights ({}); new: {}; unused: {}",
            self.kept.len(),
            self.rows.len(),
            list_names(&self.kept),
            list_names(&self.new),
            list_names(&self.dropped)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_those_of_the_same_names() {
        let transfer = |data: &[&str], weights: &[&str]| {
            let list = |names: &[&str]| Category::list(names.iter().copied());
            ClassTransfer::new(&list(data), &list(weights))
        };
        let exchanged = transfer(&["dog", "cat"], &["cat", "dog"]);
        assert_eq!(exchanged.rows, [Some(1), Some(0)]);
        let some = transfer(&["emu", "cat", "Dog"], &["cat", "dog", "owl"]);
        assert_eq!(some.rows, [None, Some(0), None]);
        assert_eq!(
            some.to_string(),
            "1 of 3 classes keep the classifier of the weights (cat); new: emu, Dog; unused: dog, owl"
        );
        // Two classes of one name keep their order; a third one is new.
        let twins = transfer(&["cat", "dog", "cat", "cat"], &["cat", "cat"]);
        assert_eq!(twins.rows, [Some(0), None, Some(1), None]);
    }
}
