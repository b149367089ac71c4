//! Timing of inference, from images to boxes.

use std::hint::black_box;

use crate::Error;
use burn::tensor::Tensor;
use fcos_burn::{data::DetectionDataset, detect::Detector, model::Fcos, train::RunConfig};
use serde::Serialize;

use super::{
    memory,
    stopwatch::{Rounds, Stage, Stopwatch},
};

/// Time and memory of detection in a batch of images.
#[derive(Clone, Debug, Serialize)]
pub struct InferenceReport {
    /// Shape of the batch, `[images, 3, height, width]`.
    pub input: [usize; 4],
    /// Number of detections in all images.
    pub detections: usize,
    /// Stages for a batch of decoded images: `preprocessing`, `transfer`, `forward`, `detections`
    /// (decoding, thresholding and suppression), and `detect`, which is all of them together.
    pub stages: Vec<Stage>,
    /// Peak memory in MiB.
    pub peak_mib: Option<f64>,
}

/// Times detection in the first images of a data set.
///
/// # Errors
///
/// Fails if an image cannot be read or the device fails.
pub fn measure(
    config: &RunConfig,
    model: &Fcos,
    dataset: &DetectionDataset,
    rounds: Rounds,
) -> Result<InferenceReport, Error> {
    memory::begin_peak();
    let device = config.devices[0].open(config.precision)?;
    let images = (0..config.batch_size.min(dataset.len()))
        .map(|index| dataset.image(index))
        .collect::<Result<Vec<_>, _>>()?;
    let detector = Detector::new(
        model,
        config.input.clone(),
        config.data.categories.clone(),
        device.clone(),
        config.precision,
    );
    let mut stopwatch = Stopwatch::new(&device);
    let (mut input, mut detections) = ([0; 4], 0);
    for _ in 0..rounds.warm_up + rounds.measured {
        let host = stopwatch.time("preprocessing", || config.input.batch(&images))??;
        for view in host.views {
            let pixels = || Tensor::<4>::from_data(view.images, &device);
            let batch = stopwatch.time("transfer", pixels)?;
            input = batch.dims();
            let output = stopwatch.time("forward", || {
                let precision = config.precision;
                let images = precision.cast(batch);
                precision.scope(|| detector.model().forward(images))
            })?;
            let postprocess = detector.model().postprocess();
            let found =
                stopwatch.time("detections", || output.detect(&view.frames, postprocess))?;
            black_box(found.map_err(fcos_burn::detect::Error::from)?);
        }
        let found = stopwatch.time("detect", || detector.detect(&images))??;
        detections = found.iter().map(Vec::len).sum();
    }
    Ok(InferenceReport {
        input,
        detections,
        stages: stopwatch.stages(rounds),
        peak_mib: memory::peak_mib(),
    })
}
