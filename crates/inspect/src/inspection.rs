//! All statistics of a data set.

use fcos_burn_data::ImageRecord;
use serde::Serialize;

use crate::{
    InspectionOptions,
    boxes::{BoxSizes, ImageSizes},
    classes::{ClassConcerns, ClassCount, ClassIndex},
    crowding::Crowding,
    duplicates,
    findings::{self, FindingCount},
    levels::Levels,
    overlap::{self, Overlap},
    picture::Picture,
    sheets::{self, Sheet},
    splits::{Purpose, Splits, UnreadSplit},
    suggestion::SuggestedSize,
};

/// The counts of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SplitCounts {
    /// The name.
    pub name: String,
    /// Its purpose.
    pub purpose: Purpose,
    /// Images.
    pub images: usize,
    /// Images without an object.
    pub images_without_objects: usize,
    /// Objects, not counting crowds.
    pub objects: usize,
    /// Crowds (COCO) and difficult objects (VOC), which are excluded from training.
    pub crowds: usize,
    /// The largest number of objects in an image.
    pub most_objects: usize,
    /// Images that duplicate an earlier image of this split.
    pub repeated: usize,
    /// Images whose file is the file of a training image or has the same content. 0 for the training split, and for a
    /// split that includes it, such as `trainval`, unless that is the validation split.
    pub in_training: usize,
    /// The names of other splits whose image files are all in this split.
    pub includes: Vec<String>,
    /// Images that are in none of the [included](Self::includes) splits.
    pub own_images: usize,
}

/// The statistics of a data set.
///
/// Sizes, shapes and crowding are computed over all splits together; an image file in several splits counts once.
/// Levels and the suggested size are computed for the training split, or for the first split if there is none. Crowds
/// are excluded from training and only counted in [`SplitCounts::crowds`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The name of the data set.
    pub name: String,
    /// The layout on disk; `None` if the data set was not read from a folder.
    pub layout: Option<String>,
    /// Why this layout was recognized.
    pub evidence: String,
    /// The splits.
    pub splits: Vec<SplitCounts>,
    /// The splits that could not be read.
    pub unread: Vec<UnreadSplit>,
    /// The number of images in all splits, each image file counted once.
    pub images: usize,
    /// The number of objects in all splits, each image file counted once.
    pub objects: usize,
    /// The classes of all splits.
    pub classes: Vec<ClassCount>,
    /// Classes that need attention.
    pub concerns: ClassConcerns,
    /// Image sizes.
    pub image_sizes: ImageSizes,
    /// Sizes and shapes of boxes.
    pub box_sizes: BoxSizes,
    /// Objects per image, and overlaps.
    pub crowding: Crowding,
    /// The index of the split that levels and the suggested size are computed for; `None` without splits.
    pub sized: Option<usize>,
    /// The pyramid levels of the objects in that split.
    pub levels: Levels,
    /// The suggested training size; `None` if that split has no objects.
    pub suggestion: Option<SuggestedSize>,
    /// Groups of images in different files with the same content.
    pub duplicates: Vec<Vec<Picture>>,
    /// What was dropped or repaired.
    pub findings: Vec<FindingCount>,
    /// Problems of the splits as a whole.
    pub notes: Vec<String>,
    /// Information that is not a problem.
    pub remarks: Vec<String>,
    /// Images to show on the page.
    pub sheets: Vec<Sheet>,
}

impl Inspection {
    /// Computes the statistics of these splits. To find duplicates, reads image files of equal length. Decodes no
    /// images.
    pub fn of(splits: &Splits, options: &InspectionOptions) -> Self {
        let overlaps = Overlap::of_all(splits);
        let different = overlap::different_images(splits, &overlaps);
        let images: Vec<&ImageRecord> = different.iter().map(|(_, record)| *record).collect();
        let sized = splits.trained_on();
        let trained_on = sized.map(|split| splits.splits()[split].dataset.images());
        let trained_on = trained_on.unwrap_or_default();
        let classes = ClassIndex::of(splits).count(splits, &different);
        let purposes: Vec<Purpose> = splits.splits().iter().map(|split| split.purpose).collect();
        let equal = duplicates::equal_pictures(splits);
        let duplicates = equal
            .iter()
            .map(|group| overlap::different_files(splits, group));
        let duplicates: Vec<Vec<Picture>> = duplicates.filter(|group| group.len() > 1).collect();
        let (notes, remarks) = messages(splits);
        Self {
            name: splits.name().to_owned(),
            layout: splits.layout().map(ToOwned::to_owned),
            evidence: splits.evidence().to_owned(),
            splits: split_counts(splits, &overlaps, &equal),
            unread: splits.unread().to_vec(),
            images: images.len(),
            objects: (images.iter())
                .map(|image| image.ordinary_objects().count())
                .sum(),
            concerns: ClassConcerns::of(&classes, &purposes),
            classes,
            image_sizes: ImageSizes::of(images.iter().copied()),
            box_sizes: BoxSizes::of(images.iter().copied()),
            crowding: Crowding::of(&images),
            sized,
            levels: Levels::of(
                trained_on,
                options.resize,
                &options.detector,
                options.pictures,
            ),
            suggestion: SuggestedSize::of(trained_on, &options.detector),
            findings: findings::count(splits, &overlaps),
            notes,
            remarks,
            sheets: sheets::sheets(&different, &duplicates, options.pictures),
            duplicates,
        }
    }
}

/// `equal` holds groups of images whose files are the same or have the same content.
fn split_counts(splits: &Splits, overlaps: &[Overlap], equal: &[Vec<Picture>]) -> Vec<SplitCounts> {
    let all = splits.splits();
    let is_training = |split: &usize| all[*split].purpose == Purpose::Training;
    let training: Vec<usize> = (0..all.len()).filter(is_training).collect();
    let counts = all.iter().zip(overlaps).enumerate();
    let counts = counts.map(|(index, (split, overlap))| {
        let images = split.dataset.images();
        let has_training = overlap.parts.iter().any(is_training);
        let counts: Vec<usize> = (images.iter())
            .map(|image| image.ordinary_objects().count())
            .collect();
        let objects = counts.iter().sum();
        SplitCounts {
            name: split.name.clone(),
            purpose: split.purpose,
            images: images.len(),
            images_without_objects: counts.iter().filter(|count| **count == 0).count(),
            objects,
            crowds: split.dataset.object_count() - objects,
            most_objects: counts.into_iter().max().unwrap_or(0),
            repeated: duplicates::repeated(equal, index),
            in_training: match split.purpose {
                Purpose::Training => 0,
                Purpose::Other if has_training => 0,
                _ => duplicates::shared(equal, index, &training),
            },
            includes: (overlap.parts.iter())
                .map(|other| all[*other].name.clone())
                .collect(),
            own_images: overlap.own_images,
        }
    });
    counts.collect()
}

/// The notes and the remarks of all splits. Repeated messages appear once.
fn messages(splits: &Splits) -> (Vec<String>, Vec<String>) {
    let reports = || {
        splits
            .splits()
            .iter()
            .map(|split| (&split.name, split.dataset.report()))
    };
    let notes = reports().flat_map(|(name, report)| {
        let notes = report.notes().iter();
        notes.map(move |note| format!("{name}: {note}"))
    });
    let remarks = reports().flat_map(|(_, report)| report.remarks().iter().cloned());
    let once = |messages: Vec<String>| {
        let mut distinct: Vec<String> = Vec::new();
        for message in messages {
            if !distinct.contains(&message) {
                distinct.push(message);
            }
        }
        distinct
    };
    (once(notes.collect()), once(remarks.collect()))
}
