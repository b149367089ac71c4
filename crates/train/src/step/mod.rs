//! A training step: forward and backward pass across devices, gradients, optimizer.

mod device_group;
mod gradients;
mod kernels;
mod module_path;
mod optimizer;
mod output;
mod parameters;
#[cfg(test)]
mod running_means;
mod schedule;
mod trainable;
mod transfer;
mod weight_average;

pub use device_group::DeviceGroup;
pub use output::{StepMetric, StepOutput, ValidationOutput};
pub use parameters::ParameterSettings;
#[cfg(test)]
pub(crate) use running_means::running_means;
pub use schedule::LearningRateSchedule;
pub use trainable::TrainableDetector;
pub use weight_average::WeightAverage;
