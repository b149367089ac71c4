//! A digest of the data of a run, so that it is not resumed with other data.

use std::{fs, path::Path};

use fcos_burn_data::DetectionDataset;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A digest of a split: its classes, and the order, names, sizes, objects and file lengths of its images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SplitDigest {
    images: usize,
    objects: usize,
    /// CRC-32 of the classes, the images, the boxes and their classes.
    checksum: String,
    /// CRC-32 of the annotated areas. Older runs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    areas: Option<String>,
    /// CRC-32 of the lengths of the image files. Older runs and generated images have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lengths: Option<String>,
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
            checksum: shown(hasher),
            areas: Some(areas(dataset)),
            lengths: lengths(dataset),
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
                let differs = |then: &Option<String>, now: &Option<String>| {
                    (then.as_ref().zip(now.as_ref())).is_some_and(|(then, now)| then != now)
                };
                let what = if self.checksum != found.checksum {
                    "annotations, classes or image order"
                } else if differs(&self.areas, &found.areas) {
                    "annotated areas"
                } else if differs(&self.lengths, &found.lengths) {
                    "image files"
                } else {
                    return None;
                };
                Some(format!("has different {what} than when the run started"))
            })
    }
}

fn shown(hasher: crc32fast::Hasher) -> String {
    format!("{:08x}", hasher.finalize())
}

fn areas(dataset: &DetectionDataset) -> String {
    let mut hasher = crc32fast::Hasher::new();
    for object in dataset.images().iter().flat_map(|image| &image.objects) {
        let area = object.annotated_area.unwrap_or(f64::NAN);
        hasher.update(&area.to_le_bytes());
    }
    shown(hasher)
}

/// `None` if the images are not in files. A file that cannot be read has no length.
fn lengths(dataset: &DetectionDataset) -> Option<String> {
    let mut hasher = crc32fast::Hasher::new();
    for index in 0..dataset.len() {
        let length = fs::metadata(dataset.image_file(index)?).map_or(0, |file| file.len());
        hasher.update(&length.to_le_bytes());
    }
    Some(shown(hasher))
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

    #[test]
    fn what_an_older_run_lacks_is_not_compared() {
        let run = Path::new("runs/mine");
        let now = digest(0, 4);
        let mut then = now.clone();
        then.val.areas = Some("00000000".to_owned());
        let error = then.check(&now, run).unwrap_err().to_string();
        assert!(error.contains("different annotated areas"), "{error}");
        then.val.areas = None;
        then.check(&now, run).unwrap();
        let of_files = |digest: &DataDigest, lengths: &str| {
            let mut digest = digest.clone();
            digest.train.lengths = Some(lengths.to_owned());
            digest
        };
        let [then, changed] = ["12345678", "12345679"].map(|lengths| of_files(&now, lengths));
        then.check(&then.clone(), run).unwrap();
        let error = then.check(&changed, run).unwrap_err().to_string();
        assert!(
            error.contains("training split has different image files"),
            "{error}"
        );
    }
}
