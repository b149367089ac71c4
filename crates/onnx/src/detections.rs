//! From boxes and scores to detections: thresholds, candidates, suppression.

use fcos_burn_detect::Suppression;
use fcos_burn_model::postprocess::PostprocessConfig;

use crate::{
    decode::LevelBoxes,
    graph::{Attribute, Graph, Value},
};

/// The detections of each image, by descending score: D rows per image.
pub(crate) struct Detections {
    /// `[batch, D, 4]`.
    pub(crate) boxes: Value,
    /// `[batch, D]`.
    pub(crate) scores: Value,
    /// `[batch, D]`, integers.
    pub(crate) labels: Value,
    /// `[batch]`, integers.
    pub(crate) counts: Value,
}

/// Candidates of each image, K of them. Those below the threshold have score −1.
struct Candidates {
    /// `[batch, K, 4]`.
    boxes: Value,
    /// `[batch, K]`.
    scores: Value,
    /// `[batch, K]`, integers.
    labels: Value,
}

/// The score of a candidate that is no detection.
const NONE: f32 = -1.0;

/// Writes the selection of detections from all levels, as [`detect`] selects them.
///
/// [`detect`]: fcos_burn_model::postprocess::detect
pub(crate) fn detections(
    graph: &mut Graph,
    levels: &[LevelBoxes],
    classes: usize,
    config: &PostprocessConfig,
) -> Detections {
    let candidates: Vec<Candidates> = levels
        .iter()
        .enumerate()
        .map(|(index, level)| {
            graph.within(&format!("levels.{index}"), |graph| {
                level_candidates(graph, level, classes, config)
            })
        })
        .collect();
    let joined = |graph: &mut Graph, part: fn(&Candidates) -> &Value| {
        let parts: Vec<Value> = candidates.iter().map(part).cloned().collect();
        graph.concat(&parts, 1)
    };
    let all = Candidates {
        boxes: joined(graph, |level| &level.boxes),
        scores: joined(graph, |level| &level.scores),
        labels: joined(graph, |level| &level.labels),
    };
    let kept = suppressed(graph, &all, classes, config);
    best(graph, &all, &kept, config.detections_per_image)
}

/// The level's candidates with the highest scores, of all pairs of a location and a class.
fn level_candidates(
    graph: &mut Graph,
    level: &LevelBoxes,
    classes: usize,
    config: &PostprocessConfig,
) -> Candidates {
    let least = config.least_class_logit(level.with_quality);
    let least = graph.floats(&[1], &[least]);
    let none = graph.floats(&[1], &[NONE]);
    let likely = graph.node("Greater", &[&level.class_logits, &least], &[]);
    let mut scores = graph.node("Where", &[&likely, &level.scores, &none], &[]);
    if config.classes.is_some() {
        // Added to the scores of other classes, this makes them negative.
        let offset = |label| {
            if config.detects(label) {
                0.0
            } else {
                2.0 * NONE
            }
        };
        let offsets: Vec<f32> = (0..classes).map(offset).collect();
        let offsets = graph.floats(&[classes], &offsets);
        scores = graph.node("Add", &[&scores, &offsets], &[]);
    }
    if config.score_threshold_on == fcos_burn_model::postprocess::ScoreThresholdOn::Score {
        let least = graph.floats(&[1], &[config.score_threshold]);
        let above = graph.node("Greater", &[&scores, &least], &[]);
        scores = graph.node("Where", &[&above, &scores, &none], &[]);
    }
    // Of equal scores, the one with the lower index comes first: ordered by location, then by
    // class.
    let flat = graph.integers(&[2], &[0, -1]);
    let flat = graph.node("Reshape", &[&scores, &flat], &[]);
    let length = graph.lengths(&flat, 1, 2);
    let most = graph.integers(&[1], &[integer(config.candidates_per_level)]);
    let count = graph.node("Min", &[&length, &most], &[]);
    let [scores, indices] = top(graph, &flat, &count);
    let classes = graph.integers(&[1], &[classes as i64]);
    let locations = graph.node("Div", &[&indices, &classes], &[]);
    Candidates {
        boxes: rows_at(graph, &level.boxes, &locations),
        scores,
        labels: graph.node("Mod", &[&indices, &classes], &[]),
    }
}

/// The scores of the candidates, `[batch, K]`, with −1 in place of those that are suppressed.
fn suppressed(
    graph: &mut Graph,
    all: &Candidates,
    classes: usize,
    config: &PostprocessConfig,
) -> Value {
    let by_class = match config.suppression {
        Suppression::AcrossClasses => {
            let axis = graph.integers(&[1], &[1]);
            graph.node("Unsqueeze", &[&all.scores, &axis], &[])
        }
        _ => scores_by_class(graph, all, classes),
    };
    // No class can have more of the best detections than there are.
    let most = graph.integers(&[], &[integer(config.detections_per_image)]);
    let most_iou = graph.floats(&[], &[config.nms_iou_threshold]);
    let least = graph.floats(&[], &[0.0]);
    let inputs = [&all.boxes, &by_class, &most, &most_iou, &least];
    let selected = graph.node("NonMaxSuppression", &inputs, &[]);
    // Image and candidate of `[image, class, candidate]`.
    let columns = graph.integers(&[2], &[0, 2]);
    let axis = [("axis", Attribute::Int(1))];
    let places = graph.node("Gather", &[&selected, &columns], &axis);
    let kept = graph.node("GatherND", &[&all.scores, &places], &[]);
    let shape = graph.node("Shape", &[&all.scores], &[]);
    let value = [("value", Attribute::Scalar(NONE))];
    let nothing = graph.node("ConstantOfShape", &[&shape], &value);
    graph.node("ScatterND", &[&nothing, &places, &kept], &[])
}

/// A row of scores for each class, in which only its own candidates count.
fn scores_by_class(graph: &mut Graph, all: &Candidates, classes: usize) -> Value {
    let numbers: Vec<i64> = (0..classes as i64).collect();
    let numbers = graph.integers(&[1, classes, 1], &numbers);
    let axis = graph.integers(&[1], &[1]);
    let labels = graph.node("Unsqueeze", &[&all.labels, &axis], &[]);
    let scores = graph.node("Unsqueeze", &[&all.scores, &axis], &[]);
    let own = graph.node("Equal", &[&labels, &numbers], &[]);
    let none = graph.floats(&[1], &[NONE]);
    graph.node("Where", &[&own, &scores, &none], &[])
}

/// The detections with the highest scores, in `most` rows.
fn best(graph: &mut Graph, all: &Candidates, kept: &Value, most: usize) -> Detections {
    let most = integer(most);
    let pads = graph.integers(&[4], &[0, 0, 0, most]);
    let none = graph.floats(&[], &[NONE]);
    let padded = graph.node("Pad", &[kept, &pads, &none], &[]);
    let count = graph.integers(&[1], &[most]);
    let [scores, order] = top(graph, &padded, &count);
    // Rows of the padding are replaced below. Until then, they point at the last candidate.
    let length = graph.lengths(kept, 1, 2);
    let one = graph.integers(&[1], &[1]);
    let last = graph.node("Sub", &[&length, &one], &[]);
    let order = graph.node("Min", &[&order, &last], &[]);
    let zero = graph.floats(&[1], &[0.0]);
    let found = graph.node("GreaterOrEqual", &[&scores, &zero], &[]);

    let boxes = rows_at(graph, &all.boxes, &order);
    let axis = graph.integers(&[1], &[2]);
    let with_box = graph.node("Unsqueeze", &[&found, &axis], &[]);
    let labels = rows_at(graph, &all.labels, &order);
    let no_label = graph.integers(&[1], &[-1]);
    let ones = graph.node("Cast", &[&found], &[("to", Attribute::Int(7))]);
    Detections {
        boxes: graph.node("Where", &[&with_box, &boxes, &zero], &[]),
        scores: graph.relu(&scores),
        labels: graph.node("Where", &[&found, &labels, &no_label], &[]),
        counts: graph.node(
            "ReduceSum",
            &[&ones, &one],
            &[("keepdims", Attribute::Int(0))],
        ),
    }
}

/// The `count` highest values of each row of `[batch, n]`, in descending order, and their
/// indices.
fn top(graph: &mut Graph, values: &Value, count: &Value) -> [Value; 2] {
    graph.node_with_outputs("TopK", &[values, count], &[("axis", Attribute::Int(1))])
}

/// The rows of `[batch, n, …]` at `[batch, K]` indices.
fn rows_at(graph: &mut Graph, values: &Value, indices: &Value) -> Value {
    let axis = graph.integers(&[1], &[2]);
    let indices = graph.node("Unsqueeze", &[indices, &axis], &[]);
    let batched = [("batch_dims", Attribute::Int(1))];
    graph.node("GatherND", &[values, &indices], &batched)
}

/// A limit as an integer that runtimes can compute with.
fn integer(limit: usize) -> i64 {
    limit.min(i32::MAX as usize) as i64
}
