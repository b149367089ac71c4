//! Single errors of a detector, and what each costs.

use std::collections::HashMap;

use crate::{
    error_cost::{ErrorKind, missed},
    matching::{ImageMatches, Matching},
};

/// An error at a score threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ErrorCase {
    /// Its kind.
    pub kind: ErrorKind,
    /// The index of the image.
    pub image: usize,
    /// The label of the detection, or of the missed object.
    pub label: usize,
    /// The index of the wrong detection in the image; `None` for a missed object.
    pub detection: Option<usize>,
    /// The index of the object concerned in the image; `None` if there is none.
    pub object: Option<usize>,
    /// The rise in AP if this error alone were corrected, as a fraction.
    pub cost: f64,
}

/// The errors of the detections with at least this score, the costliest first. Of equal costs, the larger box is first.
///
/// AP is that at the IoU threshold of the matching, averaged over the classes with objects. It depends on all
/// detections, whatever their scores. Unlike COCO's AP, it is not interpolated, so that no error costs nothing only
/// because a later detection has a higher precision. For `n` objects of a class, it is
///
/// `AP = 1/n Σ_i precision(i)`
///
/// where `i` runs over the ranks, by descending score, of the detections that find an object, and `precision(i)` is the
/// fraction of the first `i` detections that find one.
///
/// An error is corrected as in [`error_cost`](crate::error_cost):
///
/// - a classification or localization error finds its object, with its own score, or is removed if the object is found;
/// - another wrong detection is removed;
/// - a missed object is found with the highest score. Other detections keep their ranks. If a detection with a score
///   below the threshold finds it, that no longer counts. The cost is thus `(1 − p) / n` with the precision `p` at that
///   detection, or `1 / n` if there is none: the share of its class in the recall.
pub fn error_cases(matching: &Matching, score_threshold: f32) -> Vec<ErrorCase> {
    let rankings = Rankings::new(matching);
    let mut cases = Vec::new();
    for (index, image) in matching.images().iter().enumerate() {
        for row in image.wrong(score_threshold) {
            let outcome = image.outcomes[row];
            if let Some(kind) = ErrorKind::of(outcome) {
                cases.push(ErrorCase {
                    kind,
                    image: index,
                    label: image.detections[row].label,
                    detection: Some(row),
                    object: outcome.object(),
                    cost: rankings.cost_of_detection(image, index, row),
                });
            }
        }
        for object in missed(image, score_threshold) {
            cases.push(ErrorCase {
                kind: ErrorKind::Missed,
                image: index,
                label: image.objects[object].label,
                detection: None,
                object: Some(object),
                cost: rankings.cost_of_missed(image, index, object),
            });
        }
    }
    let area = |case: &ErrorCase| {
        let image = &matching.images()[case.image];
        let [x1, y1, x2, y2] = match (case.detection, case.object) {
            (Some(row), _) => image.detections[row].bbox,
            (None, Some(object)) => image.objects[object].bbox.to_xyxy(),
            (None, None) => [0.0; 4],
        };
        (x2 - x1) * (y2 - y1)
    };
    cases.sort_by(|a, b| {
        let by_cost = b.cost.total_cmp(&a.cost);
        by_cost.then_with(|| area(b).total_cmp(&area(a)))
    });
    cases
}

/// The rankings of all classes.
struct Rankings {
    classes: Vec<Ranking>,
    /// The place of each detection, by image and row, in the ranking of its class.
    places: HashMap<[usize; 2], usize>,
    /// The number of classes with objects.
    with_objects: usize,
}

impl Rankings {
    fn new(matching: &Matching) -> Self {
        let mut detections = vec![Vec::new(); matching.classes().len()];
        let mut objects = vec![0; matching.classes().len()];
        for (index, image) in matching.images().iter().enumerate() {
            for object in image.objects.iter().filter(|object| !object.iscrowd) {
                objects[object.label] += 1;
            }
            for (row, detection) in image.detections.iter().enumerate() {
                let outcome = image.outcomes[row];
                let is_correct = !outcome.is_error();
                if !outcome.is_ignored() {
                    detections[detection.label].push((detection.score, is_correct, [index, row]));
                }
            }
        }
        let mut places = HashMap::new();
        let classes = detections.into_iter().zip(&objects);
        let classes = classes.map(|(mut detections, &objects)| {
            detections.sort_by(|a, b| b.0.total_cmp(&a.0));
            places.extend((detections.iter().zip(0..)).map(|(&(_, _, key), place)| (key, place)));
            let ranked = detections.iter();
            let ranked = ranked.map(|&(score, is_correct, _)| (score, is_correct));
            Ranking::new(ranked.collect(), objects)
        });
        Self {
            classes: classes.collect(),
            places,
            with_objects: objects.iter().filter(|&&count| count > 0).count(),
        }
    }

    fn cost_of_detection(&self, image: &ImageMatches, index: usize, row: usize) -> f64 {
        let detection = &image.detections[row];
        let ranking = &self.classes[detection.label];
        let Some(&place) = self.places.get(&[index, row]) else {
            return 0.0;
        };
        let object = image.outcomes[row].within_reach();
        let rise = match object.filter(|&object| image.found_by[object].is_none()) {
            None => ranking.removed(place),
            Some(object) if image.objects[object].label == detection.label => {
                ranking.corrected(place)
            }
            Some(object) => {
                let other = &self.classes[image.objects[object].label];
                ranking.removed(place) + other.inserted(detection.score)
            }
        };
        self.averaged(rise)
    }

    fn cost_of_missed(&self, image: &ImageMatches, index: usize, object: usize) -> f64 {
        let ranking = &self.classes[image.objects[object].label];
        let found = image.found_by[object].and_then(|row| self.places.get(&[index, row]));
        let precision = found.map_or(0.0, |&place| ranking.precision(place));
        self.averaged(ranking.share(1.0 - precision))
    }

    fn averaged(&self, rise: f64) -> f64 {
        rise / self.with_objects.max(1) as f64
    }
}

/// The detections of a class by descending score. Places are counted from 0, ranks from 1.
struct Ranking {
    scores: Vec<f32>,
    objects: usize,
    /// The number of correct detections before each place, and in all.
    correct: Vec<usize>,
    /// For the correct detections from each place on, the sum of how much their precision rises if a wrong detection
    /// before them is removed, …
    if_removed: Vec<f64>,
    /// … is correct instead, …
    if_corrected: Vec<f64>,
    /// … or if a correct detection is inserted before them.
    if_inserted: Vec<f64>,
}

impl Ranking {
    fn new(detections: Vec<(f32, bool)>, objects: usize) -> Self {
        let mut correct = vec![0];
        for (place, (_, is_correct)) in detections.iter().enumerate() {
            correct.push(correct[place] + usize::from(*is_correct));
        }
        let count = detections.len();
        let mut sums = [0.0; 3].map(|zero| vec![zero; count + 1]);
        for place in (0..count).rev() {
            let rank = (place + 1) as f64;
            let found = correct[place + 1] as f64;
            let precision = found / rank;
            // Nothing is before the first place.
            let shorter = if place == 0 {
                precision
            } else {
                found / (rank - 1.0)
            };
            let rises = [
                shorter - precision,
                1.0 / rank,
                (found + 1.0) / (rank + 1.0) - precision,
            ];
            for (sum, rise) in sums.iter_mut().zip(rises) {
                sum[place] = sum[place + 1] + if detections[place].1 { rise } else { 0.0 };
            }
        }
        let [if_removed, if_corrected, if_inserted] = sums;
        Self {
            scores: detections.into_iter().map(|(score, _)| score).collect(),
            objects,
            correct,
            if_removed,
            if_corrected,
            if_inserted,
        }
    }

    /// The precision at a place.
    fn precision(&self, place: usize) -> f64 {
        self.correct[place + 1] as f64 / (place + 1) as f64
    }

    /// The rise of AP if the wrong detection at a place is removed.
    fn removed(&self, place: usize) -> f64 {
        self.share(self.if_removed[place + 1])
    }

    /// The rise of AP if the wrong detection at a place finds an object.
    fn corrected(&self, place: usize) -> f64 {
        let own = (self.correct[place] + 1) as f64 / (place + 1) as f64;
        self.share(own + self.if_corrected[place + 1])
    }

    /// The rise of AP if a further detection with this score finds an object.
    fn inserted(&self, score: f32) -> f64 {
        let place = self.scores.partition_point(|other| *other >= score);
        let own = (self.correct[place] + 1) as f64 / (place + 1) as f64;
        self.share(own + self.if_inserted[place])
    }

    /// A sum of precisions as a part of AP. A class without objects has no AP.
    fn share(&self, precision: f64) -> f64 {
        match self.objects {
            0 => 0.0,
            objects => precision / objects as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use fcos_burn_boxes::Detection;
    use fcos_burn_data::{
        DetectionDataset,
        shapes::{ShapesConfig, ShapesSplit},
    };

    use super::*;

    /// Objects found with noise: moved, of another class, twice, not at all, and boxes on the background. All scores
    /// differ.
    fn noisy(dataset: &DetectionDataset) -> Vec<(usize, Vec<Detection>)> {
        let mut count = 0_u32;
        let mut random = || {
            count += 1;
            (count.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32
        };
        let images = dataset.images().iter().enumerate();
        let found = images.map(|(index, image)| {
            let mut found = Vec::new();
            for object in &image.objects {
                for _ in 0..(3.0 * random()) as usize {
                    let [x1, y1, x2, y2] = object.bbox.to_xyxy();
                    let shift = (x2 - x1) * random().powi(2);
                    let label = match random() < 0.3 {
                        true => (object.label + 1) % dataset.categories().len(),
                        false => object.label,
                    };
                    found.push(Detection {
                        bbox: [x1 + shift, y1, x2 + shift, y2],
                        label,
                        score: random(),
                    });
                }
            }
            found.push(Detection {
                bbox: [0.0, 0.0, 3.0, 3.0],
                label: 0,
                score: random(),
            });
            (index, found)
        });
        found.collect()
    }

    /// AP by its definition, from the detections of each class by score and whether they are correct.
    fn mean_ap(detections: &[(usize, f32, bool)], objects: &BTreeMap<usize, usize>) -> f64 {
        let ap = |(&label, &objects): (&usize, &usize)| {
            let mut of_class: Vec<_> = detections.iter().filter(|of| of.0 == label).collect();
            of_class.sort_by(|a, b| b.1.total_cmp(&a.1));
            let precision = |place: usize| {
                let first = &of_class[..=place];
                first.iter().filter(|of| of.2).count() as f64 / first.len() as f64
            };
            let correct = (0..of_class.len()).filter(|&place| of_class[place].2);
            correct.map(precision).sum::<f64>() / objects as f64
        };
        objects.iter().map(ap).sum::<f64>() / objects.len() as f64
    }

    #[test]
    fn the_cost_of_an_error_is_what_correcting_it_adds_to_ap() {
        let shapes = ShapesConfig::default().with_val_images(30);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let matching = Matching::new(&dataset, &noisy(&dataset), 0.5).unwrap();
        let mut objects = BTreeMap::new();
        for object in dataset.images().iter().flat_map(|image| &image.objects) {
            *objects.entry(object.label).or_default() += 1;
        }
        // All detections, but for one.
        let without = |left_out: Option<[usize; 2]>| {
            let mut list = Vec::new();
            for (index, image) in matching.images().iter().enumerate() {
                for (row, of) in image.detections.iter().enumerate() {
                    if left_out != Some([index, row]) {
                        list.push((of.label, of.score, !image.outcomes[row].is_error()));
                    }
                }
            }
            list
        };
        // The terms of the AP of a class: the precision at each correct detection.
        let terms = |label: usize| {
            let all = without(None);
            let mut terms = BTreeMap::new();
            for (index, image) in matching.images().iter().enumerate() {
                for (row, own) in image.detections.iter().enumerate() {
                    if own.label == label && !image.outcomes[row].is_error() {
                        let first = all.iter().filter(|of| of.0 == label && of.1 >= own.score);
                        let first: Vec<bool> = first.map(|of| of.2).collect();
                        let correct = first.iter().filter(|is_correct| **is_correct).count();
                        terms.insert([index, row], correct as f64 / first.len() as f64);
                    }
                }
            }
            terms
        };
        let ap = mean_ap(&without(None), &objects);
        let cases = error_cases(&matching, 0.2);
        // With a higher threshold, more objects are found too late.
        let further = error_cases(&matching, 0.5);
        let mut kinds = BTreeMap::<ErrorKind, usize>::new();
        let mut found_late = 0;
        for case in cases.iter().chain(&further) {
            *kinds.entry(case.kind).or_default() += 1;
            let image = &matching.images()[case.image];
            let Some(row) = case.detection else {
                // The object has the precision 1, instead of that of the detection that finds it.
                let mut terms = terms(case.label);
                let before: f64 = terms.values().sum();
                let finder = image.found_by[case.object.unwrap()];
                let own = finder.and_then(|row| terms.remove(&[case.image, row]));
                found_late += usize::from(own.is_some_and(|own| 0.0 < own && own < 1.0));
                let after = terms.values().sum::<f64>() + 1.0;
                let rise = (after - before) / objects[&case.label] as f64 / objects.len() as f64;
                assert!((case.cost - rise).abs() < 1e-12, "{case:?}: {rise}");
                continue;
            };
            let mut corrected = without(Some([case.image, row]));
            let is_reached = matches!(
                case.kind,
                ErrorKind::Classification | ErrorKind::Localization
            );
            if let Some(object) = case.object.filter(|_| is_reached)
                && image.found_by[object].is_none()
            {
                let score = image.detections[row].score;
                corrected.push((image.objects[object].label, score, true));
            }
            let rise = mean_ap(&corrected, &objects) - ap;
            assert!((case.cost - rise).abs() < 1e-12, "{case:?}: {rise}");
        }
        assert_eq!(kinds.len(), ErrorKind::ALL.len(), "{kinds:?}");
        assert!(found_late > 0);
        assert!(cases.is_sorted_by(|a, b| a.cost >= b.cost));
    }

    #[test]
    fn a_missed_object_costs_its_share_of_the_recall() {
        let shapes = ShapesConfig::default().with_val_images(20);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let objects = |label: usize| {
            let all = dataset.images().iter().flat_map(|image| &image.objects);
            all.filter(|object| object.label == label).count()
        };
        let object = dataset.images()[0].objects[0].clone();
        let faint = Detection {
            bbox: object.bbox.to_xyxy(),
            label: object.label,
            score: 0.1,
        };
        let matching = Matching::new(&dataset, &[(0, vec![faint])], 0.5).unwrap();
        let classes = dataset.categories().len();
        let present = (0..classes).filter(|&label| objects(label) > 0).count();
        let cases = error_cases(&matching, 0.5);
        assert_eq!(cases.len(), dataset.object_count());
        for case in cases {
            // The faint detection has a precision of 1, so that finding its object earlier adds nothing.
            let share = match (case.image, case.object) {
                (0, Some(0)) => 0.0,
                _ => 1.0 / objects(case.label) as f64,
            };
            assert!(
                (case.cost - share / present as f64).abs() < 1e-12,
                "{case:?}"
            );
        }
    }
}
