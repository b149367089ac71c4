//! The export itself.

use std::path::Path;

use fcos_burn_detect::{Detector, NmsMethod};
use fcos_burn_model::{
    ConfigError,
    file::write_whole,
    head::{BoxQuality, FcosHead},
    locations::Locations,
};
use prost::Message;

use crate::{
    backbone::OnnxBackbone,
    config::{OnnxConfig, Outputs, Pixels},
    decode::{LevelBoxes, decode},
    detections::detections,
    error::OnnxError,
    graph::{Graph, Value},
    input::{normalized, padded},
    metadata::metadata,
    network::{Level, network},
    proto::{Dimension, ElementType, Model, OperatorSet},
};

/// The version of ONNX's file format, the one of [`Graph::OPSET`].
const IR_VERSION: i64 = 8;

/// The largest number of detections per image.
const MAX_DETECTIONS: usize = 1 << 16;

/// Writes a detector to an ONNX file, atomically (see [`write_whole`]).
///
/// # Errors
///
/// Those of [`to_bytes`], and if the file cannot be written.
pub fn export<B: OnnxBackbone>(
    detector: &Detector<B>,
    config: &OnnxConfig,
    path: impl AsRef<Path>,
) -> Result<(), OnnxError> {
    let path = path.as_ref();
    let bytes = to_bytes(detector, config)?;
    write_whole(path, &bytes).map_err(|source| OnnxError::Write {
        path: path.to_owned(),
        source,
    })
}

/// The contents of a detector's ONNX file. The same detector and configuration always give the
/// same bytes.
///
/// ```
/// use fcos_burn_detect::{Detector, InputConfig, device::Precision};
/// use fcos_burn_data::Category;
/// use fcos_burn_model::FcosConfig;
/// use fcos_burn_onnx::{OnnxConfig, Outputs, to_bytes};
///
/// let device = burn::tensor::Device::flex();
/// let model = FcosConfig::small(2).init(&device)?;
/// let classes = Category::list(["cat", "dog"]);
/// let detector = Detector::new(&model, InputConfig::fcos(), classes, device, Precision::F32);
/// let bytes = to_bytes(&detector, &OnnxConfig::default().with_outputs(Outputs::Boxes))?;
/// # assert!(!bytes.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Names the value of the configuration that is invalid, or the layer that cannot be exported.
/// Fails if the file would be longer than protobuf allows, 2 GiB.
pub fn to_bytes<B: OnnxBackbone>(
    detector: &Detector<B>,
    config: &OnnxConfig,
) -> Result<Vec<u8>, OnnxError> {
    config.validate()?;
    let mut graph = Graph::new("fcos", config.weights);
    write(&mut graph, detector, config)?;
    let model = Model {
        ir_version: Some(IR_VERSION),
        producer_name: env!("CARGO_PKG_NAME").to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph.into_message()),
        opset_import: vec![OperatorSet {
            domain: String::new(),
            version: Some(Graph::OPSET),
        }],
        metadata_props: metadata(detector, config)?,
    };
    let bytes = model.encoded_len();
    if bytes > i32::MAX as usize {
        return Err(OnnxError::TooLarge { bytes });
    }
    Ok(model.encode_to_vec())
}

fn write<B: OnnxBackbone>(
    graph: &mut Graph,
    detector: &Detector<B>,
    config: &OnnxConfig,
) -> Result<(), OnnxError> {
    let (model, input) = (detector.model(), detector.input());
    let multiple = input.size_multiple.max(1);
    let axes = Axes::new(config, multiple);
    let images = graph.input("images", axes.images());
    let padded = graph.within("input", |graph| {
        let values = match config.pixels {
            Pixels::RgbBytes => normalized(graph, input.normalization, &images),
            Pixels::Normalized => images.clone(),
        };
        padded(graph, multiple, config.image_size, &values)
    });
    let levels = network(graph, model, &padded)?;
    let classes = model.head().class_logits().weight.dims()[0];
    if config.outputs == Outputs::Raw {
        raw(graph, &levels, classes, quality_name(model.head()), &axes);
        return Ok(());
    }
    let decoded = graph.within("decode", |graph| {
        let exponent = model.postprocess().score_exponent;
        decode(
            graph,
            &levels,
            model.location_rule(),
            exponent,
            &images,
            &padded,
        )
    });
    if config.outputs == Outputs::Boxes {
        let locations = axes.padded.map(|size| {
            let rule = model.location_rule();
            Locations::new(size, model.head().strides(), rule).len()
        });
        boxes(graph, &decoded, classes, locations, &axes);
        return Ok(());
    }
    check_settings(detector)?;
    let limit = model.postprocess().detections_per_image;
    // The outputs have this many rows for every image.
    ConfigError::ensure(
        (1..=MAX_DETECTIONS).contains(&limit),
        "postprocess.detections_per_image",
        limit,
        "from 1 to 65536",
    )?;
    let found = graph.within("detections", |graph| {
        detections(graph, &decoded, classes, model.postprocess())
    });
    let rows = fixed(limit);
    let per_image = || vec![axes.batch.clone(), rows.clone()];
    let corners = [per_image(), vec![fixed(4)]].concat();
    graph.output("boxes", &found.boxes, ElementType::F32, corners);
    graph.output("scores", &found.scores, ElementType::F32, per_image());
    graph.output("labels", &found.labels, ElementType::I64, per_image());
    let batch = vec![axes.batch.clone()];
    graph.output("counts", &found.counts, ElementType::I64, batch);
    Ok(())
}

/// Whether a graph can compute the same detections: from one view, with ONNX's greedy suppression.
fn check_settings<B: OnnxBackbone>(detector: &Detector<B>) -> Result<(), OnnxError> {
    let method = detector.model().postprocess().nms_method;
    if method != NmsMethod::Greedy {
        return Err(OnnxError::Setting {
            field: "postprocess.nms_method",
            value: method.to_string(),
            alternative: "greedy NMS",
        });
    }
    let views = &detector.input().test_time_augmentation;
    if views.scales != [1.0] || !views.flips.is_empty() {
        return Err(OnnxError::Setting {
            field: "input.test_time_augmentation",
            value: format!("scales {:?}, flips {:?}", views.scales, views.flips),
            alternative: "one view, the image as it is",
        });
    }
    Ok(())
}

/// The name of the quality that a head may predict.
fn quality_name(head: &FcosHead) -> &'static str {
    match head.quality() {
        Some(BoxQuality::Iou) => "iou_logits",
        _ => "centerness_logits",
    }
}

fn raw(graph: &mut Graph, levels: &[Level], classes: usize, quality: &str, axes: &Axes) {
    for level in levels {
        let stride = level.stride;
        let maps = [
            ("class_logits", classes, Some(&level.class_logits)),
            ("distances", 4, Some(&level.distances)),
            (quality, 1, level.quality_logits.as_ref()),
        ];
        for (name, channels, map) in maps {
            let Some(map) = map else { continue };
            let shape = axes.map(channels, stride);
            graph.output(&format!("{name}_{stride}"), map, ElementType::F32, shape);
        }
    }
}

fn boxes(
    graph: &mut Graph,
    levels: &[LevelBoxes],
    classes: usize,
    locations: Option<usize>,
    axes: &Axes,
) {
    let locations = locations.map_or(named("locations"), fixed);
    let mut output = |name: &str, part: fn(&LevelBoxes) -> &Value, columns| {
        let parts: Vec<Value> = levels.iter().map(part).cloned().collect();
        let joined = graph.concat(&parts, 1);
        let shape = vec![axes.batch.clone(), locations.clone(), fixed(columns)];
        graph.output(name, &joined, ElementType::F32, shape);
    };
    output("boxes", |level| &level.boxes, 4);
    output("scores", |level| &level.scores, classes);
}

/// The lengths of the axes of inputs and outputs.
struct Axes {
    batch: Dimension,
    size: Option<[usize; 2]>,
    padded: Option<[usize; 2]>,
}

impl Axes {
    fn new(config: &OnnxConfig, multiple: usize) -> Self {
        let padded = |size: [usize; 2]| size.map(|side| side.next_multiple_of(multiple));
        Self {
            batch: config.batch.map_or(named("batch"), fixed),
            size: config.image_size,
            padded: config.image_size.map(padded),
        }
    }

    fn images(&self) -> Vec<Dimension> {
        let [height, width] = match self.size {
            Some(size) => size.map(fixed),
            None => ["height", "width"].map(named),
        };
        vec![self.batch.clone(), fixed(3), height, width]
    }

    fn map(&self, channels: usize, stride: usize) -> Vec<Dimension> {
        let [height, width] = match self.padded {
            Some(size) => size.map(|side| fixed(side.div_ceil(stride))),
            None => ["height", "width"].map(|side| named(&format!("{side}_{stride}"))),
        };
        vec![self.batch.clone(), fixed(channels), height, width]
    }
}

fn fixed(length: usize) -> Dimension {
    Dimension::Fixed(length as i64)
}

fn named(name: &str) -> Dimension {
    Dimension::Named(name.to_owned())
}
