//! The detector: backbone, pyramid and head in one module.

use burn::{
    module::Module,
    tensor::{Device, Tensor, TensorData},
};
use fcos_burn_boxes::Detection;
use fcos_burn_loss::{ConfigError, Predictions};

use crate::{
    config::FcosConfig,
    fpn::Fpn,
    head::{FcosHead, LevelPrediction},
    postprocess::{ImageFrame, LevelValues, PostprocessConfig, detect},
    pyramid::{LocationRule, Locations},
    resnet::ResNet,
};

/// A fully convolutional one-stage detector (Tian et al., 2019).
/// Built by [`FcosConfig::init`].
#[derive(Module, Debug)]
pub struct Fcos {
    backbone: ResNet,
    fpn: Fpn,
    head: FcosHead,
    #[module(skip)]
    location_rule: LocationRule,
    #[module(skip)]
    postprocess: PostprocessConfig,
}

impl FcosConfig {
    /// Builds the detector with fresh weights, drawn from the random state of
    /// `device` (see [`Device::seed`]).
    ///
    /// # Errors
    ///
    /// Fails where [`validate`](Self::validate) does.
    pub fn init(&self, device: &Device) -> Result<Fcos, ConfigError> {
        self.validate()?;
        let [_, c3, c4, c5] = self.backbone.channels();
        Ok(Fcos {
            backbone: self.backbone.init(device),
            fpn: self.fpn.init([c3, c4, c5], device),
            head: self.head.init(self.fpn.channels, self.num_classes, device),
            location_rule: self.location_rule,
            postprocess: self.postprocess.clone(),
        })
    }
}

impl Fcos {
    /// The feature extractor.
    pub fn backbone(&self) -> &ResNet {
        &self.backbone
    }

    /// The feature pyramid.
    pub fn fpn(&self) -> &Fpn {
        &self.fpn
    }

    /// The two sub-nets.
    pub fn head(&self) -> &FcosHead {
        &self.head
    }

    /// How predictions become detections.
    pub fn postprocess(&self) -> &PostprocessConfig {
        &self.postprocess
    }

    /// Whether the head has a centre-ness branch.
    pub fn predicts_centerness(&self) -> bool {
        self.head.predicts_centerness()
    }

    /// How this detector's computation differs from that of torchvision's FCOS.
    pub(crate) fn unlike_torchvision(&self) -> Vec<&'static str> {
        let mut differences = self.backbone.unlike_torchvision();
        differences.extend(self.fpn.unlike_torchvision());
        differences.extend(self.head.unlike_torchvision());
        if self.location_rule != LocationRule::Torchvision {
            differences.push("its locations stand elsewhere");
        }
        differences
    }

    /// Predicts for a batch of normalised images.
    ///
    /// Convolutions compute in the number format of `images`; parameters, normalisation
    /// and predictions are in 32 bits.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, any size; smaller images of a
    ///   batch are padded with zeros at the right and the bottom
    pub fn forward(&self, images: Tensor<4>) -> FcosOutput {
        let [_, _, height, width] = images.dims();
        let [_, c3, c4, c5] = self.backbone.forward(images);
        let levels = self.fpn.forward([c3, c4, c5]);
        FcosOutput {
            levels: self.head.forward(levels),
            locations: Locations::new([height, width], self.location_rule),
        }
    }

    /// Detects objects in a batch of normalised images.
    ///
    /// Returns for each image its detections by descending score, boxes in pixels
    /// of the original image. Use it on a model without autodiff
    /// ([`Module::valid`]).
    ///
    /// # Shapes
    ///
    /// - `images`: as for [`forward`](Self::forward)
    /// - `frames`: one for each image of the batch
    pub fn detect(&self, images: Tensor<4>, frames: &[ImageFrame]) -> Vec<Vec<Detection>> {
        self.forward(images).detect(frames, &self.postprocess)
    }
}

/// The head's predictions for a batch, level by level.
#[derive(Clone, Debug)]
pub struct FcosOutput {
    /// P3 to P7.
    pub levels: Vec<LevelPrediction>,
    /// Where the predictions stand in the input.
    pub locations: Locations,
}

impl FcosOutput {
    /// Puts all predictions into the rows that the objective takes.
    ///
    /// # Shapes
    ///
    /// With N = batch × locations, image by image and each in the order of
    /// [`Locations`]: logits `[N, classes]`, boxes `[N, 4]` as xyxy in input
    /// pixels, centre-ness `[N]`.
    pub fn into_predictions(self) -> Predictions {
        let count = self.locations.len();
        let rows = |maps: Vec<Tensor<4>>| -> Tensor<3> {
            let rows = maps
                .into_iter()
                .map(|map| {
                    let [batch, channels, height, width] = map.dims();
                    map.reshape([batch, channels, height * width])
                        .swap_dims(1, 2)
                })
                .collect();
            Tensor::cat(rows, 1)
        };
        let mut class_logits = Vec::new();
        let mut distances = Vec::new();
        let mut centerness_logits = Vec::new();
        for level in self.levels {
            class_logits.push(level.class_logits);
            distances.push(level.distances);
            centerness_logits.extend(level.centerness_logits);
        }
        let distances = rows(distances);
        let device = distances.device();
        let locations = TensorData::new(
            self.locations.iter().flatten().collect::<Vec<f32>>(),
            [1, count, 2],
        );
        let locations = Tensor::<3>::from_data(locations, &device);
        let boxes = Tensor::cat(
            vec![
                locations.clone() - distances.clone().narrow(2, 0, 2),
                locations + distances.narrow(2, 2, 2),
            ],
            2,
        );
        let class_logits = rows(class_logits);
        let [batch, _, classes] = class_logits.dims();
        Predictions {
            class_logits: class_logits.reshape([batch * count, classes]),
            boxes: boxes.reshape([batch * count, 4]),
            centerness_logits: (!centerness_logits.is_empty())
                .then(|| rows(centerness_logits).reshape([batch * count])),
        }
    }

    /// Decodes, thresholds and suppresses on the host.
    ///
    /// See [`Fcos::detect`].
    pub fn detect(self, frames: &[ImageFrame], config: &PostprocessConfig) -> Vec<Vec<Detection>> {
        let levels: Vec<HostLevel> = self.levels.into_iter().map(HostLevel::from).collect();
        frames
            .iter()
            .enumerate()
            .map(|(image, &frame)| {
                let values: Vec<LevelValues<'_>> = levels
                    .iter()
                    .zip(self.locations.levels())
                    .map(|(level, &grid)| LevelValues {
                        grid,
                        class_logits: level.class_logits.image(image),
                        distances: level.distances.image(image),
                        centerness_logits: level
                            .centerness_logits
                            .as_ref()
                            .map(|map| map.image(image)),
                    })
                    .collect();
                detect(&values, frame, config)
            })
            .collect()
    }
}

/// A level's maps on the host.
struct HostLevel {
    class_logits: HostMap,
    distances: HostMap,
    centerness_logits: Option<HostMap>,
}

impl From<LevelPrediction> for HostLevel {
    fn from(level: LevelPrediction) -> Self {
        Self {
            class_logits: level.class_logits.into(),
            distances: level.distances.into(),
            centerness_logits: level.centerness_logits.map(HostMap::from),
        }
    }
}

/// A map `[batch, channels, height, width]` in f32.
struct HostMap {
    values: Vec<f32>,
    image_len: usize,
}

impl From<Tensor<4>> for HostMap {
    #[allow(
        clippy::expect_used,
        reason = "the values of any float tensor are floats"
    )]
    fn from(map: Tensor<4>) -> Self {
        let [_, channels, height, width] = map.dims();
        Self {
            values: map.into_data().try_into_vec_as().expect("floats"),
            image_len: channels * height * width,
        }
    }
}

impl HostMap {
    fn image(&self, index: usize) -> &[f32] {
        &self.values[index * self.image_len..][..self.image_len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{head::CenternessBranch, postprocess::Thresholded};

    fn tiny() -> FcosConfig {
        let mut config = FcosConfig::small(3);
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        config
    }

    /// The rows of the objective and the candidates of the detector come from the
    /// same maps by two paths; here both are read back at every location.
    #[test]
    fn rows_and_detections_agree_on_every_location() {
        let device = Device::flex();
        device.seed(3);
        let mut config = tiny();
        config.head.centerness = Some(CenternessBranch::Classification);
        let model = config.init(&device).map(|model| model.valid());
        let output = model
            .map(|model| {
                model.forward(Tensor::random(
                    [2, 3, 40, 56],
                    burn::tensor::Distribution::Default,
                    &device,
                ))
            })
            .unwrap_or_else(|error| panic!("{error}"));
        let everything = PostprocessConfig {
            score_threshold: 0.0,
            thresholded: Thresholded::ClassProbability,
            candidates_per_level: usize::MAX,
            nms_iou_threshold: 1.0,
            detections_per_image: usize::MAX,
        };
        let frames = [ImageFrame::unscaled([40, 56]); 2];
        let detections = output.clone().detect(&frames, &everything);
        let count = output.locations.len();
        let predictions = output.into_predictions();
        let [rows, classes] = predictions.class_logits.dims();
        assert_eq!([rows, classes], [2 * count, 3]);

        let logits: Vec<f32> = predictions.class_logits.into_data().iter::<f32>().collect();
        let boxes: Vec<f32> = predictions.boxes.into_data().iter::<f32>().collect();
        let centerness: Vec<f32> = predictions
            .centerness_logits
            .map(|c| c.into_data().iter::<f32>().collect())
            .unwrap_or_default();
        let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
        for (image, detections) in detections.iter().enumerate() {
            let key = |bbox: [f32; 4], label: usize, score: f32| {
                let values = [bbox[0], bbox[1], bbox[2], bbox[3], score];
                (label, values.map(|v| (v * 1000.0).round() as i64))
            };
            let mut found: Vec<_> = detections
                .iter()
                .map(|d| key(d.bbox, d.label, d.score))
                .collect();
            let mut expected: Vec<_> = (image * count..(image + 1) * count)
                .flat_map(|row| (0..classes).map(move |class| (row, class)))
                .map(|(row, class)| {
                    let b = &boxes[row * 4..row * 4 + 4];
                    let bbox = [
                        b[0].clamp(0.0, 56.0),
                        b[1].clamp(0.0, 40.0),
                        b[2].clamp(0.0, 56.0),
                        b[3].clamp(0.0, 40.0),
                    ];
                    let score = sigmoid(logits[row * classes + class]) * sigmoid(centerness[row]);
                    key(bbox, class, score.sqrt())
                })
                .collect();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn invalid_configurations_are_not_built() {
        let mut config = tiny();
        config.num_classes = 0;
        assert!(config.init(&Device::flex()).is_err());
    }
}
