//! Dividing a data set into a training part and a validation part.

use twox_hash::XxHash64;

use super::{DetectionDataset, equal_images};
use crate::DataError;
use crate::files::last_part;

impl DetectionDataset {
    /// Divides the data set into a part for training and a part for validation, which has about a fraction `share` of
    /// the images.
    ///
    /// A hash of its file name decides which part an image goes to, so adding images does not move others. Duplicate
    /// images go to the same part: files with the same content, and the augmented copies of one image in an export of
    /// Roboflow (`NAME.rf.HASH.jpg`). If one part would be empty, the image whose hash is nearest moves there.
    ///
    /// The [`report`](Self::report) goes to the first part; the second one has a remark on the division.
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
            cause: "too few distinct images to hold any out".to_string(),
        }
    }

    /// A number from 0 to 1 for every image, the same for duplicate images.
    fn positions(&self) -> Vec<f64> {
        let mut keys: Vec<&str> = (self.images().iter())
            .map(|image| key(&image.file_name))
            .collect();
        // Equal files have the key that comes first.
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

/// The part of a file name that identifies the image: without folders, since an image may be moved, without the
/// extension, and without the hash that Roboflow gives each augmented copy.
fn key(file_name: &str) -> &str {
    let name = last_part(file_name);
    match name.split_once(".rf.") {
        Some((original, _)) => original,
        None => name.rsplit_once('.').map_or(name, |(stem, _)| stem),
    }
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
    fn an_image_stays_where_it_is_when_others_are_added() {
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
    }
}
