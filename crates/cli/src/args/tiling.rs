//! Arguments for large images.

use clap::Args;
use fcos_burn::{data::transforms::Resize, detect::Tiling};

use super::{number::parse_overlap, parse_size};

/// How images are divided into tiles.
#[derive(Args, Clone, Debug)]
pub struct TilingArgs {
    /// Detect in overlapping tiles of this size, so that small objects in large images are found. A tile
    /// enters the network at its own size, or at that of --image-size
    #[arg(long, value_name = "PIXELS|WxH", value_parser = parse_tile)]
    tile: Option<(u32, u32)>,
    /// Let neighboring tiles overlap by at least this share of their size, from 0 to 0.9. Most objects
    /// should fit into the overlap [default: 0.2]
    #[arg(long, value_name = "SHARE", requires = "tile", value_parser = parse_overlap)]
    tile_overlap: Option<f32>,
}

impl TilingArgs {
    /// The tiles that the flags select, if any. `resize` is the size of the network's input for a tile.
    pub fn tiling(&self, resize: Option<Resize>, batch_size: usize) -> Option<Tiling> {
        let (width, height) = self.tile?;
        let tiling = Tiling::new(width, height)
            .with_resize(resize)
            .with_batch_size(batch_size);
        Some(match self.tile_overlap {
            Some(overlap) => tiling.with_overlap(overlap),
            None => tiling,
        })
    }
}

/// Parses the size of a tile: `640`, or `640x480`.
fn parse_tile(text: &str) -> Result<(u32, u32), String> {
    let size = match text.contains('x') {
        true => parse_size(text).ok(),
        false => parse_size(&format!("{text}x{text}")).ok(),
    };
    size.filter(|(width, height)| *width.min(height) >= 16)
        .ok_or_else(|| {
            "expected a side or WIDTHxHEIGHT from 16 to 32768 pixels, such as 640 or 640x480"
                .to_owned()
        })
}
