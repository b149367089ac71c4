//! A digest of the data of a run, so that it is not resumed with other data.

use std::path::Path;

use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A digest of a split: its classes, and the order, names, sizes and objects of its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitDigest {
    images: usize,
    objects: usize,
    /// CRC-32 of all annotations.
    checksum: String,
}

/// The digests of the splits of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DataDigest {
    pub(crate) train: SplitDigest,
    pub(crate) val: SplitDigest,
}

impl SplitDigest {
    pub(crate) fn of(dataset: &DetectionDataset) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        for category in dataset.categories() {
            hasher.update(&category.id.to_le_bytes());
            hasher.update(&category.name.len().to_le_bytes());
            hasher.update(category.name.as_bytes());
        }
        for image in dataset.images() {
            hasher.update(&image.id.to_le_bytes());
            hasher.update(image.file_name.as_bytes());
            hasher.update(&image.width.to_le_bytes());
            hasher.update(&image.height.to_le_bytes());
            hasher.update(&image.objects.len().to_le_bytes());
            for object in &image.objects {
                for side in object.bbox.to_xyxy() {
                    hasher.update(&side.to_le_bytes());
                }
                hasher.update(&object.label.to_le_bytes());
                hasher.update(&[u8::from(object.iscrowd)]);
            }
        }
        Self {
            images: dataset.len(),
            objects: dataset.object_count(),
            checksum: format!("{:08x}", hasher.finalize()),
        }
    }

    /// How `found`, the digest of the current data, differs from this one of a run.
    pub(crate) fn difference(&self, found: &Self) -> Option<String> {
        let count = |what: &str, then: usize, now: usize| {
            (then != now).then(|| format!("has {now} {what}, but had {then} when the run started"))
        };
        count("images", self.images, found.images)
            .or_else(|| count("objects", self.objects, found.objects))
            .or_else(|| {
                (self != found).then(|| {
                    "has different annotations, classes or image order than when the run started"
                        .to_owned()
                })
            })
    }
}

impl DataDigest {
    /// Fails if `found`, the digest of the current data, differs from this one of the run in `run`.
    pub(crate) fn check(&self, found: &Self, run: &Path) -> Result<(), Error> {
        let splits = [
            ("training", &self.train, &found.train),
            ("validation", &self.val, &found.val),
        ];
        let difference = splits.into_iter().find_map(|(split, then, now)| {
            Some(format!("the {split} split {}", then.difference(now)?))
        });
        difference.map_or(Ok(()), |cause| Err(Error::other_run(run, &cause)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    fn digest(seed: u64, train_images: usize) -> DataDigest {
        let shapes = ShapesConfig::default()
            .with_seed(seed)
            .with_train_images(train_images)
            .with_val_images(3);
        let of = |split| SplitDigest::of(&DetectionDataset::shapes(&shapes, split).unwrap());
        DataDigest {
            train: of(ShapesSplit::Train),
            val: of(ShapesSplit::Val),
        }
    }

    #[test]
    fn the_difference_is_reported() {
        let run = Path::new("runs/mine");
        let first = digest(0, 4);
        first.check(&digest(0, 4), run).unwrap();
        let message = |found| first.check(&found, run).unwrap_err().to_string();
        let more = message(digest(0, 5));
        assert!(more.contains("runs/mine"), "{more}");
        assert!(
            more.contains("training split has 5 images, but had 4"),
            "{more}"
        );
        let mut moved = first.clone();
        moved.val.checksum = "00000000".to_owned();
        let moved = message(moved);
        assert!(
            moved.contains("validation split has different annotations"),
            "{moved}"
        );
        assert_ne!(first.train.checksum, digest(1, 4).train.checksum);
    }
}
