//! Sampling that shows images with rare classes more often.

use rand::RngExt;
use rand::seq::SliceRandom;

use crate::DetectionDataset;
use crate::random::keyed_rng;

/// Repeat-factor sampling, from [LVIS](https://arxiv.org/abs/1908.03195) (Gupta et al., 2019): images with rare
/// classes are drawn more often.
///
/// A class c that is in a fraction `f(c)` of the images has the repeat factor `r(c) = max(1, √(t / f(c)))`, for a
/// threshold t. That of an image is the largest of its classes, and 1 without objects. Crowds do not count.
///
/// ```
/// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
/// use fcos_burn_data::{DetectionDataset, RepeatFactors};
///
/// let dataset = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
/// let factors = RepeatFactors::new(&dataset, 0.5);
/// assert!(factors.of_images().iter().all(|&factor| factor >= 1.0));
/// assert_eq!(factors.epoch_order(7, 1).len(), dataset.len());
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RepeatFactors {
    classes: Vec<f64>,
    images: Vec<f64>,
}

impl RepeatFactors {
    /// The repeat factors of the classes and images of `dataset`, for a threshold in `(0, 1]`.
    pub fn new(dataset: &DetectionDataset, threshold: f64) -> Self {
        let labels: Vec<Vec<usize>> = dataset.images().iter().map(distinct_labels).collect();
        let mut images_with = vec![0_usize; dataset.categories().len()];
        for &label in labels.iter().flatten() {
            images_with[label] += 1;
        }
        let factor = |&count: &usize| {
            let frequency = count as f64 / dataset.len() as f64;
            match count {
                0 => 1.0,
                _ => (threshold / frequency).sqrt().max(1.0),
            }
        };
        let classes: Vec<f64> = images_with.iter().map(factor).collect();
        let largest = |labels: &Vec<usize>| {
            let factors = labels.iter().map(|&label| classes[label]);
            factors.fold(1.0, f64::max)
        };
        Self {
            images: labels.iter().map(largest).collect(),
            classes,
        }
    }

    /// The factor of each class; 1 for a class without objects.
    pub fn of_classes(&self) -> &[f64] {
        &self.classes
    }

    /// The factor of each image.
    pub fn of_images(&self) -> &[f64] {
        &self.images
    }

    /// The indices of the images of an epoch, in random order.
    ///
    /// There are as many as in the data set, so that every epoch has the same length. An image with the factor r is
    /// among them r · n / Σr times on average, for n images: the fractional part is rounded at random, up or down, by
    /// systematic sampling from seed and epoch. If all factors are equal, each image is drawn once.
    pub fn epoch_order(&self, seed: u64, epoch: u64) -> Vec<usize> {
        let length = self.images.len();
        let mut rng = keyed_rng(*b"repeat..", seed, epoch, 0);
        // Images that follow each other are not drawn independently.
        let mut images: Vec<usize> = (0..length).collect();
        images.shuffle(&mut rng);
        let scale = length as f64 / self.images.iter().sum::<f64>();
        // In 32 bits, so that its sums with integers are exact.
        let start = f64::from(rng.random::<f32>());
        let mut drawn = Vec::with_capacity(length);
        let mut until = 0.0;
        for (place, &image) in images.iter().enumerate() {
            until += self.images[image] * scale;
            // The sum of all is the length, but for rounding.
            let is_last = place + 1 == length;
            while drawn.len() < length && (is_last || start + (drawn.len() as f64) < until) {
                drawn.push(image);
            }
        }
        drawn.sort_unstable();
        drawn.shuffle(&mut keyed_rng(*b"order...", seed, epoch, 0));
        drawn
    }
}

/// The labels of the training objects of an image, each once.
fn distinct_labels(image: &crate::ImageRecord) -> Vec<usize> {
    let objects = image.ordinary_objects();
    let mut labels: Vec<usize> = objects.map(|object| object.label).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::RgbImage;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        BoundingBox, Category, DataError, ImageRecord, ImageSource, Object, SampleOrder,
        epoch_order,
    };

    #[derive(Debug)]
    struct Black;

    impl ImageSource for Black {
        fn image(&self, _index: usize) -> Result<RgbImage, DataError> {
            Ok(RgbImage::new(8, 8))
        }
    }

    /// A data set whose images have objects of these labels; the labels from 10 are those of crowds.
    fn dataset(labels: &[&[usize]]) -> DetectionDataset {
        let object = |&label: &usize| {
            let bbox = BoundingBox::new(1.0, 1.0, 5.0, 5.0);
            Object::new(0, bbox, label % 10).with_iscrowd(label >= 10)
        };
        let images = labels.iter().enumerate().map(|(index, labels)| {
            let image = ImageRecord::new(index as u64 + 1, index.to_string(), 8, 8);
            image.with_objects(labels.iter().map(object).collect())
        });
        let categories = Category::list(["a", "b", "c", "d"]);
        DetectionDataset::new("test", categories, images.collect(), Black).unwrap()
    }

    /// Class a is in all 8 images but one, b in 2, c in 1, d only as a crowd.
    fn rare() -> DetectionDataset {
        dataset(&[
            &[0],
            &[0, 0, 1],
            &[0],
            &[0, 1, 2],
            &[0, 13],
            &[],
            &[0],
            &[0],
        ])
    }

    #[test]
    fn factors_match_their_definition() {
        let factors = RepeatFactors::new(&rare(), 0.5);
        let (b, c) = ((0.5_f64 / 0.25).sqrt(), (0.5_f64 / 0.125).sqrt());
        assert_eq!(factors.of_classes(), [1.0, b, c, 1.0]);
        assert_eq!(factors.of_images(), [1.0, b, 1.0, c, 1.0, 1.0, 1.0, 1.0]);
        let none = RepeatFactors::new(&rare(), 0.1);
        assert_eq!(none.of_images(), [1.0; 8]);
    }

    #[test]
    fn images_are_drawn_as_often_as_their_factor_says() {
        const EPOCHS: u64 = 4000;
        let factors = RepeatFactors::new(&rare(), 0.5);
        let total: f64 = factors.of_images().iter().sum();
        let mut counts = [0_usize; 8];
        for epoch in 0..EPOCHS {
            let order = factors.epoch_order(3, epoch);
            assert_eq!(order.len(), 8);
            for (image, factor) in factors.of_images().iter().enumerate() {
                let expected = 8.0 * factor / total;
                let times = order.iter().filter(|&&drawn| drawn == image).count();
                let neighbors = [expected.floor() as usize, expected.ceil() as usize];
                assert!(neighbors.contains(&times), "{image}: {times} times");
                counts[image] += times;
            }
        }
        for (count, factor) in counts.into_iter().zip(factors.of_images()) {
            let expected = 8.0 * factor / total;
            let found = count as f64 / EPOCHS as f64;
            // The variance of a rounding is at most ¼: four standard deviations.
            let tolerance = 4.0 * 0.5 / (EPOCHS as f64).sqrt();
            assert!((found - expected).abs() < tolerance, "{found} {expected}");
        }
    }

    #[test]
    fn an_order_depends_on_seed_and_epoch_and_is_the_usual_one_without_rare_classes() {
        let factors = RepeatFactors::new(&rare(), 0.5);
        assert_eq!(factors.epoch_order(3, 1), factors.epoch_order(3, 1));
        assert_ne!(factors.epoch_order(3, 1), factors.epoch_order(3, 2));
        assert_ne!(factors.epoch_order(3, 1), factors.epoch_order(4, 1));
        let equal = RepeatFactors::new(&rare(), 0.1);
        let usual = epoch_order(8, 3, 1, SampleOrder::Shuffled);
        assert_eq!(equal.epoch_order(3, 1), usual);
        let empty = RepeatFactors::new(&dataset(&[]), 0.5);
        assert!(empty.epoch_order(3, 1).is_empty());
    }

    proptest! {
        /// Rounding in the sums neither loses nor adds an image.
        #[test]
        fn every_epoch_has_the_length_of_the_data_set(
            images in prop::collection::vec(1.0_f64..50.0, 1..200),
            seed in any::<u64>(),
        ) {
            let length = images.len();
            let scale = length as f64 / images.iter().sum::<f64>();
            let factors = RepeatFactors { classes: Vec::new(), images };
            let order = factors.epoch_order(seed, 0);
            prop_assert_eq!(order.len(), length);
            for (image, factor) in factors.images.iter().enumerate() {
                let times = order.iter().filter(|&&drawn| drawn == image).count() as f64;
                prop_assert!((times - factor * scale).abs() < 1.0 + 1e-9);
            }
        }
    }
}
