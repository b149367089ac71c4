//! The detector's output for a batch.

use std::iter;

use burn::tensor::{Device, ExecutionError, Tensor, TensorData};
use fcos_burn_boxes::Detection;
use fcos_burn_loss::{BoxDistributions, Levels, Predictions};

use crate::{
    head::LevelPrediction,
    locations::{LevelGrid, Locations},
    postprocess::{ImageFrame, LevelValues, PostprocessConfig, candidates, detect},
};

/// The head's predictions for a batch, level by level.
#[derive(Clone, Debug)]
pub struct FcosOutput {
    /// The levels, from fine to coarse.
    pub levels: Vec<LevelPrediction>,
    /// The location of each prediction in the input.
    pub locations: Locations,
}

impl FcosOutput {
    /// Joins the levels into the rows that the objective takes.
    ///
    /// # Shapes
    ///
    /// With N = batch × locations, image by image and each image in the order of
    /// [`Locations`]: class logits `[N, classes]`, boxes `[N, 4]` as xyxy in input pixels,
    /// center-ness or IoU logits and levels `[N]`, logits of distributions `[N, 4, bins + 1]`.
    pub fn into_predictions(self) -> Predictions {
        let count = self.locations.len();
        let rows = |maps: Vec<Tensor<4>>| -> Tensor<3> {
            let rows = maps
                .into_iter()
                .map(|map| {
                    let [batch, channels, height, width] = map.dims();
                    // No copy if the channels are last in memory. Not `permute`, with which training over
                    // Burn's remote backend fails.
                    map.swap_dims(1, 2)
                        .swap_dims(2, 3)
                        .reshape([batch, height * width, channels])
                })
                .collect();
            Tensor::cat(rows, 1)
        };
        let mut class_logits = Vec::new();
        let mut distances = Vec::new();
        let mut centerness_logits = Vec::new();
        let mut iou_logits = Vec::new();
        let mut distribution_logits = Vec::new();
        for level in self.levels {
            class_logits.push(level.class_logits);
            distances.push(level.distances);
            centerness_logits.extend(level.centerness_logits);
            iou_logits.extend(level.iou_logits);
            distribution_logits.extend(level.distribution_logits);
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
                locations.clone() + distances.narrow(2, 2, 2),
            ],
            2,
        );
        let class_logits = rows(class_logits);
        let [batch, _, classes] = class_logits.dims();
        let column =
            |maps: Vec<Tensor<4>>| (!maps.is_empty()).then(|| rows(maps).reshape([batch * count]));
        let distributions = (!distribution_logits.is_empty()).then(|| {
            let logits = rows(distribution_logits);
            let bins = logits.dims()[2] / 4;
            BoxDistributions {
                logits: logits.reshape([batch * count, 4, bins]),
                locations: (locations.without_autodiff().expand([batch, count, 2]))
                    .reshape([batch * count, 2]),
                bin_sizes: strides_of(&self.locations, batch, &device),
            }
        });
        Predictions {
            centerness_logits: column(centerness_logits),
            iou_logits: column(iou_logits),
            distributions,
            levels: Some(levels_of(&self.locations, batch, &device)),
            ..Predictions::new(
                class_logits.reshape([batch * count, classes]),
                boxes.reshape([batch * count, 4]),
            )
        }
    }

    /// Decodes the predictions into detections, on the host: for each image in order of
    /// descending score, boxes in pixels of the original image (see [`detect`]).
    ///
    /// # Errors
    ///
    /// Fails if the device fails.
    ///
    /// # Panics
    ///
    /// If there is not one of `frames` for each image.
    pub fn detect(
        self,
        frames: &[ImageFrame],
        config: &PostprocessConfig,
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        self.decode(frames, |levels, frame| detect(levels, frame, config))
    }

    /// Decodes the predictions into candidates before suppression, on the host: for each image level by level, boxes in
    /// pixels of the original image (see [`candidates`]).
    ///
    /// # Errors
    ///
    /// Fails if the device fails.
    ///
    /// # Panics
    ///
    /// If there is not one of `frames` for each image.
    pub fn candidates(
        self,
        frames: &[ImageFrame],
        config: &PostprocessConfig,
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        self.decode(frames, |levels, frame| candidates(levels, frame, config))
    }

    /// Applies `decode` to the predictions for each image.
    fn decode(
        self,
        frames: &[ImageFrame],
        decode: impl Fn(&[LevelValues<'_>], ImageFrame) -> Vec<Detection>,
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        let batch = (self.levels.first()).map_or(0, |level| level.class_logits.dims()[0]);
        assert_eq!(batch, frames.len(), "frames of the images");
        let levels = self.levels.into_iter().map(HostLevel::read);
        let levels: Vec<HostLevel> = levels.collect::<Result<_, _>>()?;
        let images = frames.iter().enumerate().map(|(image, &frame)| {
            let values: Vec<LevelValues<'_>> = levels
                .iter()
                .zip(self.locations.levels())
                .map(|(level, &grid)| LevelValues {
                    grid,
                    class_logits: level.class_logits.image(image),
                    distances: level.distances.image(image),
                    quality_logits: (level.quality_logits.as_ref()).map(|map| map.image(image)),
                })
                .collect();
            decode(&values, frame)
        });
        Ok(images.collect())
    }
}

/// The level of each location of `batch` images.
fn levels_of(locations: &Locations, batch: usize, device: &Device) -> Levels {
    let levels = each_location(locations, batch, |level, _| level as i32);
    let data = TensorData::new(levels, [batch * locations.len()]);
    Levels {
        indices: Tensor::from_data(data, &device.clone().without_autodiff()),
        count: locations.levels().len(),
    }
}

/// The stride at each location of `batch` images.
fn strides_of(locations: &Locations, batch: usize, device: &Device) -> Tensor<1> {
    let strides = each_location(locations, batch, |_, grid| grid.stride as f32);
    let data = TensorData::new(strides, [batch * locations.len()]);
    Tensor::from_data(data, &device.clone().without_autodiff())
}

/// A value of each level, at each of its locations in `batch` images.
fn each_location<T: Copy>(
    locations: &Locations,
    batch: usize,
    value: impl Fn(usize, &LevelGrid) -> T,
) -> Vec<T> {
    let grids = locations.levels().iter().enumerate();
    let of_image: Vec<T> = grids
        .flat_map(|(level, grid)| iter::repeat_n(value(level, grid), grid.len()))
        .collect();
    of_image.repeat(batch)
}

/// The predictions of a level on the host.
struct HostLevel {
    class_logits: HostMap,
    distances: HostMap,
    quality_logits: Option<HostMap>,
}

impl HostLevel {
    fn read(level: LevelPrediction) -> Result<Self, ExecutionError> {
        let quality_logits = level.centerness_logits.or(level.iou_logits);
        Ok(Self {
            class_logits: HostMap::read(level.class_logits)?,
            distances: HostMap::read(level.distances)?,
            quality_logits: quality_logits.map(HostMap::read).transpose()?,
        })
    }
}

/// A map `[batch, channels, height, width]` on the host.
struct HostMap {
    values: Vec<f32>,
    image_len: usize,
}

impl HostMap {
    #[allow(
        clippy::expect_used,
        reason = "the values of any float tensor are floats"
    )]
    fn read(map: Tensor<4>) -> Result<Self, ExecutionError> {
        let [_, channels, height, width] = map.dims();
        Ok(Self {
            values: map.try_into_data()?.try_into_vec_as().expect("floats"),
            image_len: channels * height * width,
        })
    }

    fn image(&self, index: usize) -> &[f32] {
        &self.values[index * self.image_len..][..self.image_len]
    }
}
