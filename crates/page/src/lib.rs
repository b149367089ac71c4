#![doc = include_str!("../README.md")]

mod data;
mod document;
pub mod markup;
mod photos;
pub mod text;

pub use data::Data;
pub use document::Document;
pub use photos::{Jpeg, Photo, Photos, scaled};
