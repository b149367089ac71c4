//! A training step: forward and backward pass across devices, gradients, optimizer.

mod device_group;
mod gradients;
mod kernels;
mod optimizer;
mod output;
mod trainable;
mod weight_average;

pub use device_group::DeviceGroup;
pub use optimizer::LearningRateSchedule;
pub use output::{StepMetric, StepOutput, ValidationOutput};
pub use trainable::TrainableDetector;
pub use weight_average::WeightAverage;
