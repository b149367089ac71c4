#![doc = include_str!("../README.md")]

mod backbone;
mod config;
mod decode;
mod detections;
mod error;
mod export;
mod graph;
mod input;
mod layers;
mod metadata;
mod network;
mod proto;

pub use backbone::OnnxBackbone;
pub use config::{OnnxConfig, Outputs, Pixels, WeightFormat};
pub use error::OnnxError;
pub use export::{export, to_bytes};
pub use graph::{Attribute, Graph, Value};
