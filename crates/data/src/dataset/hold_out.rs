//! Dividing a data set into a training part and a validation part.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use twox_hash::XxHash64;

use super::{DetectionDataset, equal_images};
use crate::DataError;
use crate::decoding::{is_image, is_unread_image};
use crate::files::last_part;

impl DetectionDataset {
    /// Divides the data set into a training part and a validation part. The validation part has about a fraction
    /// `share` of the images.
    ///
    /// A hash of the file name decides which part an image goes to, so adding images does not move others. Folders are
    /// hashed too only if files in several folders have the same name (`1/left.jpg`, `2/left.jpg`). Duplicate images go
    /// to the same part: files with the same content, and augmented copies of one image in a Roboflow export
    /// (`NAME.rf.HASH.jpg`). If a part would be empty, the image whose hash is nearest moves there.
    ///
    /// The training part gets the [`report`](Self::report). The validation part gets a remark on the division.
    ///
    /// ```
    /// use fcos_burn_data::DetectionDataset;
    /// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
    ///
    /// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
    /// let (train, val) = dataset.hold_out(0.2)?;
    /// assert_eq!(train.len() + val.len(), dataset.len());
    /// # Ok::<(), fcos_burn_data::DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] unless `share` is above 0 and below 1. [`DataError::Dataset`] if there are fewer than two
    /// different images.
    pub fn hold_out(&self, share: f64) -> Result<(Self, Self), DataError> {
        if !(share > 0.0 && share < 1.0) {
            return Err(DataError::Config {
                field: "val_share".to_string(),
                value: share.to_string(),
                requirement: "above 0 and below 1".to_string(),
            });
        }
        let positions = self.positions();
        let extreme = |order: fn(f64, f64) -> f64| positions.iter().copied().reduce(order);
        let (Some(lowest), Some(highest)) = (extreme(f64::min), extreme(f64::max)) else {
            return Err(self.too_few());
        };
        if lowest == highest {
            return Err(self.too_few());
        }
        // At least one image in each part.
        let threshold = share.max(lowest.next_up()).min(highest);
        let (val, train): (Vec<usize>, Vec<usize>) =
            (0..self.len()).partition(|&index| positions[index] < threshold);
        let part =
            |purpose: &str, indices| self.subset(format!("{} ({purpose})", self.name()), indices);
        let (mut train, mut val) = (part("training part", train), part("held-out part", val));
        train.annotations.report = self.report().clone();
        val.annotations.report.remark(format!(
            "{} of {} images held out for validation, chosen by a hash of their file names",
            val.len(),
            self.len()
        ));
        Ok((train, val))
    }

    fn too_few(&self) -> DataError {
        DataError::Dataset {
            name: self.name().to_string(),
            cause: format!(
                "{} images, but too few distinct ones to hold any out for validation; equal files and augmented \
                 copies of one image stay together",
                self.len()
            ),
        }
    }

    /// A number from 0 to 1 for every image, equal for duplicate images.
    fn positions(&self) -> Vec<f64> {
        let names = || self.images().iter().map(|image| image.file_name.as_str());
        // The first path of each key, and the keys with several paths.
        let mut first_paths: HashMap<&str, &str> = HashMap::new();
        let mut ambiguous: HashSet<&str> = HashSet::new();
        for name in names() {
            let path = *first_paths.entry(key(name)).or_insert(path(name));
            if path != self::path(name) {
                ambiguous.insert(key(name));
            }
        }
        let is_ambiguous = |name| ambiguous.contains(key(name)) && original(name).is_none();
        let mut keys: Vec<&str> = names()
            .map(|name| {
                if is_ambiguous(name) {
                    path(name)
                } else {
                    key(name)
                }
            })
            .collect();
        // Equal files share the first of their keys.
        for group in equal_images(&[self]) {
            let first = group.iter().map(|place| keys[place.image]).min();
            for place in &group {
                keys[place.image] = first.unwrap_or(keys[place.image]);
            }
        }
        let hash = |key: &&str| XxHash64::oneshot(0, key.as_bytes()) as f64 / u64::MAX as f64;
        keys.iter().map(hash).collect()
    }
}

/// The part of a file name that identifies the image. Omits folders, since an image may be moved, the extension, and
/// the hash that Roboflow gives each augmented copy.
fn key(file_name: &str) -> &str {
    original(file_name).unwrap_or_else(|| last_part(path(file_name)))
}

/// The name of the original image if the file is named like an augmented copy in a Roboflow export.
fn original(file_name: &str) -> Option<&str> {
    let (original, _) = last_part(file_name).split_once(".rf.")?;
    Some(original)
}

/// A file name with its folders, without the extension of an image. Other names may be numbered after a dot.
fn path(file_name: &str) -> &str {
    let name = Path::new(file_name);
    let extension = last_part(file_name).rsplit_once('.');
    let extension = extension.filter(|_| is_image(name) || is_unread_image(name));
    let dropped = extension.map_or(0, |(_, extension)| extension.len() + 1);
    &file_name[..file_name.len() - dropped]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::shapes::{ShapesConfig, ShapesSplit};

    fn shapes(images: usize) -> DetectionDataset {
        let config = ShapesConfig::default().with_train_images(images);
        DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap()
    }

    fn names(dataset: &DetectionDataset) -> Vec<&str> {
        let images = dataset.images().iter();
        images.map(|image| image.file_name.as_str()).collect()
    }

    #[test]
    fn adding_images_does_not_move_others() {
        let (_, few) = shapes(200).hold_out(0.2).unwrap();
        let (train, many) = shapes(400).hold_out(0.2).unwrap();
        assert!((60..=100).contains(&many.len()), "{}", many.len());
        assert_eq!(train.len() + many.len(), 400);
        let many = names(&many);
        assert!(names(&few).iter().all(|name| many.contains(name)));
        assert!(names(&train).iter().all(|name| !many.contains(name)));
    }

    #[test]
    fn neither_part_is_empty() {
        for share in [1e-9, 0.999_999] {
            let (train, val) = shapes(2).hold_out(share).unwrap();
            assert_eq!((train.len(), val.len()), (1, 1));
        }
        assert!(shapes(1).hold_out(0.5).is_err());
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            let error = shapes(9).hold_out(share).unwrap_err().to_string();
            assert!(error.starts_with("val_share is "), "{error}");
        }
    }

    #[test]
    fn parts_have_the_pixels_of_their_images() {
        let whole = shapes(30);
        let (train, val) = whole.hold_out(0.3).unwrap();
        for part in [&train, &val] {
            for (index, name) in names(part).iter().enumerate() {
                let position = names(&whole)
                    .iter()
                    .position(|other| other == name)
                    .unwrap();
                assert_eq!(part.image(index).unwrap(), whole.image(position).unwrap());
                assert_eq!(part.images()[index], whole.images()[position]);
            }
        }
    }

    #[test]
    fn keys_identify_pictures() {
        assert_eq!(key("train/a-1_jpg.rf.0123.jpg"), "a-1_jpg");
        assert_eq!(key("images\\b.c.png"), "b.c");
        assert_eq!(key("plain"), "plain");
        assert_eq!(path("a.b/plain"), "a.b/plain");
        assert_eq!(path("a\\b.c.png"), "a\\b.c");
        // Not an extension, but the number of a frame.
        assert_eq!(path("clip/frame.0001"), "clip/frame.0001");
        assert_eq!(path("clip/frame.0001.JPG"), "clip/frame.0001");
    }

    fn renamed(names: &[&str]) -> DetectionDataset {
        let mut dataset = shapes(names.len());
        for (image, name) in dataset.annotations.images.iter_mut().zip(names) {
            image.file_name = name.to_string();
        }
        dataset
    }

    /// The two parts of a data set of images with these names.
    fn parts(names: &[&str]) -> (Vec<String>, Vec<String>) {
        let (train, val) = renamed(names).hold_out(0.5).unwrap();
        let names =
            |part: &DetectionDataset| self::names(part).into_iter().map(String::from).collect();
        (names(&train), names(&val))
    }

    #[test]
    fn folders_distinguish_files_with_the_same_name() {
        let same: Vec<String> = (0..40).map(|folder| format!("{folder}/rgb.png")).collect();
        let same: Vec<&str> = same.iter().map(String::as_str).collect();
        let (train, val) = parts(&same);
        assert!(train.len() > 5 && val.len() > 5, "{train:?} {val:?}");
    }

    #[test]
    fn copies_stay_together() {
        for copies in [
            ["a.jpg", "a.png"],
            ["x/a_jpg.rf.01.jpg", "y/a_jpg.rf.02.jpg"],
            ["a_jpg.rf.01.jpg", "a_jpg.rf.02.jpg"],
        ] {
            let error = renamed(&copies).hold_out(0.5).unwrap_err().to_string();
            assert!(
                error.contains("2 images, but too few distinct ones"),
                "{error}"
            );
        }
    }

    #[test]
    fn moving_images_to_other_folders_keeps_the_division() {
        let names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg"];
        let moved = names.map(|name| format!("C:\\data\\{name}"));
        let (train, val) = parts(&names);
        let moved: Vec<&str> = moved.iter().map(String::as_str).collect();
        let moved = parts(&moved);
        let last = |part: Vec<String>| -> Vec<String> {
            part.iter()
                .map(|name| last_part(name).to_string())
                .collect()
        };
        assert_eq!((train, val), (last(moved.0), last(moved.1)));
    }
}
