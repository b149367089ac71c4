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
    /// Crowds (COCO) and difficult objects (VOC), which are left out of training.
    pub crowds: usize,
    /// The most objects in an image.
    pub most_objects: usize,
    /// Images that are duplicates of an earlier one in this split.
    pub repeated: usize,
    /// Images that are duplicates of a training image; 0 for the training split.
    pub in_training: usize,
}

/// The statistics of a data set.
///
/// Sizes, shapes and crowding are those of all splits together, levels and the suggested size those of the training
/// split. Crowds, which are left out of training, count only in [`SplitCounts::crowds`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The name of the data set.
    pub name: String,
    /// The layout on disk; `None` if the data set was not read from a folder.
    pub layout: Option<String>,
    /// Why that layout was recognized.
    pub evidence: String,
    /// The splits.
    pub splits: Vec<SplitCounts>,
    /// The splits that could not be read.
    pub unread: Vec<UnreadSplit>,
    /// The classes of all splits.
    pub classes: Vec<ClassCount>,
    /// Classes to look at.
    pub concerns: ClassConcerns,
    /// Sizes of images.
    pub image_sizes: ImageSizes,
    /// Sizes and shapes of boxes.
    pub box_sizes: BoxSizes,
    /// Objects per image, and overlaps.
    pub crowding: Crowding,
    /// The levels of the training objects.
    pub levels: Levels,
    /// The size to train at; `None` without training objects.
    pub suggestion: Option<SuggestedSize>,
    /// Images with identical files, in groups.
    pub duplicates: Vec<Vec<Picture>>,
    /// What was dropped or repaired.
    pub findings: Vec<FindingCount>,
    /// Problems of the splits as a whole.
    pub notes: Vec<String>,
    /// Information that is not a problem.
    pub remarks: Vec<String>,
    /// Images to look at.
    pub sheets: Vec<Sheet>,
}

impl Inspection {
    /// The statistics of these splits. Reads image files of the same length, to find duplicates, and decodes none.
    pub fn of(splits: &Splits, options: &InspectionOptions) -> Self {
        let images: Vec<&ImageRecord> = splits.pictures().map(|(_, record)| record).collect();
        let trained_on = splits.trained_on().map(|split| split.dataset.images());
        let trained_on = trained_on.unwrap_or_default();
        let classes = ClassIndex::of(splits).count(splits);
        let purposes: Vec<Purpose> = splits.splits().iter().map(|split| split.purpose).collect();
        let duplicates = duplicates::equal_pictures(splits);
        let (notes, remarks) = messages(splits);
        Self {
            name: splits.name().to_owned(),
            layout: splits.layout().map(ToOwned::to_owned),
            evidence: splits.evidence().to_owned(),
            splits: split_counts(splits, &duplicates),
            unread: splits.unread().to_vec(),
            concerns: ClassConcerns::of(&classes, &purposes),
            classes,
            image_sizes: ImageSizes::of(images.iter().copied()),
            box_sizes: BoxSizes::of(images.iter().copied()),
            crowding: Crowding::of(&images),
            levels: Levels::of(
                trained_on,
                options.resize,
                &options.detector,
                options.pictures,
            ),
            suggestion: SuggestedSize::of(trained_on, &options.detector),
            findings: findings::count(splits),
            notes,
            remarks,
            sheets: sheets::sheets(splits, &duplicates, options.pictures),
            duplicates,
        }
    }

    /// The number of images of all splits.
    pub fn images(&self) -> usize {
        self.splits.iter().map(|split| split.images).sum()
    }

    /// The number of objects of all splits.
    pub fn objects(&self) -> usize {
        self.splits.iter().map(|split| split.objects).sum()
    }
}

fn split_counts(splits: &Splits, duplicates: &[Vec<Picture>]) -> Vec<SplitCounts> {
    let of_purpose = |purpose| {
        let splits = splits.splits().iter().enumerate();
        splits.filter_map(move |(index, split)| (split.purpose == purpose).then_some(index))
    };
    let training: Vec<usize> = of_purpose(Purpose::Training).collect();
    let counts = splits.splits().iter().enumerate().map(|(index, split)| {
        let images = split.dataset.images();
        let usable = |image: &ImageRecord| {
            let objects = image.objects.iter();
            objects.filter(|object| !object.iscrowd).count()
        };
        let objects = images.iter().map(usable).sum();
        SplitCounts {
            name: split.name.clone(),
            purpose: split.purpose,
            images: images.len(),
            images_without_objects: images.iter().filter(|image| usable(image) == 0).count(),
            objects,
            crowds: split.dataset.object_count() - objects,
            most_objects: images.iter().map(usable).max().unwrap_or(0),
            repeated: duplicates::repeated(duplicates, index),
            in_training: match split.purpose {
                Purpose::Training => 0,
                _ => duplicates::shared(duplicates, index, &training),
            },
        }
    });
    counts.collect()
}

/// The notes and the remarks of all splits. The same text about several splits appears once.
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
        let mut told: Vec<String> = Vec::new();
        for message in messages {
            if !told.contains(&message) {
                told.push(message);
            }
        }
        told
    };
    (once(notes.collect()), once(remarks.collect()))
}
