//! COCO's files for tasks other than the detection of objects.

use std::path::Path;

use crate::files::{file_name, stem};

/// What COCO's names of files for objects start with, before the split.
pub(super) const INSTANCES: &str = "instances_";

/// The split in COCO's name of a file for objects or keypoints, without extension: `val2017` of `instances_val2017`.
/// CVAT writes the subset there.
pub(super) fn split_in_name(stem: &str) -> Option<&str> {
    let mut tasks = [INSTANCES, CocoTask::Keypoints.prefix()].into_iter();
    tasks.find_map(|task| stem.strip_prefix(task))
}

/// A task for which COCO has files of its own. Ordered by how well their boxes suit detection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum CocoTask {
    Keypoints,
    Stuff,
    Panoptic,
    Captions,
    ImageInfo,
}

impl CocoTask {
    const ALL: [Self; 5] = [
        Self::Keypoints,
        Self::Stuff,
        Self::Panoptic,
        Self::Captions,
        Self::ImageInfo,
    ];

    /// The task for which COCO uses such a file name. CVAT and Datumaro use the same names.
    pub fn of(file: &Path) -> Option<Self> {
        let name = file_name(file).to_lowercase();
        let mut all = Self::ALL.into_iter();
        all.find(|task| name.starts_with(task.prefix()))
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Keypoints => "person_keypoints_",
            Self::Stuff => "stuff_",
            Self::Panoptic => "panoptic_",
            Self::Captions => "captions_",
            Self::ImageInfo => "image_info_",
        }
    }

    /// The task in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Keypoints => "keypoints",
            Self::Stuff => "stuff",
            Self::Panoptic => "panoptic segmentation",
            Self::Captions => "captions",
            Self::ImageInfo => "images without annotations",
        }
    }

    /// The split that the name of a file ends with, in lower case.
    pub fn split(self, file: &Path) -> String {
        stem(file).to_lowercase().split_off(self.prefix().len())
    }
}
