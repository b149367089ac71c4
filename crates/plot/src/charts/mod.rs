//! Charts as SVG and PNG files.

pub use axis::{Axis, Tick};
pub use heat_map::HeatMap;
pub use line_chart::LineChart;
pub use scatter_chart::{ScatterChart, sample_dots};
pub use series::Series;

mod axis;
mod canvas;
mod frame;
mod heat_map;
mod legend;
mod line_chart;
mod note;
mod polyline;
mod render;
mod scatter_chart;
mod series;
