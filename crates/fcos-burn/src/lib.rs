#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

// The tensors and modules in this interface, in the version that it uses.
pub use fcos_burn_model::burn;

pub use fcos_burn_boxes as boxes;
pub use fcos_burn_data as data;
pub use fcos_burn_detect as detect;
pub use fcos_burn_eval as eval;
#[cfg(feature = "inspect")]
pub use fcos_burn_inspect as inspect;
pub use fcos_burn_loss as loss;
pub use fcos_burn_model as model;
#[cfg(feature = "onnx")]
pub use fcos_burn_onnx as onnx;
pub use fcos_burn_plot as plot;
#[cfg(feature = "train")]
pub use fcos_burn_report as report;
#[cfg(feature = "train")]
pub use fcos_burn_train as train;

pub mod prelude;
