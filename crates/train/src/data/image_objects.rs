//! The objects of an image, those to learn and those to ignore.

use std::fmt;

use fcos_burn_boxes::LabeledBox;
use fcos_burn_model::{
    assignment::{Assignment, AssignmentError, BACKGROUND},
    locations::Locations,
};

/// The objects of an image, boxes in input pixels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageObjects {
    /// The objects that the detector learns to find.
    pub learned: Vec<LabeledBox>,
    /// Objects whose locations are ignored where they are not those of a learned one.
    pub ignored: Vec<LabeledBox>,
}

impl From<Vec<LabeledBox>> for ImageObjects {
    /// All objects are learned.
    fn from(learned: Vec<LabeledBox>) -> Self {
        Self {
            learned,
            ignored: Vec::new(),
        }
    }
}

impl ImageObjects {
    /// Assigns both kinds of objects by `assign`, which follows the `rule`.
    pub(crate) fn assign(
        &self,
        locations: &Locations,
        rule: &dyn fmt::Debug,
        assign: impl Fn(&[LabeledBox]) -> Assignment,
    ) -> Result<Assignment, AssignmentError> {
        let checked = |objects: &[LabeledBox]| {
            let assignment = assign(objects);
            assignment.check(rule, objects, locations.len())?;
            Ok(assignment)
        };
        let mut assignment = checked(&self.learned)?;
        if !self.ignored.is_empty() {
            let others = checked(&self.ignored)?.labels;
            for (location, other) in others.into_iter().enumerate() {
                if other >= 0 && assignment.labels[location] == BACKGROUND {
                    assignment.ignore(location);
                }
            }
        }
        Ok(assignment)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_model::{
        assignment::{AssignmentConfig, AssignmentRule},
        locations::LocationRule,
    };

    use super::*;

    #[test]
    fn locations_of_ignored_objects_are_ignored_unless_another_object_has_them() {
        let locations = Locations::new([16, 32], &[8], LocationRule::HalfStride);
        let object = |bbox, label| LabeledBox { bbox, label };
        let rule = AssignmentConfig::new(Vec::new());
        let assigned = |objects: &ImageObjects| {
            let assign = |objects: &[LabeledBox]| rule.assign(objects, &locations);
            objects.assign(&locations, &rule, assign).unwrap()
        };
        // Both have the upper location of the second column; the smaller object is ignored.
        let mut objects = ImageObjects::from(vec![object([0.0, 0.0, 14.0, 14.0], 2)]);
        let learned = assigned(&objects);
        assert_eq!(learned.labels, [2, 2, -1, -1, 2, 2, -1, -1]);
        objects.ignored = vec![object([9.0, 0.0, 22.0, 10.0], 1)];
        let both = assigned(&objects);
        assert_eq!(both.labels, [2, 2, -2, -1, 2, 2, -1, -1]);
        assert_eq!(both.boxes, learned.boxes);
    }
}
