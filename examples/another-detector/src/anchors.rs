//! The detector: three strided convolutions, one plain convolution, a head with one square anchor
//! per cell, and decoding.

use burn::{
    module::Module,
    nn::{
        PaddingConfig2d,
        conv::{Conv2d, Conv2dConfig},
    },
    tensor::{Device, ExecutionError, Tensor, TensorData, activation::relu},
};
use fcos_burn_boxes::{Detection, batched_nms};
use fcos_burn_loss::Predictions;
use fcos_burn_model::{
    HostPredictions,
    locations::{LocationRule, Locations},
};

/// Distance between anchors in pixels.
pub const STRIDE: usize = 8;
/// Side of the anchors in pixels.
const ANCHOR: f64 = 24.0;

#[derive(Module, Debug)]
pub struct AnchorDetector {
    convs: Vec<Conv2d>,
    class_logits: Conv2d,
    offsets: Conv2d,
}

impl AnchorDetector {
    pub fn new(classes: usize, device: &Device) -> Self {
        let conv = |channels, stride| {
            Conv2dConfig::new(channels, [3, 3])
                .with_stride([stride; 2])
                .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
                .init(device)
        };
        Self {
            convs: vec![
                conv([3, 16], 2),
                conv([16, 32], 2),
                conv([32, 64], 2),
                conv([64, 64], 1),
            ],
            class_logits: conv([64, classes], 1),
            offsets: conv([64, 4], 1),
        }
    }

    /// The centers of the anchors in images `[batch, 3, height, width]`.
    pub fn locations(images: &Tensor<4>) -> Locations {
        let [_, _, height, width] = images.dims();
        Locations::new([height, width], &[STRIDE], LocationRule::HalfStride)
    }

    /// The predictions of all images, one row per location in the order of [`Locations`].
    pub fn forward(&self, images: Tensor<4>, locations: &Locations) -> Predictions {
        let features = self
            .convs
            .iter()
            .fold(images, |x, conv| relu(conv.forward(x)));
        let rows = |map: Tensor<4>| -> Tensor<2> {
            let [_, channels, _, _] = map.dims();
            map.permute([0, 2, 3, 1]).reshape([-1, channels as i32])
        };
        let logits = rows(self.class_logits.forward(features.clone())).sub_scalar(3.0);
        let offsets = rows(self.offsets.forward(features));
        let count = offsets.dims()[0] / locations.len().max(1);
        let centers: Vec<f32> = locations.iter().flatten().collect();
        let centers = TensorData::new(centers, [locations.len(), 2]);
        let centers = Tensor::<2>::from_data(centers, &offsets.device()).repeat_dim(0, count);
        // Faster R-CNN's parametrization: shift of the center, logarithm of the size.
        let centers = centers + offsets.clone().narrow(1, 0, 2).mul_scalar(ANCHOR);
        let halves = offsets
            .narrow(1, 2, 2)
            .clamp(-3.0, 3.0)
            .exp()
            .mul_scalar(ANCHOR / 2.0);
        let boxes = Tensor::cat(vec![centers.clone() - halves.clone(), centers + halves], 1);
        Predictions::new(logits, boxes)
    }
    /// The detections in one image, by descending score.
    pub fn detect(&self, image: Tensor<4>) -> Result<Vec<Detection>, ExecutionError> {
        let locations = Self::locations(&image);
        let predictions = self.forward(image, &locations);
        let predictions = HostPredictions::read(&predictions, locations.len())?;
        let image = predictions.image(0);
        let mut candidates = Vec::new();
        for (location, bbox) in image.boxes().iter().enumerate() {
            for (label, logit) in image.class_logits(location).iter().enumerate() {
                candidates.push(Detection {
                    bbox: *bbox,
                    label,
                    score: 1.0 / (1.0 + (-logit).exp()),
                });
            }
        }
        candidates.retain(|candidate| candidate.score > 0.05);
        Ok(batched_nms(candidates, 0.6).take(100).collect())
    }
}
