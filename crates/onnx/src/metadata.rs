//! What a reader of the file needs besides the graph.

use fcos_burn_data::transforms::Resize;
use fcos_burn_detect::Detector;
use fcos_burn_model::backbone::Backbone;
use serde_json::{Value, json};

use crate::{
    config::{OnnxConfig, Outputs, Pixels},
    error::OnnxError,
    proto::StringEntry,
};

/// The metadata of an exported detector, in a fixed order. Strings are written verbatim, all other
/// values as JSON.
pub(crate) fn metadata<B: Backbone>(
    detector: &Detector<B>,
    config: &OnnxConfig,
) -> Result<Vec<StringEntry>, OnnxError> {
    let names = detector.categories().iter().map(|class| &class.name);
    let ids = detector.categories().iter().map(|class| class.id);
    let detected = detector
        .detected_classes()
        .into_iter()
        .map(|class| class.name);
    let model = detector.model();
    let (input, postprocess) = (detector.input(), model.postprocess());
    let outputs = match config.outputs {
        Outputs::Raw => "raw",
        Outputs::Boxes => "boxes",
        Outputs::Detections => "detections",
    };
    let pixels = match config.pixels {
        Pixels::RgbBytes => "rgb-bytes",
        Pixels::Normalized => "normalized",
    };
    let resize = match config.image_size {
        Some([height, width]) => Resize::Fixed {
            width: u32::try_from(width).unwrap_or(u32::MAX),
            height: u32::try_from(height).unwrap_or(u32::MAX),
        },
        None => input.resize,
    };
    // A threshold is a decimal: as JSON, it would be widened to 64 bits.
    let decimal = |value: f32| Value::String(value.to_string());
    let entries = [
        ("class_names", json!(names.collect::<Vec<_>>())),
        ("category_ids", json!(ids.collect::<Vec<_>>())),
        ("outputs", json!(outputs)),
        ("pixels", json!(pixels)),
        ("resize", serde_json::to_value(resize)?),
        ("interpolation", serde_json::to_value(input.interpolation)?),
        ("normalization", serde_json::to_value(input.normalization)?),
        ("size_multiple", json!(input.size_multiple)),
        ("strides", json!(model.head().strides())),
        (
            "location_rule",
            serde_json::to_value(model.location_rule())?,
        ),
        ("score_threshold", decimal(postprocess.score_threshold)),
        (
            "detect_score_threshold",
            decimal(detector.score_threshold()),
        ),
        (
            "score_threshold_on",
            serde_json::to_value(postprocess.score_threshold_on)?,
        ),
        ("score_exponent", decimal(postprocess.score_exponent)),
        (
            "candidates_per_level",
            json!(postprocess.candidates_per_level),
        ),
        ("nms_iou_threshold", decimal(postprocess.nms_iou_threshold)),
        ("nms_method", serde_json::to_value(postprocess.nms_method)?),
        (
            "detections_per_image",
            json!(postprocess.detections_per_image),
        ),
        (
            "suppression",
            serde_json::to_value(postprocess.suppression)?,
        ),
        ("detected_classes", json!(detected.collect::<Vec<_>>())),
    ];
    let text = |value: Value| match value {
        Value::String(text) => text,
        value => value.to_string(),
    };
    let entries = entries.into_iter().map(|(key, value)| StringEntry {
        key: key.to_owned(),
        value: text(value),
    });
    Ok(entries.collect())
}
