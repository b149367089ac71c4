//! From predictions to boxes and scores at every location.

use fcos_burn_model::locations::LocationRule;

use crate::{
    graph::{Attribute, Graph, Value},
    network::Level,
};

/// Boxes and scores of one level with `n` locations, in row-major order.
pub(crate) struct LevelBoxes {
    /// `[batch, n, 4]`, in pixels of the input and clipped to it.
    pub(crate) boxes: Value,
    /// Class logits, `[batch, n, classes]`.
    pub(crate) class_logits: Value,
    /// Scores, `[batch, n, classes]`.
    pub(crate) scores: Value,
    /// Whether the scores include a quality.
    pub(crate) with_quality: bool,
}

/// Writes the decoding of all levels. `images` are the images before padding, `padded` after it.
pub(crate) fn decode(
    graph: &mut Graph,
    levels: &[Level],
    rule: LocationRule,
    score_exponent: f32,
    images: &Value,
    padded: &Value,
) -> Vec<LevelBoxes> {
    let size = graph.lengths(images, 2, 4);
    let size = float(graph, &size);
    let order = graph.integers(&[4], &[1, 0, 1, 0]);
    let limits = graph.node("Gather", &[&size, &order], &[]);
    let decoded = levels.iter().enumerate().map(|(index, level)| {
        graph.within(&format!("levels.{index}"), |graph| {
            let boxes = boxes(graph, level, rule, padded);
            let boxes = rows(graph, &boxes);
            let boxes = graph.node("Min", &[&boxes, &limits], &[]);
            let class_logits = rows(graph, &level.class_logits);
            let scores = match &level.quality_logits {
                Some(logits) => {
                    let quality_logits = rows(graph, logits);
                    joint_scores(graph, &class_logits, &quality_logits, score_exponent)
                }
                None => graph.sigmoid(&class_logits),
            };
            LevelBoxes {
                boxes: graph.relu(&boxes),
                class_logits,
                scores,
                with_quality: level.quality_logits.is_some(),
            }
        })
    });
    decoded.collect()
}

/// p̂^α · q^(1−α), with p̂ = 1 / (1 + exp(−class logit)) and the same for q: for α = ½ the reciprocal of
/// a square root.
///
/// ONNX Runtime's `Sigmoid` has an absolute error of about 1e-8, which the square root of a product near 0 would amplify
/// to 1e-4.
fn joint_scores(
    graph: &mut Graph,
    class_logits: &Value,
    quality_logits: &Value,
    score_exponent: f32,
) -> Value {
    let one = graph.floats(&[], &[1.0]);
    let [class, quality] = [class_logits, quality_logits].map(|logits| {
        let negative = graph.node("Neg", &[logits], &[]);
        let exponential = graph.node("Exp", &[&negative], &[]);
        graph.add(&exponential, &one)
    });
    if score_exponent == 0.5 {
        let product = graph.mul(&class, &quality);
        let root = graph.node("Sqrt", &[&product], &[]);
        return graph.node("Reciprocal", &[&root], &[]);
    }
    let mut power = |base: &Value, exponent: f32| {
        let exponent = graph.floats(&[1], &[-exponent]);
        graph.node("Pow", &[base, &exponent], &[])
    };
    let class = power(&class, score_exponent);
    let quality = power(&quality, 1.0 - score_exponent);
    graph.mul(&class, &quality)
}

/// The boxes of a level as a map `[batch, 4, height, width]`.
fn boxes(graph: &mut Graph, level: &Level, rule: LocationRule, padded: &Value) -> Value {
    let [y, x] = [(2, [1, 1, -1, 1]), (3, [1, 1, 1, -1])].map(|(axis, shape)| {
        let places = coordinates(graph, level, rule, padded, axis);
        let shape = graph.integers(&[4], &shape);
        graph.node("Reshape", &[&places, &shape], &[])
    });
    let ones = graph.integers(&[4], &[1; 4]);
    let axis = [("axis", Attribute::Int(1))];
    let [left, top, right, bottom] =
        graph.node_with_outputs("Split", &[&level.distances, &ones], &axis);
    let sides = [
        graph.node("Sub", &[&x, &left], &[]),
        graph.node("Sub", &[&y, &top], &[]),
        graph.add(&x, &right),
        graph.add(&y, &bottom),
    ];
    graph.concat(&sides, 1)
}

/// The coordinates of a level's rows (axis 2) or columns (axis 3) in pixels.
fn coordinates(
    graph: &mut Graph,
    level: &Level,
    rule: LocationRule,
    padded: &Value,
    axis: i64,
) -> Value {
    let cells = graph.lengths(&level.class_logits, axis, axis + 1);
    let (spacing, offset) = match rule {
        LocationRule::Torchvision => {
            let pixels = graph.lengths(padded, axis, axis + 1);
            (graph.node("Div", &[&pixels, &cells], &[]), 0)
        }
        _ => (
            graph.integers(&[1], &[level.stride as i64]),
            level.stride / 2,
        ),
    };
    let first = graph.integers(&[], &[0]);
    let step = graph.integers(&[], &[1]);
    let end = graph.node("Squeeze", &[&cells], &[]);
    let indices = graph.node("Range", &[&first, &end, &step], &[]);
    let places = graph.mul(&indices, &spacing);
    let offset = graph.integers(&[1], &[offset as i64]);
    let places = graph.add(&places, &offset);
    float(graph, &places)
}

/// A map `[batch, channels, height, width]` as rows `[batch, height · width, channels]`.
fn rows(graph: &mut Graph, map: &Value) -> Value {
    let shape = graph.node("Shape", &[map], &[("end", Attribute::Int(2))]);
    let rest = graph.integers(&[1], &[-1]);
    let shape = graph.concat(&[shape, rest], 0);
    let planes = graph.node("Reshape", &[map, &shape], &[]);
    let order = Attribute::Ints(vec![0, 2, 1]);
    graph.node("Transpose", &[&planes], &[("perm", order)])
}

/// Numbers in 32 bits.
fn float(graph: &mut Graph, integers: &Value) -> Value {
    graph.node("Cast", &[integers], &[("to", Attribute::Int(1))])
}
