//! Detections in the formats of other tools.

pub mod coco;
pub mod csv;
pub mod yolo;
