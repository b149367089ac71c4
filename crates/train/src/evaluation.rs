//! COCO evaluation of detections, and how well their scores know their IoU.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt::Write as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use fcos_burn_boxes::{BoundingBox, Detection, batched_nms, iou};
use fcos_burn_data::DetectionDataset;
use hotcoco::{COCO, COCOeval, EvalReport, params::IouType};
use serde::{Deserialize, Serialize};

use crate::{
    calibration::{CALIBRATION_BINS, calibration_error},
    correlation::{kendall, pearson, spearman},
    error::Error,
    run::write_json,
};

/// A figure of the COCO evaluation of boxes.
///
/// AP averages over the IoU thresholds 0.50, 0.55, … 0.95 with at most 100
/// detections an image; small objects are below 32² pixels of the original image,
/// large ones from 96² on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CocoFigure {
    /// Average precision.
    AP,
    /// AP at IoU 0.50.
    AP50,
    /// AP at IoU 0.75.
    AP75,
    /// AP at IoU 0.90 (the paper, Table I).
    AP90,
    /// AP of small objects.
    APS,
    /// AP of medium objects.
    APM,
    /// AP of large objects.
    APL,
    /// Average recall with 1 detection an image.
    AR1,
    /// Average recall with 10 detections an image.
    AR10,
    /// Average recall with 100 detections an image.
    AR100,
    /// AR of small objects.
    ARS,
    /// AR of medium objects.
    ARM,
    /// AR of large objects.
    ARL,
}

impl CocoFigure {
    /// All figures, in the order of COCO's table.
    pub const ALL: [Self; 13] = [
        Self::AP,
        Self::AP50,
        Self::AP75,
        Self::AP90,
        Self::APS,
        Self::APM,
        Self::APL,
        Self::AR1,
        Self::AR10,
        Self::AR100,
        Self::ARS,
        Self::ARM,
        Self::ARL,
    ];

    /// The figure's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AP => "AP",
            Self::AP50 => "AP50",
            Self::AP75 => "AP75",
            Self::AP90 => "AP90",
            Self::APS => "APS",
            Self::APM => "APM",
            Self::APL => "APL",
            Self::AR1 => "AR1",
            Self::AR10 => "AR10",
            Self::AR100 => "AR100",
            Self::ARS => "ARS",
            Self::ARM => "ARM",
            Self::ARL => "ARL",
        }
    }

    /// The figure's name in hotcoco's report, which has no AP90.
    fn key(self) -> Option<&'static str> {
        Some(match self {
            Self::AP90 => return None,
            Self::APS => "APs",
            Self::APM => "APm",
            Self::APL => "APl",
            Self::ARS => "ARs",
            Self::ARM => "ARm",
            Self::ARL => "ARl",
            other => other.name(),
        })
    }
}

/// Rank and linear correlation of scores with IoUs (the paper, Table II). `None` where it
/// is not defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreCorrelation {
    /// Pearson's correlation coefficient.
    #[serde(rename = "PCC")]
    pub pearson: Option<f64>,
    /// Spearman's rank correlation coefficient.
    #[serde(rename = "SCC")]
    pub spearman: Option<f64>,
    /// Kendall's rank correlation coefficient τ-b.
    #[serde(rename = "KCC")]
    pub kendall: Option<f64>,
}

impl ScoreCorrelation {
    /// The correlation of pairs of score and IoU.
    pub fn new(pairs: &[(f64, f64)]) -> Self {
        let (scores, ious): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
        Self {
            pearson: pearson(&scores, &ious),
            spearman: spearman(&scores, &ious),
            kendall: kendall(&scores, &ious),
        }
    }
}

/// The evaluation of a data set's detections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// COCO's figures as fractions; `None` where there is no ground truth for one
    /// (pycocotools prints −1).
    pub figures: BTreeMap<CocoFigure, Option<f64>>,
    /// AP of each class that has ground truth, by name; by name and id, as in `cup (3)`,
    /// where several classes have that name.
    pub class_ap: BTreeMap<String, f64>,
    /// Correlation of score and IoU over all detections.
    pub correlation: ScoreCorrelation,
    /// [Calibration error](crate::calibration) of the scores as predictions of the IoU
    /// over all detections; `None` without a detection.
    #[serde(default)]
    pub calibration_error: Option<f64>,
    /// Number of images.
    pub images: usize,
    /// Number of detections.
    pub detections: usize,
    /// Precision at [`recall`](Self::recall), averaged over the classes, by IoU
    /// threshold.
    #[serde(skip)]
    pub precision: BTreeMap<&'static str, Vec<f64>>,
    /// Recall thresholds of the curves.
    #[serde(skip)]
    pub recall: Vec<f64>,
    /// Score and IoU of each detection.
    #[serde(skip)]
    pub score_iou: Vec<(f64, f64)>,
}

/// Characters of the longest name that others are aligned with.
const LONGEST_NAME: usize = 40;

/// The IoU thresholds whose precision–recall curves an evaluation keeps.
const CURVES: [&str; 3] = ["0.50", "0.75", "0.90"];

impl Evaluation {
    /// Evaluates `detections`, pairs of an image's index and what was found in it,
    /// boxes in original pixels.
    ///
    /// The IoU of a detection is its largest with a ground-truth box of its class
    /// in its image, crowds left out, and 0 where there is none.
    ///
    /// # Errors
    ///
    /// Fails if the evaluation itself does, which names the cause.
    pub fn new(
        dataset: &DetectionDataset,
        detections: &[(usize, Vec<Detection>)],
    ) -> Result<Self, Error> {
        let results = results(dataset, detections)?;
        let report = coco_report(dataset.to_coco(), &results)?;
        let score_iou = score_iou(dataset, detections)?;
        let (scores, ious): (Vec<f64>, Vec<f64>) = score_iou.iter().copied().unzip();
        Ok(Self {
            figures: figures(&report),
            class_ap: report
                .per_class
                .iter()
                .filter_map(|(name, values)| Some((name.clone(), *values.get("AP")?)))
                .collect(),
            correlation: ScoreCorrelation::new(&score_iou),
            calibration_error: calibration_error(&scores, &ious, CALIBRATION_BINS),
            images: dataset.len(),
            detections: results.len(),
            precision: CURVES
                .iter()
                .filter_map(|threshold| Some((*threshold, curve(&report, threshold)?.clone())))
                .collect(),
            recall: report.curves.get("rec_thrs").cloned().unwrap_or_default(),
            score_iou,
        })
    }

    /// Writes the figures as JSON.
    ///
    /// # Errors
    ///
    /// Names the file if it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        write_json(path, self)
    }

    /// A figure as a fraction, if it is defined.
    pub fn figure(&self, figure: CocoFigure) -> Option<f64> {
        self.figures.get(&figure).copied().flatten()
    }

    /// The figures in percent, the correlations, the calibration error and the AP of
    /// each class, as a table for a terminal. Undefined values are shown as a dash.
    pub fn table(&self) -> String {
        let cell = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
        let percent = |value: Option<f64>| cell(value.map(|v| format!("{:.1}", 100.0 * v)));
        let plain = |value: Option<f64>| cell(value.map(|v| format!("{v:.3}")));
        let mut columns: Vec<(&str, String)> = CocoFigure::ALL
            .into_iter()
            .map(|figure| (figure.name(), percent(self.figure(figure))))
            .collect();
        columns.extend([
            ("PCC", plain(self.correlation.pearson)),
            ("SCC", plain(self.correlation.spearman)),
            ("KCC", plain(self.correlation.kendall)),
            ("ECE", plain(self.calibration_error)),
        ]);
        let mut table = String::new();
        let mut row = |pick: &dyn Fn(&(&str, String)) -> String| {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| format!("{:>5}", pick(column)))
                .collect();
            let _ = writeln!(table, "{}", cells.join(" "));
        };
        row(&|(name, _)| (*name).to_owned());
        row(&|(_, value)| value.clone());
        // A width has an upper limit, a name has none.
        let widths = self.class_ap.keys().map(|name| name.chars().count());
        let width = widths.max().unwrap_or(0).min(LONGEST_NAME);
        for (name, ap) in &self.class_ap {
            let name = name.replace(char::is_control, " ");
            let _ = writeln!(table, "{name:<width$} AP {:>5.1}", 100.0 * ap);
        }
        table
    }
}

/// What hotcoco finds for `results` on the images and objects of `truth`.
pub(crate) fn coco_report(
    mut truth: hotcoco::Dataset,
    results: &[CocoResult],
) -> Result<EvalReport, Error> {
    let failed = |error: hotcoco::Error| Error::Evaluation(error.to_string());
    // Whatever its class.
    if let Some(result) = results.iter().find(|result| result.score.is_nan()) {
        return Err(Error::Evaluation(format!(
            "a score in image {} is not a number",
            result.image_id
        )));
    }
    // A class without objects has no figures and counts for none, but would take memory.
    let objects = truth.annotations.iter();
    let occurring: HashSet<u64> = objects.map(|object| object.category_id).collect();
    if occurring.is_empty() {
        truth.categories.truncate(1);
    } else {
        truth
            .categories
            .retain(|category| occurring.contains(&category.id));
    }
    name_apart(&mut truth.categories);
    let evaluated: HashSet<u64> = truth
        .categories
        .iter()
        .map(|category| category.id)
        .collect();
    let truth = COCO::from_dataset(truth);
    let results = (results.iter()).filter(|result| evaluated.contains(&result.category_id));
    let annotations = results.map(|result| hotcoco::Annotation {
        image_id: result.image_id,
        category_id: result.category_id,
        bbox: Some(result.bbox),
        score: Some(result.score),
        ..Default::default()
    });
    let results = truth.load_res_anns(annotations.collect()).map_err(failed)?;
    let mut evaluator = COCOeval::new(truth, results, IouType::Bbox);
    evaluator.evaluate().map_err(failed)?;
    evaluator.accumulate();
    // This computes what the report is made of; `summarize` would print it.
    evaluator.summarize_lines();
    evaluator.report().map_err(failed)
}

/// Puts the ids behind names that several categories have, or none: figures are kept by
/// name.
fn name_apart(categories: &mut [hotcoco::Category]) {
    let mut count = HashMap::<String, usize>::new();
    for category in categories.iter() {
        *count.entry(category.name.clone()).or_default() += 1;
    }
    for category in categories {
        let shared = count.get(&category.name).is_some_and(|count| *count > 1);
        if shared || category.name.is_empty() {
            let name = format!("{} ({})", category.name, category.id);
            category.name = name.trim_start().to_owned();
        }
    }
}

/// Whether a detector localizes objects, but misclassifies too many of them: `ap` is below 80%
/// of `any_class_ap`, its AP where every class is taken for the same one.
///
/// ```
/// use fcos_burn_train::evaluation::is_class_confused;
///
/// assert!(is_class_confused(0.33, 0.52));
/// assert!(!is_class_confused(0.50, 0.52));
/// ```
pub fn is_class_confused(ap: f64, any_class_ap: f64) -> bool {
    ap < 0.8 * any_class_ap
}

/// COCO's figures for `results` on `dataset` where every class is taken for the same one:
/// what a detector finds and how well its boxes fit, whatever it calls it. Results that
/// overlap better ones of their image by an IoU above `nms_iou_threshold` are left out, as
/// suppression leaves them out within a class. `None` where there is no ground truth for
/// a figure.
///
/// # Errors
///
/// Fails if the evaluation does, which names the cause.
pub fn class_agnostic_figures(
    dataset: &DetectionDataset,
    results: &[CocoResult],
    nms_iou_threshold: f32,
) -> Result<BTreeMap<CocoFigure, Option<f64>>, Error> {
    let mut truth = dataset.to_coco();
    // The class with label 0.
    truth.categories.truncate(1);
    let Some(category) = truth.categories.first().map(|category| category.id) else {
        return Ok(CocoFigure::ALL.map(|figure| (figure, None)).into());
    };
    for annotation in &mut truth.annotations {
        annotation.category_id = category;
    }
    let suppressed: Vec<(usize, Vec<Detection>)> = detections(dataset, results)?
        .into_iter()
        .map(|(image, found)| {
            let of_one_class = found
                .into_iter()
                .map(|found| Detection { label: 0, ..found });
            let kept = batched_nms(of_one_class.collect(), nms_iou_threshold);
            (image, kept.collect())
        })
        .collect();
    let results = self::results(dataset, &suppressed)?;
    Ok(figures(&coco_report(truth, &results)?))
}

/// All of COCO's figures in a report; `None` where there is no ground truth for one.
pub(crate) fn figures(report: &EvalReport) -> BTreeMap<CocoFigure, Option<f64>> {
    let defined = |value: f64| (value >= 0.0).then_some(value);
    let ap90 = curve(report, "0.90")
        .map(|precision| precision.iter().sum::<f64>() / precision.len() as f64)
        .and_then(defined);
    CocoFigure::ALL
        .into_iter()
        .map(|figure| {
            let value = match figure.key() {
                Some(key) => report.metrics.get(key).copied().and_then(defined),
                None => ap90,
            };
            (figure, value)
        })
        .collect()
}

/// Precision by recall at an IoU threshold.
fn curve<'a>(report: &'a EvalReport, threshold: &str) -> Option<&'a Vec<f64>> {
    report.curves.get(&format!("pr@{threshold}"))
}

/// One detection in COCO's results format.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CocoResult {
    /// The image's id in the annotations.
    pub image_id: u64,
    /// The category's id in the annotations.
    pub category_id: u64,
    /// Left, top, width and height in pixels of the original image.
    pub bbox: [f64; 4],
    /// Score in [0, 1].
    pub score: f64,
}

/// `detections` of a data set in COCO's results format.
///
/// # Errors
///
/// Fails if an image or a class is not the data set's.
pub fn results(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
) -> Result<Vec<CocoResult>, Error> {
    let mut results = Vec::new();
    for (image, detections) in detections {
        let image_id = dataset.record(*image)?.id;
        for detection in detections {
            let category = dataset.categories().get(detection.label).ok_or_else(|| {
                Error::Evaluation(format!(
                    "the model found class {}, but {} has {} classes",
                    detection.label,
                    dataset.name(),
                    dataset.categories().len()
                ))
            })?;
            results.push(CocoResult {
                image_id,
                category_id: category.id,
                bbox: xywh(detection.bbox),
                score: detection.score.into(),
            });
        }
    }
    Ok(results)
}

/// The detections that [`results`] of a data set hold, pairs of an image's index and what
/// was found in it.
///
/// # Errors
///
/// Fails if an image or a category is not the data set's.
pub fn detections(
    dataset: &DetectionDataset,
    results: &[CocoResult],
) -> Result<Vec<(usize, Vec<Detection>)>, Error> {
    let ids = dataset.images().iter().map(|image| image.id);
    let places: HashMap<u64, usize> = ids.zip(0..).collect();
    let categories = dataset.categories().iter().map(|category| category.id);
    let labels: HashMap<u64, usize> = categories.zip(0..).collect();
    let unknown = |what: &str, id: u64| {
        Error::Evaluation(format!(
            "the results name {what} {id}, which {} has not",
            dataset.name()
        ))
    };
    let mut found = BTreeMap::<usize, Vec<Detection>>::new();
    for result in results {
        let place = places.get(&result.image_id);
        let place = place.ok_or_else(|| unknown("image", result.image_id))?;
        let label = labels.get(&result.category_id);
        let label = label.ok_or_else(|| unknown("category", result.category_id))?;
        found.entry(*place).or_default().push(Detection {
            bbox: BoundingBox::from_xywh(result.bbox).to_xyxy(),
            label: *label,
            score: result.score as f32,
        });
    }
    Ok(found.into_iter().collect())
}

/// A box as COCO writes it: left, top, width, height.
pub(crate) fn xywh(bbox: [f32; 4]) -> [f64; 4] {
    let [x1, y1, x2, y2] = bbox.map(f64::from);
    [x1, y1, x2 - x1, y2 - y1]
}

/// Score and IoU of each detection: the largest IoU with a ground-truth box of its class
/// in its image, crowds left out, and 0 where there is none.
///
/// # Errors
///
/// Fails if an image is not the data set's.
pub fn score_iou(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
) -> Result<Vec<(f64, f64)>, Error> {
    let mut pairs = Vec::new();
    for (image, detections) in detections {
        let objects = &dataset.record(*image)?.objects;
        for detection in detections {
            let best = objects
                .iter()
                .filter(|object| object.label == detection.label && !object.iscrowd)
                .map(|object| iou(&detection.bbox, &object.bbox.to_xyxy()))
                .fold(0.0, f32::max);
            pairs.push((detection.score.into(), best.into()));
        }
    }
    Ok(pairs)
}

/// The evaluator that the COCO metrics of a training share.
#[derive(Clone)]
pub struct SharedEvaluator {
    dataset: Arc<DetectionDataset>,
    state: Arc<Mutex<EvaluatorState>>,
}

#[derive(Default)]
struct EvaluatorState {
    detections: BTreeMap<usize, Vec<Detection>>,
    evaluation: Option<Evaluation>,
}

impl SharedEvaluator {
    /// An evaluator over `dataset`.
    pub fn new(dataset: Arc<DetectionDataset>) -> Self {
        Self {
            dataset,
            state: Arc::default(),
        }
    }

    /// Takes the detections of some images. The first ones after an evaluation
    /// start the next; an image that was taken already is not taken again.
    pub fn add(&self, images: &[(usize, Vec<Detection>)]) {
        let mut state = self.lock();
        if state.evaluation.take().is_some() {
            state.detections.clear();
        }
        for (image, detections) in images {
            state
                .detections
                .entry(*image)
                .or_insert_with(|| detections.clone());
        }
    }

    /// A figure over what was taken, if it is defined and the evaluation does not fail.
    pub fn figure(&self, figure: CocoFigure) -> Option<f64> {
        self.evaluation().ok()?.figure(figure)
    }

    /// The evaluation of what was taken.
    ///
    /// # Errors
    ///
    /// As [`Evaluation::new`].
    pub fn evaluation(&self) -> Result<Evaluation, Error> {
        let mut state = self.lock();
        if let Some(evaluation) = &state.evaluation {
            return Ok(evaluation.clone());
        }
        let detections: Vec<_> = std::mem::take(&mut state.detections).into_iter().collect();
        let evaluation = Evaluation::new(&self.dataset, &detections);
        match &evaluation {
            Ok(evaluation) => state.evaluation = Some(evaluation.clone()),
            // Whoever asks next is told the same.
            Err(_) => state.detections = detections.into_iter().collect(),
        }
        evaluation
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, EvaluatorState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    #[test]
    fn an_evaluation_that_fails_is_no_evaluation_of_nothing() {
        let shapes = ShapesConfig {
            val_images: 1,
            ..ShapesConfig::default()
        };
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let evaluator = SharedEvaluator::new(Arc::new(dataset));
        evaluator.add(&[(
            0,
            vec![Detection {
                bbox: [0.0, 0.0, 4.0, 4.0],
                label: 0,
                score: f32::NAN,
            }],
        )]);
        for _ in 0..2 {
            assert_eq!(evaluator.figure(CocoFigure::AP), None);
            assert!(evaluator.evaluation().is_err());
        }
    }

    #[test]
    fn classes_of_one_name_are_told_apart_and_those_without_objects_left_out() {
        let shapes = ShapesConfig {
            val_images: 4,
            ..ShapesConfig::default()
        };
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let mut truth = dataset.to_coco();
        let results: Vec<CocoResult> = (truth.annotations.iter())
            .map(|annotation| CocoResult {
                image_id: annotation.image_id,
                category_id: annotation.category_id,
                bbox: annotation.bbox.unwrap(),
                score: 0.9,
            })
            .collect();
        let occurring: HashSet<u64> = (results.iter()).map(|result| result.category_id).collect();
        for category in &mut truth.categories {
            category.name = "thing".to_owned();
        }
        // More than could be evaluated, if they were.
        truth
            .categories
            .extend((100..200_000).map(|id| hotcoco::Category {
                id,
                name: format!("class {id}"),
                ..Default::default()
            }));
        let report = coco_report(truth, &results).unwrap();
        let names: HashSet<String> = report.per_class.keys().cloned().collect();
        let expected = occurring.iter().map(|id| format!("thing ({id})"));
        assert_eq!(names, expected.collect());
        assert!((figures(&report)[&CocoFigure::AP].unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn results_hold_the_detections_they_were_made_of() {
        let shapes = ShapesConfig {
            val_images: 2,
            ..ShapesConfig::default()
        };
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let found = vec![(
            1,
            vec![Detection {
                bbox: [1.0, 2.0, 5.5, 8.0],
                label: 3,
                score: 0.25,
            }],
        )];
        let written = results(&dataset, &found).unwrap();
        assert_eq!(detections(&dataset, &written).unwrap(), found);
        let of_another = CocoResult {
            category_id: 99,
            ..written[0].clone()
        };
        let error = detections(&dataset, &[of_another]).unwrap_err();
        assert!(error.to_string().contains("category 99"), "{error}");
    }

    #[test]
    fn without_classes_a_wrong_one_is_no_mistake() {
        let shapes = ShapesConfig {
            train_images: 8,
            ..ShapesConfig::default()
        };
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Train).unwrap();
        let truth = dataset.to_coco();
        let results: Vec<CocoResult> = (truth.annotations.iter())
            .map(|annotation| CocoResult {
                image_id: annotation.image_id,
                // Every second object has the class of the next.
                category_id: 1 + (annotation.category_id - 1 + annotation.id % 2) % 6,
                bbox: annotation.bbox.unwrap(),
                score: 0.9,
            })
            .collect();
        let with_classes = figures(&coco_report(truth, &results).unwrap())[&CocoFigure::AP];
        assert!(with_classes.unwrap() < 0.8);
        let ap = |results: &[CocoResult]| {
            class_agnostic_figures(&dataset, results, 0.6).unwrap()[&CocoFigure::AP].unwrap()
        };
        assert!((ap(&results) - 1.0).abs() < 1e-6);
        // Nor is a second one of the same object, if its score is lower.
        let mut twice = results.clone();
        twice.extend(results.into_iter().map(|result| CocoResult {
            category_id: 1 + result.category_id % 6,
            score: 0.8,
            ..result
        }));
        assert!((ap(&twice) - 1.0).abs() < 1e-6);
        assert_eq!(ap(&[]), 0.0);
    }
}
