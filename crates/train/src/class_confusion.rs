//! Whether a detector finds objects, but not what they are.

use std::fmt;

use fcos_burn_data::DetectionDataset;

use crate::{
    error::Error,
    evaluation::{CocoFigure, CocoResult, Evaluation, class_agnostic_figures},
};

/// AP below this share of the AP of any class is too low for the boxes that were found.
const LOW_SHARE: f64 = 0.8;

/// Below this AP of any class, no boxes are found either.
const FOUND: f64 = 0.1;

/// The AP of a detector whose classes are wrong more often than its boxes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClassConfusion {
    /// AP, a fraction.
    ap: f64,
    /// AP where every class is taken for the same one.
    any_class: f64,
}

impl ClassConfusion {
    /// That of `results` on `dataset`, whose evaluation is `evaluation`, if there is any.
    ///
    /// # Errors
    ///
    /// As [`class_agnostic_figures`].
    pub(crate) fn find(
        dataset: &DetectionDataset,
        results: &[CocoResult],
        evaluation: &Evaluation,
        nms_iou_threshold: f32,
    ) -> Result<Option<Self>, Error> {
        let figures = class_agnostic_figures(dataset, results, nms_iou_threshold)?;
        let any_class = figures.get(&CocoFigure::AP).copied().flatten();
        let aps = evaluation.figure(CocoFigure::AP).zip(any_class);
        Ok(aps.and_then(|(ap, any_class)| Self::new(ap, any_class)))
    }

    fn new(ap: f64, any_class: f64) -> Option<Self> {
        let confused = any_class >= FOUND && ap < LOW_SHARE * any_class;
        confused.then_some(Self { ap, any_class })
    }
}

impl fmt::Display for ClassConfusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "objects are found, but their classes are often wrong: AP is {:.1}, and {:.1} where \
             all classes count as one. Train without an association loss or with that of the \
             true class's score (ground-truth-class), train longer, or look for classes that are \
             rare or labeled alike",
            100.0 * self.ap,
            100.0 * self.any_class
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_without_classes_are_told_apart_from_no_boxes() {
        // A run that is locked in, a good one, one whose classes are uneven, one that finds nothing.
        for (ap, any_class, confused) in [
            (0.334, 0.52, true),
            (0.52, 0.53, false),
            (0.40, 0.445, false),
            (0.0, 0.05, false),
            (0.0, 0.3, true),
        ] {
            assert_eq!(ClassConfusion::new(ap, any_class).is_some(), confused);
        }
    }
}
