//! Arguments for the size of the network's input.

use clap::Args;
use fcos_burn::data::transforms::Resize;

/// The size of the network's input.
#[derive(Args, Clone, Debug)]
pub struct ImageSizeArgs {
    /// Resize images to this size for the network [default: that of the weights, if they are those of a
    /// detector; in training without them, that of the preset: small, accurate: 160x120, paper: shorter
    /// side 800, longer side at most 1333]
    #[arg(long, value_name = "WxH", value_parser = parse_size, conflicts_with_all = ["short_side", "long_side"])]
    image_size: Option<(u32, u32)>,
    /// Resize images so that their shorter side has this length
    #[arg(long, value_name = "PIXELS", requires = "long_side", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    short_side: Option<u32>,
    /// Limit the longer side to this length
    #[arg(long, value_name = "PIXELS", requires = "short_side", value_parser = clap::value_parser!(u32).range(1..=32_768))]
    long_side: Option<u32>,
}

impl ImageSizeArgs {
    /// The size that the flags select, if any.
    pub fn resize(&self) -> Option<Resize> {
        let fixed = (self.image_size).map(|(width, height)| Resize::Fixed { width, height });
        let sides = self.short_side.zip(self.long_side);
        fixed.or(sides.map(|(short, long)| Resize::ShortSide { short, long }))
    }
}

/// Parses a size in pixels, such as `256x192`, as width and height.
///
/// # Errors
///
/// States the form, for a message about the flag.
pub fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=32_768).contains(side));
    text.split_once('x')
        .and_then(|(width, height)| Some((side(width)?, side(height)?)))
        .ok_or_else(|| {
            "expected WIDTHxHEIGHT in pixels, such as 256x192, with sides from 1 to 32,768"
                .to_owned()
        })
}
