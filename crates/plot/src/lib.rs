#![doc = include_str!("../README.md")]

mod charts;
mod drawing;
mod error;
mod font;

pub use charts::{HeatMap, LineChart, LogLineChart, MOST_DOTS, ScatterChart, Series};
pub use drawing::{DrawnBox, annotated, contact_sheet, draw_boxes, save_picture};
pub use error::PlotError;
