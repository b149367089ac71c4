//! The detector: backbone, pyramid and head in one module.

use burn::{
    module::Module,
    tensor::{Device, ExecutionError, Tensor},
};
use fcos_burn_boxes::Detection;
use fcos_burn_loss::ConfigError;

use crate::{
    backbone::{Backbone, BackboneConfig, FeatureMap, check_maps, resnet::ResNet},
    config::FcosConfig,
    fpn::Fpn,
    head::FcosHead,
    kernels::in_pool,
    locations::{LocationRule, Locations},
    output::FcosOutput,
    postprocess::{ImageFrame, PostprocessConfig},
};

/// A fully convolutional one-stage detector (Tian et al., 2019) on a backbone `B`.
/// Built by [`FcosConfig::init`].
#[derive(Module, Debug)]
pub struct Fcos<B: Backbone = ResNet> {
    backbone: B,
    fpn: Fpn,
    head: FcosHead,
    #[module(skip)]
    features: Vec<FeatureMap>,
    #[module(skip)]
    location_rule: LocationRule,
    #[module(skip)]
    postprocess: PostprocessConfig,
}

impl<C: BackboneConfig> FcosConfig<C> {
    /// Builds the detector with freshly initialized weights, drawn from the random state of
    /// `device` (see [`Device::seed`]).
    ///
    /// # Errors
    ///
    /// Fails if [`validate`](Self::validate) does.
    pub fn init(&self, device: &Device) -> Result<Fcos<C::Backbone>, ConfigError> {
        self.validate()?;
        let features = self.backbone.features();
        let channels: Vec<usize> = features.iter().map(|map| map.channels).collect();
        let strides = self.fpn.strides(&features);
        Ok(Fcos {
            backbone: self.backbone.init(device),
            fpn: self.fpn.init(&channels, device),
            head: self
                .head
                .init(self.fpn.channels, self.num_classes, &strides, device),
            features,
            location_rule: self.location_rule,
            postprocess: self.postprocess.clone(),
        })
    }
}

impl<B: Backbone> Fcos<B> {
    /// The backbone.
    pub fn backbone(&self) -> &B {
        &self.backbone
    }

    /// The feature pyramid.
    pub fn fpn(&self) -> &Fpn {
        &self.fpn
    }

    /// The head.
    pub fn head(&self) -> &FcosHead {
        &self.head
    }

    /// Where on the input the locations are.
    pub fn location_rule(&self) -> LocationRule {
        self.location_rule
    }

    /// How predictions are decoded into detections.
    pub fn postprocess(&self) -> &PostprocessConfig {
        &self.postprocess
    }

    /// Changes how predictions are decoded into detections.
    ///
    /// # Errors
    ///
    /// The first invalid field of `postprocess`.
    pub fn with_postprocess(self, postprocess: PostprocessConfig) -> Result<Self, ConfigError> {
        postprocess.validate()?;
        let [classes, ..] = self.head.class_logits().weight.dims();
        postprocess.validate_classes(classes)?;
        Ok(Self {
            postprocess,
            ..self
        })
    }

    /// Whether the head has a center-ness branch.
    pub fn predicts_centerness(&self) -> bool {
        self.head.predicts_centerness()
    }

    /// How the computation differs from that of torchvision's FCOS.
    pub(crate) fn differences_from_torchvision(&self) -> Vec<&'static str> {
        let mut differences = match ResNet::of(&self.backbone) {
            Some(resnet) => resnet.differences_from_torchvision(),
            None => vec!["its backbone is not a ResNet"],
        };
        differences.extend(self.fpn.differences_from_torchvision());
        differences.extend(self.head.differences_from_torchvision());
        if self.location_rule != LocationRule::Torchvision {
            differences.push("its locations are elsewhere");
        }
        differences
    }

    /// Predicts for a batch of normalized images.
    ///
    /// Convolutions compute in the number format of `images`. Parameters and predictions
    /// are in 32 bits, and so is the computation of normalization layers.
    ///
    /// # Shapes
    ///
    /// - `images`: `[batch, 3, height, width]`, of any size. To batch images of different
    ///   sizes, pad them with zeros on the right and at the bottom.
    ///
    /// # Panics
    ///
    /// If the backbone returns other maps than [`BackboneConfig::features`] promises.
    pub fn forward(&self, images: Tensor<4>) -> FcosOutput {
        let dims = images.dims();
        let [_, _, height, width] = dims;
        let levels = in_pool(images, |images| {
            let maps = self.backbone.forward(images);
            check_maps(&self.features, &maps, dims);
            self.head.forward(self.fpn.forward(maps))
        });
        FcosOutput {
            levels,
            locations: Locations::new([height, width], self.head.strides(), self.location_rule),
        }
    }

    /// Detects objects in a batch of normalized images.
    ///
    /// Returns the detections of each image in order of descending score, boxes in pixels
    /// of the original image. Use it on a model without autodiff ([`Module::valid`]).
    ///
    /// # Shapes
    ///
    /// - `images`: as for [`forward`](Self::forward)
    /// - `frames`: one per image of the batch
    ///
    /// # Errors
    ///
    /// Fails if the device fails.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward), or if there is not one of `frames` for each image.
    pub fn detect(
        &self,
        images: Tensor<4>,
        frames: &[ImageFrame],
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        self.forward(images).detect(frames, &self.postprocess)
    }

    /// The candidates in a batch of normalized images, from which [`detect`](Self::detect) selects by suppression.
    ///
    /// Returns the candidates of each image, boxes in pixels of the original image. They are for views of the same
    /// image, which are suppressed together. Use it on a model without autodiff ([`Module::valid`]).
    ///
    /// # Shapes
    ///
    /// Those of [`detect`](Self::detect).
    ///
    /// # Errors
    ///
    /// Fails if the device fails.
    ///
    /// # Panics
    ///
    /// As [`detect`](Self::detect).
    pub fn candidates(
        &self,
        images: Tensor<4>,
        frames: &[ImageFrame],
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        self.forward(images).candidates(frames, &self.postprocess)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::{CenternessBranch, RegressionForm};

    fn tiny() -> FcosConfig {
        let mut config = FcosConfig::small(3);
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        config
    }

    /// The rows of the objective and the candidates for detections are computed from the
    /// same maps in two ways; both are compared at every location.
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
        let everything = PostprocessConfig::default()
            .with_score_threshold(0.0)
            .with_candidates_per_level(usize::MAX)
            .with_nms_iou_threshold(1.0)
            .with_detections_per_image(usize::MAX);
        let frames = [ImageFrame::unscaled([40, 56]); 2];
        let detections =
            (output.clone().detect(&frames, &everything)).unwrap_or_else(|error| panic!("{error}"));
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
    fn distributions_have_the_boxes_as_their_means() {
        let device = Device::flex();
        let mut config = tiny();
        config.head.regression = RegressionForm::Distribution { bins: 6 };
        let model = config.init(&device).map(|model| model.valid());
        let model = model.unwrap_or_else(|error| panic!("{error}"));
        let noise = burn::tensor::Distribution::Default;
        let output = model.forward(Tensor::random([2, 3, 40, 56], noise, &device));
        let predictions = output.into_predictions();
        let Some(distributions) = predictions.distributions else {
            panic!("no distributions");
        };
        let [rows, sides, bins] = distributions.logits.dims();
        assert_eq!([rows, sides, bins], [predictions.boxes.dims()[0], 4, 7]);
        let bin = Tensor::<1, burn::tensor::Int>::arange(0..7, &device).float();
        let shares = burn::tensor::activation::softmax(distributions.logits, 2);
        let means: Tensor<2> = (shares * bin.reshape([1, 1, 7])).sum_dim(2).squeeze_dim(2);
        let distances = means * distributions.bin_sizes.reshape([rows, 1]);
        let [left_top, right_bottom] = [0, 2].map(|side| distances.clone().narrow(1, side, 2));
        let corners = vec![
            distributions.locations.clone() - left_top,
            distributions.locations + right_bottom,
        ];
        let difference = (Tensor::cat(corners, 1) - predictions.boxes).abs().max();
        assert!(difference.into_scalar::<f32>() < 1e-3);
    }

    #[test]
    fn invalid_configurations_are_refused() {
        let mut config = tiny();
        config.num_classes = 0;
        assert!(config.init(&Device::flex()).is_err());
    }
}
