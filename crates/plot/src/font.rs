//! The embedded font of charts and labels.
//!
//! It is a subset of DejaVu Sans (`assets/DejaVuSans-subset.ttf`, with its license next to
//! it), so that text looks the same on all machines, even without installed fonts. A
//! character outside the subset shows as an empty box.

#[cfg(feature = "charts")]
use std::sync::OnceLock;

use ab_glyph::{FontRef, InvalidFont};
#[cfg(feature = "charts")]
use plotters::style::{FontFamily, FontStyle, register_font};

static BYTES: &[u8] = include_bytes!("../assets/DejaVuSans-subset.ttf");

/// A CSS font list, because plotters copies it verbatim into SVG files.
#[cfg(feature = "charts")]
const FAMILY: &str = "DejaVu Sans, sans-serif";

/// The font as glyph outlines.
pub(crate) fn face() -> Result<FontRef<'static>, InvalidFont> {
    FontRef::try_from_slice(BYTES)
}

/// The font as a family registered with plotters.
#[cfg(feature = "charts")]
pub(crate) fn family() -> Result<FontFamily<'static>, InvalidFont> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    let registered =
        REGISTERED.get_or_init(|| register_font(FAMILY, FontStyle::Normal, BYTES).is_ok());
    if *registered {
        Ok(FontFamily::Name(FAMILY))
    } else {
        Err(InvalidFont)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use ab_glyph::{Font, GlyphId};

    use super::*;

    #[test]
    fn the_font_has_every_character_that_charts_use() {
        let font = face().unwrap();
        let printable = (' '..='~').chain('\u{a1}'..='ÿ');
        for c in printable.chain("αβγλρτ←↑→↓≥≤²–—…−±×".chars()) {
            assert_ne!(font.glyph_id(c), GlyphId(0), "no glyph for {c:?}");
        }
    }

    #[cfg(feature = "charts")]
    #[test]
    fn plotters_can_measure_text_in_the_font() {
        let font = plotters::style::FontDesc::new(family().unwrap(), 20.0, FontStyle::Normal);
        let (width, height) = font.box_size("score ≥ 0.5").unwrap();
        assert!(width > 60 && height > 10, "{width} × {height}");
    }
}
