//! From the head's maps to detections in the pixels of the original image.

use fcos_burn_boxes::{Detection, batched_nms};
use serde::{Deserialize, Serialize};

use crate::pyramid::LevelGrid;

/// Thresholds and limits of the detections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostprocessConfig {
    /// Candidates up to this are dropped.
    pub score_threshold: f32,
    /// What the threshold is compared with.
    pub thresholded: Thresholded,
    /// Best candidates of each level that enter the suppression.
    pub candidates_per_level: usize,
    /// IoU above which the worse of two boxes of a class is suppressed.
    pub nms_iou_threshold: f32,
    /// Most detections of an image.
    pub detections_per_image: usize,
}

/// The number that has to exceed the score threshold. Without a centre-ness branch it
/// is the same either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thresholded {
    /// The class probability p̂ alone (FCOS).
    ClassProbability,
    /// The score √(p̂·c) (torchvision).
    Score,
}

/// How an image was put into the network: what is needed to map boxes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageFrame {
    /// `[height, width]` in the network's input, without padding.
    pub input_size: [usize; 2],
    /// `[height, width]` of the original image.
    pub original_size: [usize; 2],
}

impl ImageFrame {
    /// The frame of an image that was not resized.
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
    /// The level's locations, `n` in number.
    pub grid: LevelGrid,
    /// Logits, class by class: `[classes, n]`.
    pub class_logits: &'a [f32],
    /// Distances in pixels, side by side: `[4, n]`.
    pub distances: &'a [f32],
    /// Logits of the centre-ness, `[n]`, if the head predicts it.
    pub centerness_logits: Option<&'a [f32]>,
}

/// The detections of one image, by descending score, in original pixels.
///
/// Without centre-ness a score is the class probability p̂; with it, √(p̂·c). Boxes
/// are clipped to the image, then suppressed, then mapped to the original.
pub fn detect(
    levels: &[LevelValues<'_>],
    frame: ImageFrame,
    config: &PostprocessConfig,
) -> Vec<Detection> {
    let candidates = levels
        .iter()
        .flat_map(|level| level_candidates(level, config))
        .map(|candidate| Detection {
            bbox: frame.clip(candidate.bbox),
            ..candidate
        })
        .collect();
    batched_nms(candidates, config.nms_iou_threshold)
        .take(config.detections_per_image)
        .map(|detection| Detection {
            bbox: frame.to_original(detection.bbox),
            ..detection
        })
        .collect()
}

/// The level's best candidates, boxes in input pixels.
fn level_candidates(level: &LevelValues<'_>, config: &PostprocessConfig) -> Vec<Detection> {
    let count = level.grid.len();
    // The logistic function is monotone: comparing logits spares it for the many
    // locations that see nothing. A score √(p̂·c) above the threshold needs p̂ above its
    // square.
    let least = match (config.thresholded, level.centerness_logits) {
        (Thresholded::Score, Some(_)) => config.score_threshold.powi(2),
        _ => config.score_threshold,
    };
    let threshold = logit(least);
    let centerness: Option<Vec<f32>> = level
        .centerness_logits
        .map(|logits| logits.iter().copied().map(sigmoid).collect());
    let mut ranked: Vec<(f32, usize)> = level
        .class_logits
        .iter()
        .enumerate()
        .filter(|(_, logit)| **logit > threshold)
        .map(|(index, &class_logit)| {
            let probability = sigmoid(class_logit);
            let score = match &centerness {
                Some(centerness) => (probability * centerness[index % count]).sqrt(),
                None => probability,
            };
            (score, index)
        })
        .filter(|(score, _)| {
            config.thresholded == Thresholded::ClassProbability || *score > config.score_threshold
        })
        .collect();
    // Equal scores go by location, then by class.
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
    use super::*;

    const GRID: LevelGrid = LevelGrid {
        height: 1,
        width: 3,
        stride: 8,
        spacing: [8, 8],
        offset: 4,
    };

    fn config() -> PostprocessConfig {
        PostprocessConfig {
            score_threshold: 0.05,
            thresholded: Thresholded::ClassProbability,
            candidates_per_level: 1000,
            nms_iou_threshold: 0.6,
            detections_per_image: 100,
        }
    }

    #[test]
    fn boxes_come_back_in_original_pixels_and_inside_the_image() {
        let level = LevelValues {
            grid: GRID,
            // Class 1 at the second location, at (12, 4).
            class_logits: &[-9.0, -9.0, -9.0, -9.0, 0.0, -9.0],
            distances: &[0.0, 8.0, 0.0, 0.0, 9.0, 0.0, 0.0, 4.0, 0.0, 0.0, 2.0, 0.0],
            centerness_logits: None,
        };
        let frame = ImageFrame {
            input_size: [8, 24],
            original_size: [16, 72],
        };
        let detections = detect(&[level], frame, &config());
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
    fn candidates_are_the_best_of_each_level() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[0.1, 0.3, 0.2],
            distances: &distances,
            centerness_logits: None,
        };
        let config = PostprocessConfig {
            candidates_per_level: 2,
            ..config()
        };
        let detections = detect(&[level], ImageFrame::unscaled([8, 24]), &config);
        let centers: Vec<f32> = detections
            .iter()
            .map(|d| (d.bbox[0] + d.bbox[2]) / 2.0)
            .collect();
        assert_eq!(centers, [12.0, 20.0]);
    }

    #[test]
    fn centerness_ranks_but_does_not_admit() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[2.0, 1.0, -3.5],
            distances: &distances,
            centerness_logits: Some(&[-2.0, 2.0, 9.0]),
        };
        let detections = detect(&[level], ImageFrame::unscaled([8, 24]), &config());
        let scores: Vec<f32> = detections.iter().map(|d| d.score).collect();
        let expected = |p: f32, c: f32| (sigmoid(p) * sigmoid(c)).sqrt();
        // The third class probability, 0.029, is below the threshold.
        assert_eq!(scores, [expected(1.0, 2.0), expected(2.0, -2.0)]);
    }

    #[test]
    fn the_score_admits_where_it_is_thresholded() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            // Scores of about 0.11, 0.66 and 0.23.
            class_logits: &[1.0, 0.0, -2.9],
            distances: &distances,
            centerness_logits: Some(&[-4.0, 2.0, 9.0]),
        };
        let mut config = PostprocessConfig {
            score_threshold: 0.2,
            thresholded: Thresholded::Score,
            ..config()
        };
        let columns = |config: &PostprocessConfig| -> Vec<f32> {
            detect(&[level], ImageFrame::unscaled([8, 24]), config)
                .iter()
                .map(|d| (d.bbox[0] + d.bbox[2]) / 2.0)
                .collect()
        };
        assert_eq!(columns(&config), [12.0, 20.0]);
        config.thresholded = Thresholded::ClassProbability;
        assert_eq!(columns(&config), [12.0, 4.0]);
    }

    #[test]
    fn extreme_thresholds_and_logits_are_defined() {
        let distances = [1.0; 12];
        let level = LevelValues {
            grid: GRID,
            class_logits: &[f32::NAN, 1e4, -1e4],
            distances: &distances,
            centerness_logits: None,
        };
        for (score_threshold, expected) in [(0.0, 2), (1.0, 0)] {
            let config = PostprocessConfig {
                score_threshold,
                ..config()
            };
            let detections = detect(&[level], ImageFrame::unscaled([8, 24]), &config);
            assert_eq!(detections.len(), expected);
        }
    }
}
