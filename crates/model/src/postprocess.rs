//! Decoding of predictions into detections in the pixels of the original image.

use fcos_burn_boxes::{Detection, Nms, NmsMethod, Suppression};
use serde::{Deserialize, Serialize};

use fcos_burn_loss::ConfigError;

use crate::locations::LevelGrid;

/// Thresholds and limits of detections. The defaults are FCOS's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct PostprocessConfig {
    /// Candidates have to exceed this.
    pub score_threshold: f32,
    /// The quantity that is compared with the score threshold.
    pub score_threshold_on: ScoreThresholdOn,
    /// Exponent `α` of the class probability in the score `p̂^α · q^(1−α)` of a head that predicts a
    /// quality `q`, center-ness or IoU: greater than 0 and at most 1, by default 0.5. At 1, the score
    /// is `p̂`.
    #[serde(
        default = "equal_exponents",
        skip_serializing_if = "is_equal_exponents"
    )]
    pub score_exponent: f32,
    /// How many of each level's candidates with the highest scores enter non-maximum
    /// suppression.
    pub candidates_per_level: usize,
    /// IoU above which the lower-scored of two boxes of a class is suppressed.
    pub nms_iou_threshold: f32,
    /// What suppression does to the lower-scored box.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nms_method: NmsMethod,
    /// The most detections of an image.
    pub detections_per_image: usize,
    /// Which boxes suppress each other.
    #[serde(default, skip_serializing_if = "is_default")]
    pub suppression: Suppression,
    /// The labels of the classes to detect; `None` for all. Others are no candidates, so they suppress nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<usize>>,
}

/// Whether a value is left out of files, which earlier versions can then read.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The [score exponent](PostprocessConfig::score_exponent) of FCOS: √(p̂·q).
const EQUAL_EXPONENTS: f32 = 0.5;

fn equal_exponents() -> f32 {
    EQUAL_EXPONENTS
}

fn is_equal_exponents(exponent: &f32) -> bool {
    *exponent == EQUAL_EXPONENTS
}

impl Default for PostprocessConfig {
    fn default() -> Self {
        Self {
            score_threshold: 0.05,
            score_threshold_on: ScoreThresholdOn::ClassProbability,
            score_exponent: EQUAL_EXPONENTS,
            candidates_per_level: 1000,
            nms_iou_threshold: 0.6,
            nms_method: NmsMethod::default(),
            detections_per_image: 100,
            suppression: Suppression::default(),
            classes: None,
        }
    }
}

impl PostprocessConfig {
    /// Those of `classes`, one for each label in order, that are detected.
    ///
    /// ```
    /// use fcos_burn_model::postprocess::PostprocessConfig;
    ///
    /// let config = PostprocessConfig::default().with_classes(Some(vec![2, 0]));
    /// assert_eq!(config.detected(&["cat", "dog", "bird"]), ["cat", "bird"]);
    /// ```
    pub fn detected<T: Clone>(&self, classes: &[T]) -> Vec<T> {
        let labeled = classes.iter().enumerate();
        let detected = labeled.filter(|(label, _)| self.detects(*label));
        detected.map(|(_, class)| class.clone()).collect()
    }

    /// Sets [`score_threshold`](Self::score_threshold).
    #[must_use]
    pub fn with_score_threshold(self, score_threshold: f32) -> Self {
        Self {
            score_threshold,
            ..self
        }
    }

    /// Sets [`score_threshold_on`](Self::score_threshold_on).
    #[must_use]
    pub fn with_score_threshold_on(self, score_threshold_on: ScoreThresholdOn) -> Self {
        Self {
            score_threshold_on,
            ..self
        }
    }

    /// Sets [`score_exponent`](Self::score_exponent).
    #[must_use]
    pub fn with_score_exponent(self, score_exponent: f32) -> Self {
        Self {
            score_exponent,
            ..self
        }
    }

    /// Sets [`candidates_per_level`](Self::candidates_per_level).
    #[must_use]
    pub fn with_candidates_per_level(self, candidates_per_level: usize) -> Self {
        Self {
            candidates_per_level,
            ..self
        }
    }

    /// Sets [`nms_iou_threshold`](Self::nms_iou_threshold).
    #[must_use]
    pub fn with_nms_iou_threshold(self, nms_iou_threshold: f32) -> Self {
        Self {
            nms_iou_threshold,
            ..self
        }
    }

    /// Sets [`nms_method`](Self::nms_method).
    #[must_use]
    pub fn with_nms_method(self, nms_method: NmsMethod) -> Self {
        Self { nms_method, ..self }
    }

    /// Sets [`detections_per_image`](Self::detections_per_image).
    #[must_use]
    pub fn with_detections_per_image(self, detections_per_image: usize) -> Self {
        Self {
            detections_per_image,
            ..self
        }
    }

    /// Sets [`suppression`](Self::suppression).
    #[must_use]
    pub fn with_suppression(self, suppression: Suppression) -> Self {
        Self {
            suppression,
            ..self
        }
    }

    /// Sets [`classes`](Self::classes).
    #[must_use]
    pub fn with_classes(self, classes: Option<Vec<usize>>) -> Self {
        Self { classes, ..self }
    }

    /// The configured non-maximum suppression.
    pub fn nms(&self) -> Nms {
        Nms::new(self.nms_iou_threshold)
            .with_method(self.nms_method)
            .with_suppression(self.suppression)
    }

    /// Whether the class with this label is detected.
    pub fn detects(&self, label: usize) -> bool {
        (self.classes.as_ref()).is_none_or(|classes| classes.contains(&label))
    }

    /// The score of a class probability `p̂` and a quality `q`.
    fn score(&self, probability: f32, quality: f32) -> f32 {
        match self.score_exponent {
            EQUAL_EXPONENTS => (probability * quality).sqrt(),
            exponent => probability.powf(exponent) * quality.powf(1.0 - exponent),
        }
    }

    /// The class logit that a candidate has to exceed, with or without a quality in its score. Where
    /// the score is what is compared, it has to exceed the score threshold, too.
    ///
    /// The sigmoid is monotonic: comparing logits saves computing it at the many locations that
    /// predict background.
    pub fn least_class_logit(&self, with_quality: bool) -> f32 {
        // As q ≤ 1, a score √(p̂·q) above the threshold needs p̂ above its square.
        logit(match (self.score_threshold_on, self.score_exponent) {
            (ScoreThresholdOn::Score, EQUAL_EXPONENTS) if with_quality => {
                self.score_threshold.powi(2)
            }
            (ScoreThresholdOn::Score, exponent) if with_quality => {
                self.score_threshold.powf(exponent.recip())
            }
            _ => self.score_threshold,
        })
    }

    /// Checks every value.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("candidates_per_level", self.candidates_per_level),
            ("detections_per_image", self.detections_per_image),
        ] {
            ConfigError::ensure(value > 0, field, value, "at least 1")?;
        }
        for (field, value) in [
            ("score_threshold", self.score_threshold),
            ("nms_iou_threshold", self.nms_iou_threshold),
        ] {
            ConfigError::ensure(
                (0.0..=1.0).contains(&value),
                field,
                value,
                "between 0 and 1",
            )?;
        }
        if let NmsMethod::SoftGaussian { sigma } = self.nms_method {
            let holds = sigma > 0.0 && sigma.is_finite();
            ConfigError::ensure(holds, "nms_method.soft-gaussian.sigma", sigma, "above 0")?;
        }
        let exponent = self.score_exponent;
        let holds = exponent > 0.0 && exponent <= 1.0;
        ConfigError::ensure(holds, "score_exponent", exponent, "above 0 and at most 1")?;
        Ok(())
    }

    /// Checks the labels of [`classes`](Self::classes) for a detector with this number of classes.
    pub(crate) fn validate_classes(&self, num_classes: usize) -> Result<(), ConfigError> {
        let Some(classes) = &self.classes else {
            return Ok(());
        };
        let holds = !classes.is_empty() && classes.iter().all(|label| *label < num_classes);
        let requirement = format!("labels below {num_classes}, at least one");
        ConfigError::ensure(holds, "classes", format!("{classes:?}"), requirement)
    }
}

/// The quantity that has to exceed the score threshold. If the head predicts no quality, both
/// are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ScoreThresholdOn {
    /// The class probability p̂ alone (FCOS).
    ClassProbability,
    /// The score, √(p̂·q) by default, with a quality q (torchvision: center-ness).
    Score,
}

/// Sizes of an image before and after resizing, by which boxes are mapped back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFrame {
    /// `[height, width]` in pixels of the network's input, without padding.
    pub input_size: [usize; 2],
    /// `[height, width]` in pixels of the original image.
    pub original_size: [usize; 2],
}

impl ImageFrame {
    /// The frame of an image of `[height, width]` pixels that was not resized.
    pub fn unscaled(size: [usize; 2]) -> Self {
        Self {
            input_size: size,
            original_size: size,
        }
    }

    /// Clips a box in input pixels to the image.
    fn clip(self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let [height, width] = self.input_size.map(|side| side as f32);
        let x = |value: f32| value.clamp(0.0, width);
        let y = |value: f32| value.clamp(0.0, height);
        [x(x1), y(y1), x(x2), y(y2)]
    }

    /// Maps a box in input pixels to original pixels.
    fn to_original(self, [x1, y1, x2, y2]: [f32; 4]) -> [f32; 4] {
        let [vertical, horizontal] = std::array::from_fn(|axis| {
            self.original_size[axis] as f32 / self.input_size[axis] as f32
        });
        [
            x1 * horizontal,
            y1 * vertical,
            x2 * horizontal,
            y2 * vertical,
        ]
    }
}

/// The predictions of one level for one image, on the host.
#[derive(Clone, Copy, Debug)]
pub struct LevelValues<'a> {
    /// The level's locations, `n` of them.
    pub grid: LevelGrid,
    /// Class logits, `[classes, n]`.
    pub class_logits: &'a [f32],
    /// Distances left, top, right, bottom in pixels, `[4, n]`.
    pub distances: &'a [f32],
    /// Logits of the quality that the score includes, center-ness or IoU, `[n]`, if the head
    /// predicts one.
    pub quality_logits: Option<&'a [f32]>,
}

/// Decodes the predictions for one image into detections, in order of descending score
/// and in pixels of the original image.
///
/// The score is the class probability p̂, or with a quality q
/// [`p̂^α · q^(1−α)`](PostprocessConfig::score_exponent). Boxes are clipped to the input image,
/// suppressed, and mapped to the original image. As in torchvision, a box that lies outside of the image, which only the
/// padding around it can cause, becomes one without area.
pub fn detect(
    levels: &[LevelValues<'_>],
    frame: ImageFrame,
    config: &PostprocessConfig,
) -> Vec<Detection> {
    let candidates = clipped_candidates(levels, frame, config).collect();
    let kept = config.nms().apply(candidates, config.detections_per_image);
    in_original_pixels(kept, frame).collect()
}

/// The candidates from which [`detect`] selects the detections of an image: those of all levels before suppression, in
/// pixels of the original image. The views of an image are suppressed together.
pub fn candidates(
    levels: &[LevelValues<'_>],
    frame: ImageFrame,
    config: &PostprocessConfig,
) -> Vec<Detection> {
    in_original_pixels(clipped_candidates(levels, frame, config), frame).collect()
}

/// The candidates of all levels, boxes in input pixels, clipped to the image.
fn clipped_candidates(
    levels: &[LevelValues<'_>],
    frame: ImageFrame,
    config: &PostprocessConfig,
) -> impl Iterator<Item = Detection> {
    levels
        .iter()
        .flat_map(|level| level_candidates(level, config))
        .map(move |candidate| Detection {
            bbox: frame.clip(candidate.bbox),
            ..candidate
        })
}

fn in_original_pixels(
    detections: impl IntoIterator<Item = Detection>,
    frame: ImageFrame,
) -> impl Iterator<Item = Detection> {
    (detections.into_iter()).map(move |detection| Detection {
        bbox: frame.to_original(detection.bbox),
        ..detection
    })
}

/// The level's candidates with the highest scores, boxes in input pixels.
fn level_candidates(level: &LevelValues<'_>, config: &PostprocessConfig) -> Vec<Detection> {
    let count = level.grid.len();
    let threshold = config.least_class_logit(level.quality_logits.is_some());
    let qualities: Option<Vec<f32>> = level
        .quality_logits
        .map(|logits| logits.iter().copied().map(sigmoid).collect());
    let mut ranked: Vec<(f32, usize)> = level
        .class_logits
        .iter()
        .enumerate()
        .filter(|(index, logit)| **logit > threshold && config.detects(index / count))
        .map(|(index, &class_logit)| {
            let probability = sigmoid(class_logit);
            let score = match &qualities {
                Some(qualities) => config.score(probability, qualities[index % count]),
                None => probability,
            };
            (score, index)
        })
        .filter(|(score, _)| {
            config.score_threshold_on == ScoreThresholdOn::ClassProbability
                || *score > config.score_threshold
        })
        .collect();
    // Equal scores are ordered by location, then by class.
    let place = |index: usize| (index % count, index / count);
    let by_score = |a: &(f32, usize), b: &(f32, usize)| {
        b.0.total_cmp(&a.0)
            .then_with(|| place(a.1).cmp(&place(b.1)))
    };
    if ranked.len() > config.candidates_per_level {
        ranked.select_nth_unstable_by(config.candidates_per_level, by_score);
        ranked.truncate(config.candidates_per_level);
    }
    ranked.sort_unstable_by(by_score);
    ranked
        .into_iter()
        .map(|(score, index)| {
            let location = index % count;
            let [x, y] = level.grid.location(location);
            let distance = |side: usize| level.distances[side * count + location];
            Detection {
                bbox: [
                    x - distance(0),
                    y - distance(1),
                    x + distance(2),
                    y + distance(3),
                ],
                label: index / count,
                score,
            }
        })
        .collect()
}

fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

fn logit(probability: f32) -> f32 {
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const GRID: LevelGrid = LevelGrid {
        height: 1,
        width: 3,
        stride: 8,
        spacing: [8, 8],
        offset: 4,
    };

    #[test]
    fn boxes_are_clipped_and_mapped_to_the_original_image() {
        let level = LevelValues {
            grid: GRID,
            // Class 1 at the second location, at (12, 4).
            class_logits: &[-9.0, -9.0, -9.0, -9.0, 0.0, -9.0],
            distances: &[0.0, 8.0, 0.0, 0.0, 9.0, 0.0, 0.0, 4.0, 0.0, 0.0, 2.0, 0.0],
            quality_logits: None,
        };
        let frame = ImageFrame {
            input_size: [8, 24],
            original_size: [16, 72],
        };
        let detections = detect(&[level], frame, &PostprocessConfig::default());
        assert_eq!(
            detections,
            [Detection {
                bbox: [12.0, 0.0, 48.0, 12.0],
                label: 1,
                score: 0.5
            }]
        );
    }

    #[test]
    fn candidates_are_those_with_the_highest_scores() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[0.1, 0.3, 0.2],
            distances: &distances,
            quality_logits: None,
        };
        let config = PostprocessConfig::default().with_candidates_per_level(2);
        let detections = detect(&[level], ImageFrame::unscaled([8, 24]), &config);
        let centers: Vec<f32> = detections
            .iter()
            .map(|d| (d.bbox[0] + d.bbox[2]) / 2.0)
            .collect();
        assert_eq!(centers, [12.0, 20.0]);
    }

    #[test]
    fn centerness_affects_the_score_but_not_the_class_probability_threshold() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[2.0, 1.0, -3.5],
            distances: &distances,
            quality_logits: Some(&[-2.0, 2.0, 9.0]),
        };
        let detections = detect(
            &[level],
            ImageFrame::unscaled([8, 24]),
            &PostprocessConfig::default(),
        );
        let scores: Vec<f32> = detections.iter().map(|d| d.score).collect();
        let expected = |p: f32, c: f32| (sigmoid(p) * sigmoid(c)).sqrt();
        // The third class probability, 0.029, is below the threshold.
        assert_eq!(scores, [expected(1.0, 2.0), expected(2.0, -2.0)]);
    }

    /// Three locations with scores of about 0.11, 0.66 and 0.23.
    const RATED: LevelValues<'static> = LevelValues {
        grid: GRID,
        class_logits: &[1.0, 0.0, -2.9],
        distances: &[1.0; 12],
        quality_logits: Some(&[-4.0, 2.0, 9.0]),
    };

    #[test]
    fn the_threshold_applies_to_the_configured_quantity() {
        let mut config = PostprocessConfig::default()
            .with_score_threshold(0.2)
            .with_score_threshold_on(ScoreThresholdOn::Score);
        let columns = |config: &PostprocessConfig| -> Vec<f32> {
            detect(&[RATED], ImageFrame::unscaled([8, 24]), config)
                .iter()
                .map(|d| (d.bbox[0] + d.bbox[2]) / 2.0)
                .collect()
        };
        assert_eq!(columns(&config), [12.0, 20.0]);
        config.score_threshold_on = ScoreThresholdOn::ClassProbability;
        assert_eq!(columns(&config), [12.0, 4.0]);
    }

    #[test]
    fn the_exponent_divides_the_score_between_class_and_quality() {
        let frame = ImageFrame::unscaled([8, 24]);
        let everything = PostprocessConfig::default().with_score_threshold(0.0);
        for exponent in [0.2, 0.5, 0.8, 1.0] {
            let config = everything.clone().with_score_exponent(exponent);
            let mut expected: Vec<f32> = (RATED.class_logits.iter().zip([-4.0, 2.0, 9.0]))
                .map(|(class, quality)| {
                    sigmoid(*class).powf(exponent) * sigmoid(quality).powf(1.0 - exponent)
                })
                .collect();
            expected.sort_by(|a, b| b.total_cmp(a));
            let found = detect(&[RATED], frame, &config);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found.score - expected).abs() < 1e-6, "{exponent}");
            }
            // A threshold on the score keeps those above it.
            let above = expected[1] - 1e-4;
            let config = config
                .with_score_threshold(above)
                .with_score_threshold_on(ScoreThresholdOn::Score);
            assert_eq!(detect(&[RATED], frame, &config).len(), 2, "{exponent}");
        }
        for exponent in [0.0, 1.5, f32::NAN] {
            let error = everything.clone().with_score_exponent(exponent).validate();
            assert_eq!(error.unwrap_err().field, "score_exponent");
        }
    }

    #[test]
    fn other_classes_are_no_candidates_and_suppress_nothing() {
        // Two classes at three locations, all with the same box.
        let distances: Vec<f32> = [
            4.0, 12.0, 20.0, 4.0, 4.0, 4.0, 20.0, 12.0, 4.0, 4.0, 4.0, 4.0,
        ]
        .into();
        let level = LevelValues {
            grid: GRID,
            class_logits: &[0.1, 0.2, 0.3, 1.1, 1.2, 1.3],
            distances: &distances,
            quality_logits: None,
        };
        let found = |config: &PostprocessConfig| -> Vec<(usize, f32)> {
            let found = detect(&[level], ImageFrame::unscaled([8, 24]), config);
            found.iter().map(|d| (d.label, d.score)).collect()
        };
        let config = PostprocessConfig::default();
        let (first, second) = ((0, sigmoid(0.3)), (1, sigmoid(1.3)));
        assert_eq!(found(&config), [second, first]);
        let across = config.with_suppression(Suppression::AcrossClasses);
        assert_eq!(found(&across), [second]);
        let only_first = across.clone().with_classes(Some(vec![0]));
        assert_eq!(found(&only_first), [first]);
        // The place of a candidate is not taken by another class.
        assert_eq!(found(&only_first.with_candidates_per_level(1)), [first]);
        for classes in [vec![], vec![1, 2]] {
            let config = across.clone().with_classes(Some(classes));
            assert!(config.validate_classes(2).is_err());
        }
    }

    #[test]
    fn candidates_are_what_suppression_selects_from() {
        // Locations at 4, 12 and 20; the boxes of the first two are the same.
        let distances = [4.0, 12.0, 2.0, 4.0, 4.0, 2.0, 8.0, 0.0, 2.0, 4.0, 4.0, 2.0];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[0.3, 0.2, 0.1],
            distances: &distances,
            quality_logits: None,
        };
        let frame = ImageFrame {
            input_size: [8, 24],
            original_size: [16, 48],
        };
        let config = PostprocessConfig::default();
        let all = candidates(&[level], frame, &config);
        let boxes: Vec<[f32; 4]> = all.iter().map(|candidate| candidate.bbox).collect();
        let same = [0.0, 0.0, 24.0, 16.0];
        assert_eq!(boxes, [same, same, [36.0, 4.0, 44.0, 12.0]]);
        assert_eq!(detect(&[level], frame, &config), [all[0], all[2]]);
        let soft = config.with_nms_method(NmsMethod::SoftGaussian { sigma: 0.5 });
        let found = detect(&[level], frame, &soft);
        assert_eq!(found[..2], [all[0], all[2]]);
        assert_eq!(found[2].bbox, same);
        let decayed = all[1].score * (-2.0f32).exp();
        assert!((found[2].score - decayed).abs() < 1e-6);
    }

    #[test]
    fn invalid_widths_of_the_gaussian_are_refused() {
        for sigma in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            let method = NmsMethod::SoftGaussian { sigma };
            let config = PostprocessConfig::default().with_nms_method(method);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains("nms_method.soft-gaussian.sigma"), "{error}");
        }
    }

    #[test]
    fn defaults_are_left_out_of_files() {
        let config = PostprocessConfig::default();
        let keys = |config: &PostprocessConfig| serde_json::to_value(config).unwrap();
        let written = keys(&config);
        for key in ["suppression", "classes", "nms_method", "score_exponent"] {
            assert!(written.get(key).is_none(), "{key}");
        }
        assert_eq!(
            serde_json::from_value::<PostprocessConfig>(written).unwrap(),
            config
        );
        let config =
            (config.with_suppression(Suppression::AcrossClasses)).with_classes(Some(vec![1]));
        assert_eq!(keys(&config)["suppression"], "across-classes");
        let read = serde_json::from_value::<PostprocessConfig>(keys(&config)).unwrap();
        assert_eq!(read, config);
    }

    #[test]
    fn extreme_thresholds_and_logits_are_handled() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[f32::NAN, 1e4, -1e4],
            distances: &distances,
            quality_logits: None,
        };
        for (score_threshold, expected) in [(0.0, 2), (1.0, 0)] {
            let config = PostprocessConfig::default().with_score_threshold(score_threshold);
            let detections = detect(&[level], ImageFrame::unscaled([8, 24]), &config);
            assert_eq!(detections.len(), expected);
        }
    }
}
