//! A file in `rten`.

use fcos_burn_boxes::{Detection, iou};
use image::RgbImage;
use rten::{Model, ModelOptions, NodeId};
use rten_onnx::onnx::ModelProto;
use rten_tensor::{NdTensor, Tensor, prelude::*};

pub struct Runtime {
    model: Model,
    file: ModelProto,
}

impl Runtime {
    pub fn new(bytes: Vec<u8>) -> Self {
        let file = ModelProto::parse_buf(&bytes).unwrap();
        // Optimization would remove the values around `NonMaxSuppression`.
        let mut options = ModelOptions::with_all_ops();
        let model = options.enable_optimization(false).load(bytes).unwrap();
        Self { model, file }
    }

    pub fn has(&self, name: &str) -> bool {
        self.model.find_node(name).is_some()
    }

    pub fn floats(&self, images: &Tensor<f32>, output: &str) -> (Vec<usize>, Vec<f32>) {
        let value = self.run(images, None, &[output]).remove(0);
        let tensor: Tensor<f32> = value.try_into().unwrap();
        (tensor.shape().to_vec(), tensor.to_vec())
    }

    pub fn integers(&self, images: &Tensor<f32>, output: &str) -> (Vec<usize>, Vec<i32>) {
        let value = self.run(images, None, &[output]).remove(0);
        let tensor: Tensor<i32> = value.try_into().unwrap();
        (tensor.shape().to_vec(), tensor.to_vec())
    }

    fn run(
        &self,
        images: &Tensor<f32>,
        selected: Option<(&str, Tensor<i32>)>,
        outputs: &[&str],
    ) -> Vec<rten::Value> {
        let id = |name: &str| -> NodeId { self.model.node_id(name).unwrap() };
        let mut inputs = vec![(id("images"), images.view().into())];
        inputs.extend(selected.map(|(name, value)| (id(name), value.into())));
        let outputs: Vec<NodeId> = outputs.iter().map(|output| id(output)).collect();
        self.model.run(inputs, &outputs, None).unwrap()
    }

    /// The detections of each image, with `NonMaxSuppression` by [`suppression`].
    pub fn detections(&self, images: &Tensor<f32>) -> Vec<Vec<Detection>> {
        let graph = self.file.graph.as_ref().unwrap();
        let mut nodes = graph.node.iter();
        let node = nodes.find(|node| node.op_type.as_deref() == Some("NonMaxSuppression"));
        let node = node.unwrap();
        let inputs: Vec<&str> = node.input.iter().map(String::as_str).collect();
        let mut values = self.run(images, None, &inputs).into_iter();
        let boxes: NdTensor<f32, 3> = values.next().unwrap().try_into().unwrap();
        let scores: NdTensor<f32, 3> = values.next().unwrap().try_into().unwrap();
        let most: Tensor<i32> = values.next().unwrap().try_into().unwrap();
        let mut limit = || -> f32 {
            let limit: Tensor<f32> = values.next().unwrap().try_into().unwrap();
            limit.to_vec()[0]
        };
        let (most_iou, least) = (limit(), limit());
        let selected = suppression(&boxes, &scores, most.to_vec()[0], most_iou, least);

        let selected = (node.output[0].as_str(), selected);
        let outputs = ["boxes", "scores", "labels", "counts"];
        let mut values = self.run(images, Some(selected), &outputs).into_iter();
        let boxes: NdTensor<f32, 3> = values.next().unwrap().try_into().unwrap();
        let scores: NdTensor<f32, 2> = values.next().unwrap().try_into().unwrap();
        let labels: NdTensor<i32, 2> = values.next().unwrap().try_into().unwrap();
        let counts: NdTensor<i32, 1> = values.next().unwrap().try_into().unwrap();
        let counts = counts.to_vec().into_iter().enumerate();
        counts
            .map(|(image, count)| {
                let rows = 0..count as usize;
                rows.map(|row| Detection {
                    bbox: std::array::from_fn(|side| boxes[[image, row, side]]),
                    label: labels[[image, row]] as usize,
                    score: scores[[image, row]],
                })
                .collect()
            })
            .collect()
    }

    /// The names of stored weights that start with `prefix`.
    pub fn initializers(&self, prefix: &str) -> Vec<String> {
        let graph = self.file.graph.as_ref().unwrap();
        let names = graph
            .initializer
            .iter()
            .filter_map(|tensor| tensor.name.clone());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    pub fn metadata(&self, key: &str) -> Option<String> {
        let mut entries = self.file.metadata_props.iter();
        let entry = entries.find(|entry| entry.key.as_deref() == Some(key))?;
        entry.value.clone()
    }

    pub fn opset(&self) -> i64 {
        self.file.opset_import[0].version.unwrap()
    }
}

/// `NonMaxSuppression` by the specification: greedy, within each image and class. `boxes` are
/// `[images, n, 4]`, `scores` are `[images, classes, n]`.
fn suppression(
    boxes: &NdTensor<f32, 3>,
    scores: &NdTensor<f32, 3>,
    most: i32,
    most_iou: f32,
    least: f32,
) -> Tensor<i32> {
    let [images, classes, count] = scores.shape();
    let mut selected: Vec<[i32; 3]> = Vec::new();
    for image in 0..images {
        let corners = |index: usize| std::array::from_fn(|side| boxes[[image, index, side]]);
        for class in 0..classes {
            let score = |index: usize| scores[[image, class, index]];
            let mut order: Vec<usize> = (0..count).filter(|&index| score(index) > least).collect();
            order.sort_by(|&a, &b| score(b).total_cmp(&score(a)));
            let mut kept: Vec<usize> = Vec::new();
            for index in order {
                let suppresses = |&other: &usize| iou(&corners(other), &corners(index)) > most_iou;
                if kept.len() < most as usize && !kept.iter().any(suppresses) {
                    kept.push(index);
                }
            }
            selected.extend(
                kept.iter()
                    .map(|&index| [image, class, index].map(|i| i as i32)),
            );
        }
    }
    Tensor::from_data(&[selected.len(), 3], selected.concat())
}

/// Images of one size as `[images, 3, height, width]`, from 0 to 255.
pub fn rgb(images: &[RgbImage]) -> Tensor<f32> {
    let (width, height) = images[0].dimensions();
    let mut values = Vec::new();
    for image in images {
        for channel in 0..3 {
            values.extend(image.pixels().map(|pixel| f32::from(pixel[channel])));
        }
    }
    Tensor::from_data(&[images.len(), 3, height as usize, width as usize], values)
}

pub fn tensor(values: burn::tensor::Tensor<4>) -> Tensor<f32> {
    let shape = values.dims();
    Tensor::from_data(&shape, values.into_data().iter::<f32>().collect::<Vec<_>>())
}
