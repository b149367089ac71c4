//! Paired bootstrap over the images of a data set: whether a difference between two detectors
//! would hold on other images.

use std::collections::BTreeMap;

use fcos_burn_data::{DetectionDataset, sample_rng};
use rand::RngExt;
use rayon::prelude::*;

use crate::{
    CocoMetric, CocoMetrics, CocoResult, EvaluationError,
    coco::{coco_report, metrics},
};

/// COCO metrics of `results` on each of `resamples` bootstrap samples of the images of
/// `dataset`. The samples depend only on the seed and the number of images.
///
/// A sample has as many images as the data set, drawn with replacement. An image that is drawn
/// several times counts several times (B. Efron, "Bootstrap Methods: Another Look at the
/// Jackknife", 1979). hotcoco's own bootstrap draws a subset instead. Results of images that
/// are not in the data set are ignored.
///
/// # Errors
///
/// Fails if a score is NaN.
pub fn resampled_metrics(
    dataset: &DetectionDataset,
    results: &[CocoResult],
    resamples: usize,
    seed: u64,
) -> Result<Vec<CocoMetrics>, EvaluationError> {
    let truth = ByImage::new(dataset.to_coco());
    let results = truth.group(results);
    (0..resamples)
        .into_par_iter()
        .map(|resample| {
            let images = truth.images.len();
            let mut rng = sample_rng(seed, 0, resample);
            let sample: Vec<usize> = (0..images).map(|_| rng.random_range(0..images)).collect();
            let report = coco_report(truth.sample(&sample), &drawn(&results, &sample))?;
            Ok(metrics(&report))
        })
        .collect()
}

/// The differences `results − baseline` of each metric, sample by sample. They are a paired
/// bootstrap if both come from the same samples, that is from the same seed. A sample with an
/// undefined metric is left out of the list of that metric.
///
/// The [`percentile_interval`] of a list is the confidence interval of the difference. It
/// covers the choice of images, but not the random seed of the training.
///
/// [`percentile_interval`]: crate::statistics::percentile_interval
pub fn paired_differences(
    results: &[CocoMetrics],
    baseline: &[CocoMetrics],
) -> BTreeMap<CocoMetric, Vec<f64>> {
    let mut lists = BTreeMap::<CocoMetric, Vec<f64>>::new();
    for (with, without) in results.iter().zip(baseline) {
        for (metric, value) in with {
            if let (Some(value), Some(Some(base))) = (value, without.get(metric)) {
                lists.entry(*metric).or_default().push(value - base);
            }
        }
    }
    lists
}

/// A data set grouped by image, so that an image can be drawn several times.
struct ByImage {
    images: Vec<hotcoco::Image>,
    annotations: Vec<Vec<hotcoco::Annotation>>,
    categories: Vec<hotcoco::Category>,
    place: BTreeMap<u64, usize>,
}

impl ByImage {
    fn new(dataset: hotcoco::Dataset) -> Self {
        let images = dataset.images.iter().enumerate();
        let place: BTreeMap<u64, usize> = images.map(|(place, image)| (image.id, place)).collect();
        let mut annotations = vec![Vec::new(); dataset.images.len()];
        for annotation in dataset.annotations {
            if let Some(&place) = place.get(&annotation.image_id) {
                annotations[place].push(annotation);
            }
        }
        Self {
            images: dataset.images,
            annotations,
            categories: dataset.categories,
            place,
        }
    }

    /// The results of each image.
    fn group(&self, results: &[CocoResult]) -> Vec<Vec<CocoResult>> {
        let mut groups = vec![Vec::new(); self.images.len()];
        for result in results {
            if let Some(&place) = self.place.get(&result.image_id) {
                groups[place].push(result.clone());
            }
        }
        groups
    }

    /// The data set of the drawn images. The ids of the images are their 1-based positions in
    /// the sample.
    fn sample(&self, sample: &[usize]) -> hotcoco::Dataset {
        let mut annotations = Vec::new();
        let mut images = Vec::with_capacity(sample.len());
        for (id, &drawn) in (1..).zip(sample) {
            let mut image = self.images[drawn].clone();
            image.id = id;
            images.push(image);
            for annotation in &self.annotations[drawn] {
                let mut annotation = annotation.clone();
                annotation.image_id = id;
                annotation.id = annotations.len() as u64 + 1;
                annotations.push(annotation);
            }
        }
        hotcoco::Dataset {
            images,
            annotations,
            categories: self.categories.clone(),
            ..Default::default()
        }
    }
}

/// The results of the drawn images, with their ids in the sample.
fn drawn(groups: &[Vec<CocoResult>], sample: &[usize]) -> Vec<CocoResult> {
    let images = (1..).zip(sample);
    let of_image = |(image_id, &drawn): (u64, &usize)| {
        let results = groups[drawn].iter();
        results.map(move |result| CocoResult {
            image_id,
            ..result.clone()
        })
    };
    images.flat_map(of_image).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    fn dataset(images: usize) -> DetectionDataset {
        let shapes = ShapesConfig::default().with_train_images(images);
        DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap()
    }

    /// The ground truth as results. Boxes are shifted to the right by a fraction of their width
    /// that depends on the id of the image.
    fn found(dataset: &DetectionDataset, shift: impl Fn(u64) -> f64) -> Vec<CocoResult> {
        let annotations = dataset.to_coco().annotations;
        annotations
            .iter()
            .map(|annotation| {
                let [x, y, width, height] = annotation.bbox.unwrap();
                CocoResult {
                    image_id: annotation.image_id,
                    category_id: annotation.category_id,
                    bbox: [x + width * shift(annotation.image_id), y, width, height],
                    score: 0.9,
                }
            })
            .collect()
    }

    fn paired_bootstrap(
        dataset: &DetectionDataset,
        [results, baseline]: [&[CocoResult]; 2],
        resamples: usize,
        seed: u64,
    ) -> BTreeMap<CocoMetric, Vec<f64>> {
        let [with, without] = [results, baseline]
            .map(|results| resampled_metrics(dataset, results, resamples, seed).unwrap());
        paired_differences(&with, &without)
    }

    #[test]
    fn identical_results_have_zero_difference() {
        let dataset = dataset(12);
        let results = found(&dataset, |image| 0.02 * (image % 5) as f64);
        let lists = paired_bootstrap(&dataset, [&results, &results], 20, 1);
        assert_eq!(lists[&CocoMetric::AP], vec![0.0; 20]);
    }

    #[test]
    fn a_better_detector_is_better_on_every_sample() {
        let dataset = dataset(12);
        let good = found(&dataset, |_| 0.0);
        let bad = found(&dataset, |image| 0.1 + 0.02 * (image % 5) as f64);
        let lists = paired_bootstrap(&dataset, [&good, &bad], 40, 1);
        let differences = &lists[&CocoMetric::AP];
        assert_eq!(differences.len(), 40);
        assert!(differences.iter().all(|difference| *difference > 0.1));
        // Samples differ from each other and are reproduced by the same seed.
        assert!(differences.iter().any(|other| other != &differences[0]));
        let again = paired_bootstrap(&dataset, [&good, &bad], 40, 1);
        assert_eq!(lists, again);
        assert_ne!(lists, paired_bootstrap(&dataset, [&good, &bad], 40, 2));
    }

    /// Two images with one object each, detected only in the first.
    #[test]
    fn an_image_counts_as_often_as_it_is_drawn() {
        let image = |id| hotcoco::Image {
            id,
            width: 100,
            height: 100,
            ..Default::default()
        };
        let bbox = [10.0, 10.0, 40.0, 40.0];
        let object = |id| hotcoco::Annotation {
            id,
            image_id: id,
            category_id: 1,
            bbox: Some(bbox),
            area: Some(1600.0),
            ..Default::default()
        };
        let truth = ByImage::new(hotcoco::Dataset {
            images: vec![image(7), image(9)],
            annotations: vec![object(7), object(9)],
            categories: vec![hotcoco::Category {
                id: 1,
                name: "object".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        });
        let groups = truth.group(&[CocoResult {
            image_id: 7,
            category_id: 1,
            bbox,
            score: 0.9,
        }]);
        for (sample, recall) in [
            (vec![0, 1], 0.5),
            (vec![0, 1, 0, 0], 0.75),
            (vec![1, 1, 0], 1.0 / 3.0),
            (vec![1, 1], 0.0),
        ] {
            let report = coco_report(truth.sample(&sample), &drawn(&groups, &sample)).unwrap();
            let found = metrics(&report)[&CocoMetric::AR100].unwrap();
            assert!((found - recall).abs() < 1e-9, "{sample:?}: {found}");
        }
    }
}
