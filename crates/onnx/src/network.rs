//! From normalized images to the head's predictions.

use burn::nn::conv::Conv2d;
use fcos_burn_model::{
    Fcos,
    fpn::{ExtraLevelsFrom, Fpn},
    head::{CenternessBranch, FcosHead, MAX_EXPONENT, RegressionForm, TowerLayer},
};

use crate::{
    backbone::OnnxBackbone,
    error::OnnxError,
    graph::{Attribute, Graph, Value},
};

/// The head's predictions on one level, as [`LevelPrediction`].
///
/// [`LevelPrediction`]: fcos_burn_model::head::LevelPrediction
pub(crate) struct Level {
    /// Stride in pixels.
    pub(crate) stride: usize,
    /// Class logits, `[batch, classes, height, width]`.
    pub(crate) class_logits: Value,
    /// Distances in pixels, `[batch, 4, height, width]`.
    pub(crate) distances: Value,
    /// Center-ness logits, or those of the IoU in their place, `[batch, 1, height, width]`.
    pub(crate) quality_logits: Option<Value>,
}

/// Writes backbone, pyramid and head.
pub(crate) fn network<B: OnnxBackbone>(
    graph: &mut Graph,
    model: &Fcos<B>,
    images: &Value,
) -> Result<Vec<Level>, OnnxError> {
    let maps = graph.within("backbone", |graph| model.backbone().write(graph, images))?;
    let (found, expected) = (maps.len(), model.fpn().lateral().len());
    if found != expected {
        return Err(OnnxError::FeatureMaps { found, expected });
    }
    let levels = graph.within("fpn", |graph| pyramid(graph, model.fpn(), maps))?;
    graph.within("head", |graph| head(graph, model.head(), levels))
}

fn pyramid(graph: &mut Graph, fpn: &Fpn, features: Vec<Value>) -> Result<Vec<Value>, OnnxError> {
    let coarsest_feature = features.last().cloned();
    let mut inner = each(graph, "lateral", fpn.lateral(), &features)?;
    for level in (1..inner.len()).rev() {
        let upsampled = graph.resize_like(&inner[level], &inner[level - 1]);
        inner[level - 1] = graph.add(&inner[level - 1], &upsampled);
    }
    let mut levels = each(graph, "output", fpn.output(), &inner)?;
    let first_source = match fpn.extra_levels_from() {
        ExtraLevelsFrom::C5 => coarsest_feature,
        _ => levels.last().cloned(),
    };
    for (index, conv) in fpn.extra().iter().enumerate() {
        graph.within(&format!("extra.{index}"), |graph| {
            let source = match index {
                0 => first_source.clone(),
                _ => levels.last().map(|level| graph.relu(level)),
            };
            let level = source.map(|source| graph.conv(conv, &source)).transpose()?;
            levels.extend(level);
            Ok::<_, OnnxError>(())
        })?;
    }
    Ok(levels)
}

/// Applies one convolution to each map.
fn each(
    graph: &mut Graph,
    name: &str,
    convs: &[Conv2d],
    maps: &[Value],
) -> Result<Vec<Value>, OnnxError> {
    let layers = convs.iter().zip(maps).enumerate();
    layers
        .map(|(index, (conv, map))| {
            graph.within(&format!("{name}.{index}"), |graph| graph.conv(conv, map))
        })
        .collect()
}

fn head(graph: &mut Graph, head: &FcosHead, levels: Vec<Value>) -> Result<Vec<Level>, OnnxError> {
    let class_features = tower(graph, "class_tower", head.class_tower(), levels.clone())?;
    let box_features = tower(graph, "box_tower", head.box_tower(), levels)?;
    let class_logits = predictor(graph, "class_logits", head.class_logits(), &class_features)?;
    let distances = predictor(graph, "distances", head.distances(), &box_features)?;
    let quality = match head.centerness() {
        Some((conv, branch)) => {
            let features = match branch {
                CenternessBranch::Regression => &box_features,
                _ => &class_features,
            };
            let maps = predictor(graph, "centerness", conv, features)?;
            maps.into_iter().map(Some).collect()
        }
        None => vec![None; class_logits.len()],
    };
    let predictions = class_logits.into_iter().zip(distances).zip(quality);
    predictions
        .zip(head.strides())
        .enumerate()
        .map(
            |(level, (((class_logits, raw), quality_logits), &stride))| {
                let distances = graph.within(&format!("levels.{level}"), |graph| {
                    let scaled = match head.scales().get(level) {
                        Some(scale) => {
                            let scale = graph.parameter("scale", Some(scale.id), scale.val())?;
                            graph.mul(&raw, &scale)
                        }
                        None => raw,
                    };
                    distances_in_pixels(graph, head.regression(), &scaled, stride)
                })?;
                Ok(Level {
                    stride,
                    class_logits,
                    distances,
                    quality_logits,
                })
            },
        )
        .collect()
}

fn tower(
    graph: &mut Graph,
    name: &str,
    tower: &[TowerLayer],
    mut maps: Vec<Value>,
) -> Result<Vec<Value>, OnnxError> {
    for (index, layer) in tower.iter().enumerate() {
        maps = graph.within(&format!("{name}.{index}"), |graph| {
            let layer_on = |map: &Value| {
                let features = graph.conv(layer.conv(), map)?;
                let features = graph.group_norm(layer.norm(), &features)?;
                Ok::<_, OnnxError>(graph.relu(&features))
            };
            maps.iter().map(layer_on).collect::<Result<_, _>>()
        })?;
    }
    Ok(maps)
}

fn predictor(
    graph: &mut Graph,
    name: &str,
    conv: &Conv2d,
    maps: &[Value],
) -> Result<Vec<Value>, OnnxError> {
    graph.within(name, |graph| {
        maps.iter().map(|map| graph.conv(conv, map)).collect()
    })
}

fn distances_in_pixels(
    graph: &mut Graph,
    form: RegressionForm,
    scaled: &Value,
    stride: usize,
) -> Result<Value, OnnxError> {
    let strides = graph.floats(&[1], &[stride as f32]);
    let exp = |graph: &mut Graph| {
        let most = graph.floats(&[1], &[MAX_EXPONENT]);
        let exponent = graph.node("Min", &[scaled, &most], &[]);
        graph.node("Exp", &[&exponent], &[])
    };
    match form {
        RegressionForm::Exp => Ok(exp(graph)),
        RegressionForm::NormalizedRelu => {
            let cells = graph.relu(scaled);
            Ok(graph.mul(&cells, &strides))
        }
        RegressionForm::NormalizedExp => {
            let cells = exp(graph);
            Ok(graph.mul(&cells, &strides))
        }
        RegressionForm::Distribution { bins } => {
            let cells = means_of_distributions(graph, scaled, bins);
            Ok(graph.mul(&cells, &strides))
        }
        _ => Err(graph.error("its form of distances has no ONNX form")),
    }
}

/// The means of the distributions over `0, …, bins` with these logits,
/// `[batch, 4 · (bins + 1), height, width]`, as a map `[batch, 4, height, width]`.
fn means_of_distributions(graph: &mut Graph, logits: &Value, bins: usize) -> Value {
    let size = graph.lengths(logits, 2, 4);
    let sides = graph.integers(&[3], &[0, 4, bins as i64 + 1]);
    let shape = graph.concat(&[sides, size], 0);
    let by_side = graph.node("Reshape", &[logits, &shape], &[]);
    let shares = graph.node("Softmax", &[&by_side], &[("axis", Attribute::Int(2))]);
    let values: Vec<f32> = (0..=bins).map(|bin| bin as f32).collect();
    let values = graph.floats(&[bins + 1, 1, 1], &values);
    let parts = graph.mul(&shares, &values);
    let axis = graph.integers(&[1], &[2]);
    graph.node(
        "ReduceSum",
        &[&parts, &axis],
        &[("keepdims", Attribute::Int(0))],
    )
}
