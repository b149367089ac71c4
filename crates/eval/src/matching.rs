//! Which detection finds which object at an IoU threshold, and what is wrong with the others.

use std::collections::BTreeSet;

use fcos_burn_boxes::{BoundingBox, Detection};
use fcos_burn_data::{DetectionDataset, Object};
use hotcoco::primitives::{
    greedy::{GtMasks, coco_match_floor, greedy_match_masked},
    sim::bbox_iou_flat,
};
use rayon::prelude::*;

use crate::{EvaluationError, coco::unique_names, results::category};

/// Up to this IoU with every object, a detection is on background (TIDE).
pub const BACKGROUND_IOU: f64 = 0.1;

/// The detections of a data set, matched to its objects at one IoU threshold.
///
/// The rule is that of COCO's AP. The detections of a class in an image are taken by descending
/// score. Each finds the object of its class with the largest IoU that no other detection has
/// found, if that IoU reaches the threshold. Those that find only a crowd are ignored. Unlike in
/// COCO's AP, the number of detections in an image is not limited.
///
/// A detection never takes an object from one with a higher score, so that the matches at a score
/// threshold are those of the detections that reach it.
///
/// ```
/// use fcos_burn_boxes::Detection;
/// use fcos_burn_data::{DetectionDataset, shapes::{ShapesConfig, ShapesSplit}};
/// use fcos_burn_eval::matching::{Matching, Outcome};
///
/// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
/// let object = &dataset.images()[0].objects[0];
/// let found = Detection { bbox: object.bbox.to_xyxy(), label: object.label, score: 0.9 };
/// let again = Detection { score: 0.8, ..found };
///
/// let matching = Matching::new(&dataset, &[(0, vec![found, again])], 0.5)?;
/// let outcomes = &matching.images()[0].outcomes;
/// assert_eq!(outcomes[0], Outcome::Correct { object: 0 });
/// assert_eq!(outcomes[1], Outcome::Duplicate { object: 0 });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Matching {
    iou_threshold: f64,
    classes: Vec<String>,
    images: Vec<ImageMatches>,
}

/// The matches in an image.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageMatches {
    /// The detections, in the given order.
    pub detections: Vec<Detection>,
    /// What became of each detection.
    pub outcomes: Vec<Outcome>,
    /// The objects, as in the data set.
    pub objects: Vec<Object>,
    /// The detection that found each object.
    pub found_by: Vec<Option<usize>>,
}

/// What became of a detection: correct, ignored, or an error of one of the kinds of TIDE. `object` is the index of
/// the object concerned in the image.
///
/// The first kind whose condition holds applies, in the order of [tidecv](https://github.com/dbolya/tide):
/// localization, classification, duplicate, background, both. Crowds do not count as objects here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It finds an object.
    Correct {
        /// The object.
        object: usize,
    },
    /// It finds a crowd, and is neither correct nor wrong.
    Ignored,
    /// Badly placed: the largest IoU with an object of its class is at least [`BACKGROUND_IOU`],
    /// but below the threshold (or equal to it, if that object is found).
    Localization {
        /// The object of its class with the largest IoU.
        object: usize,
    },
    /// Wrong class: the IoU with an object of another class reaches the threshold.
    Classification {
        /// The object of another class with the largest IoU.
        object: usize,
    },
    /// The IoU with an object of its class that a higher score has found reaches the threshold.
    Duplicate {
        /// That object; if there are several, the one with the largest IoU.
        object: usize,
    },
    /// Its IoU with every object is at most [`BACKGROUND_IOU`].
    Background,
    /// Wrong class and badly placed: none of the other kinds.
    Both,
}

impl Outcome {
    /// Whether the detection is wrong: neither correct nor ignored.
    pub fn is_error(self) -> bool {
        !matches!(self, Self::Correct { .. } | Self::Ignored)
    }

    pub(crate) fn is_ignored(self) -> bool {
        self == Self::Ignored
    }

    /// The object concerned.
    pub fn object(self) -> Option<usize> {
        match self {
            Self::Correct { object }
            | Self::Localization { object }
            | Self::Classification { object }
            | Self::Duplicate { object } => Some(object),
            Self::Ignored | Self::Background | Self::Both => None,
        }
    }

    /// The object that the detection would find if its box or its class were corrected.
    pub(crate) fn within_reach(self) -> Option<usize> {
        match self {
            Self::Localization { object } | Self::Classification { object } => Some(object),
            _ => None,
        }
    }
}

impl Matching {
    /// Matches detections. `detections` pairs the index of an image in `dataset` with the detections in it, whose
    /// boxes are in pixels of the original image.
    ///
    /// # Errors
    ///
    /// Fails if an image index or a label is out of range, a score is NaN, or the IoU threshold is not above
    /// [`BACKGROUND_IOU`] and at most 1.
    pub fn new(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
        iou_threshold: f64,
    ) -> Result<Self, EvaluationError> {
        if !(iou_threshold > BACKGROUND_IOU && iou_threshold <= 1.0) {
            return Err(EvaluationError::IouThreshold { iou_threshold });
        }
        let mut by_image = vec![Vec::new(); dataset.len()];
        for (image, found) in detections {
            let record = dataset.record(*image)?;
            for detection in found {
                category(dataset, detection.label)?;
                if detection.score.is_nan() {
                    return Err(EvaluationError::NotANumber {
                        image_id: record.id,
                    });
                }
            }
            by_image[*image].extend_from_slice(found);
        }
        let images = dataset.images().par_iter().zip(by_image);
        let images = images
            .map(|(record, found)| ImageMatches::new(&record.objects, found, iou_threshold))
            .collect();
        let categories = dataset.categories().iter();
        Ok(Self {
            iou_threshold,
            classes: unique_names(categories.map(|category| (category.id, &*category.name))),
            images,
        })
    }

    /// The IoU from which a detection finds an object.
    pub fn iou_threshold(&self) -> f64 {
        self.iou_threshold
    }

    /// The names of the classes, in the order of the labels. If several classes share a name, the id is appended:
    /// `cup (3)`.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// The images of the data set, in order.
    pub fn images(&self) -> &[ImageMatches] {
        &self.images
    }

    /// The labels that objects or detections have, in order. Ignored ones do not count.
    pub(crate) fn occurring(&self) -> BTreeSet<usize> {
        let labels = self.images.iter().flat_map(|image| {
            let objects = image.objects.iter().filter(|object| !object.iscrowd);
            let objects = objects.map(|object| object.label);
            let found = image.detections.iter().zip(&image.outcomes);
            let found = found.filter(|(_, outcome)| **outcome != Outcome::Ignored);
            objects.chain(found.map(|(detection, _)| detection.label))
        });
        labels.collect()
    }
}

impl ImageMatches {
    fn new(objects: &[Object], detections: Vec<Detection>, iou_threshold: f64) -> Self {
        let ious = Ious::new(&detections, objects);
        let mut found_by = vec![None; objects.len()];
        let mut outcomes = vec![None; detections.len()];
        let labels: BTreeSet<usize> = detections.iter().map(|found| found.label).collect();
        for label in labels {
            let mut rows: Vec<usize> = (0..detections.len())
                .filter(|&row| detections[row].label == label)
                .collect();
            rows.sort_by(|&a, &b| detections[b].score.total_cmp(&detections[a].score));
            let of_class = (0..objects.len()).filter(|&column| objects[column].label == label);
            let (crowds, mut columns): (Vec<usize>, Vec<usize>) =
                of_class.partition(|&column| objects[column].iscrowd);
            let ordinary = columns.len();
            columns.extend(crowds);
            let crowd: Vec<bool> = columns.iter().map(|&c| objects[c].iscrowd).collect();
            let of_row = |&row: &usize| columns.iter().map(move |&column| (row, column));
            let pairs = rows.iter().flat_map(of_row);
            let matches = greedy_match_masked(
                &pairs.map(|pair| ious.at(pair)).collect::<Vec<f64>>(),
                rows.len(),
                columns.len(),
                ordinary,
                GtMasks {
                    rematchable: Some(&crowd),
                    phase2_eligible: None,
                },
                &[coco_match_floor(iou_threshold)],
            );
            for (&row, found) in rows.iter().zip(matches.dt_gt.row(0)) {
                outcomes[row] = found.map(|place| match crowd[place] {
                    true => Outcome::Ignored,
                    false => {
                        found_by[columns[place]] = Some(row);
                        Outcome::Correct {
                            object: columns[place],
                        }
                    }
                });
            }
        }
        let matched = Self {
            detections,
            outcomes: Vec::new(),
            objects: objects.to_vec(),
            found_by,
        };
        let outcomes = outcomes.into_iter().enumerate();
        let outcomes = outcomes
            .map(|(row, outcome)| {
                outcome.unwrap_or_else(|| matched.error(row, &ious, iou_threshold))
            })
            .collect();
        Self {
            outcomes,
            ..matched
        }
    }

    /// What is wrong with a detection that finds nothing.
    fn error(&self, row: usize, ious: &Ious, iou_threshold: f64) -> Outcome {
        let label = self.detections[row].label;
        // Among equal IoUs, the first object counts.
        let best = |keep: &dyn Fn(usize) -> bool| {
            let objects = (0..self.objects.len()).filter(|&o| !self.objects[o].iscrowd && keep(o));
            let pairs = objects.map(|object| (object, ious.at((row, object))));
            pairs.reduce(|best, next| if next.1 > best.1 { next } else { best })
        };
        let of_class = best(&|object| self.objects[object].label == label);
        let of_others = best(&|object| self.objects[object].label != label);
        let found =
            best(&|object| self.objects[object].label == label && self.found_by[object].is_some());
        match (of_class, of_others, found) {
            (Some((object, iou)), _, _) if (BACKGROUND_IOU..=iou_threshold).contains(&iou) => {
                Outcome::Localization { object }
            }
            (_, Some((object, iou)), _) if iou >= iou_threshold => {
                Outcome::Classification { object }
            }
            (_, _, Some((object, iou))) if iou >= iou_threshold => Outcome::Duplicate { object },
            (of_class, of_others, _) => {
                let mut nearest = of_class.into_iter().chain(of_others);
                match nearest.all(|(_, iou)| iou <= BACKGROUND_IOU) {
                    true => Outcome::Background,
                    false => Outcome::Both,
                }
            }
        }
    }

    /// Whether an object is found by a detection with at least this score.
    pub(crate) fn is_found(&self, object: usize, score_threshold: f32) -> bool {
        self.found_by[object].is_some_and(|row| self.detections[row].score >= score_threshold)
    }

    /// The indices of the objects that no detection with at least this score finds, without crowds.
    pub fn not_found(&self, score_threshold: f32) -> impl Iterator<Item = usize> {
        (0..self.objects.len()).filter(move |&object| {
            !self.objects[object].iscrowd && !self.is_found(object, score_threshold)
        })
    }

    /// The indices of the wrong detections with at least this score.
    pub fn wrong(&self, score_threshold: f32) -> impl Iterator<Item = usize> {
        (0..self.detections.len()).filter(move |&row| {
            self.outcomes[row].is_error() && self.detections[row].score >= score_threshold
        })
    }

    /// The IoUs of the detections with the objects.
    pub(crate) fn ious(&self) -> Ious {
        Ious::new(&self.detections, &self.objects)
    }
}

/// The IoU of each detection with each object of an image. With a crowd, it is the part of the detection's area that
/// lies in the crowd, as in COCO's evaluation.
pub(crate) struct Ious {
    values: Vec<f64>,
    objects: usize,
}

impl Ious {
    fn new(detections: &[Detection], objects: &[Object]) -> Self {
        let found = detections.iter();
        let found: Vec<_> = found
            .map(|found| BoundingBox::from_xyxy(found.bbox).to_xywh())
            .collect();
        let boxes: Vec<_> = objects.iter().map(|object| object.bbox.to_xywh()).collect();
        let crowds: Vec<bool> = objects.iter().map(|object| object.iscrowd).collect();
        Self {
            values: bbox_iou_flat(&found, &boxes, &crowds),
            objects: objects.len(),
        }
    }

    /// The IoU of a detection and an object.
    pub(crate) fn at(&self, (detection, object): (usize, usize)) -> f64 {
        self.values[detection * self.objects + object]
    }
}
