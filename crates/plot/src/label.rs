//! Labels of boxes.

use ab_glyph::{FontRef, PxScale};
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_filled_rect_mut, draw_text_mut, text_size};
use imageproc::rect::Rect;

use crate::class_color::text_color;

/// Writes `text` on a plate of the given color next to the box that covers `pixels`. A label
/// without room is left out.
pub(crate) fn draw_label(
    image: &mut RgbImage,
    font: &FontRef<'_>,
    text_height: f32,
    pixels: Rect,
    text: &str,
    color: Rgb<u8>,
) {
    if text.is_empty() {
        return;
    }
    let scale = PxScale::from(text_height);
    let (text_width, line_height) = text_size(scale, font, text);
    let margin = (text_height / 5.0).ceil() as u32;
    let size = (text_width.saturating_add(2 * margin), line_height);
    let Some(plate) = plate(pixels, size, image.dimensions()) else {
        return;
    };
    draw_filled_rect_mut(image, plate, color);
    let text_x = plate.left() + margin as i32;
    draw_text_mut(
        image,
        text_color(color),
        text_x,
        plate.top(),
        scale,
        font,
        text,
    );
}

/// The plate of a label of a given size, inside the picture, or `None` if there is no room
/// for it.
fn plate(pixels: Rect, size: (u32, u32), (image_width, image_height): (u32, u32)) -> Option<Rect> {
    let (width, height) = (i64::from(size.0), i64::from(size.1));
    let (image_width, image_height) = (i64::from(image_width), i64::from(image_height));
    if width > image_width || 4 * height > image_height {
        return None;
    }
    let x = i64::from(pixels.left()).clamp(0, image_width - width);
    let start = i64::from(pixels.top());
    let end = start + i64::from(pixels.height());
    let (top, bottom) = (start.max(0), end.min(image_height));
    let y = if start >= height {
        start - height
    } else if 2 * height <= bottom - top {
        top
    } else if bottom + height <= image_height {
        bottom
    } else {
        return None;
    };
    let corner = Rect::at(i32::try_from(x).ok()?, i32::try_from(y).ok()?);
    Some(corner.of_size(size.0, size.1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn corner(pixels: Rect, size: (u32, u32), image: (u32, u32)) -> Option<(i32, i32)> {
        plate(pixels, size, image).map(|plate| (plate.left(), plate.top()))
    }

    #[test]
    fn labels_go_above_then_inside_then_below() {
        let of_box = |x: i32, y: i32, width: u32, height: u32| {
            corner(Rect::at(x, y).of_size(width, height), (60, 16), (200, 100))
        };
        assert_eq!(of_box(20, 40, 70, 50), Some((20, 24)));
        assert_eq!(of_box(20, 5, 70, 85), Some((20, 5)));
        assert_eq!(of_box(20, 5, 70, 25), Some((20, 30)));
        assert_eq!(of_box(190, 40, 9, 50), Some((140, 24)));
    }

    #[test]
    fn labels_without_room_are_left_out() {
        let in_image = |image| corner(Rect::at(0, 20).of_size(9, 9), (60, 16), image);
        assert_eq!(in_image((59, 100)), None);
        assert_eq!(in_image((60, 63)), None);
        assert_eq!(in_image((60, 64)), Some((0, 4)));
    }

    #[test]
    fn labels_stay_in_the_picture_and_off_most_of_their_box() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut labeled = 0;
        for _ in 0..2000 {
            let mut span = |side: i32| {
                let start = rng.random_range(-150..side);
                (start, rng.random_range((-start).max(0) as u32 + 1..500))
            };
            let ((x, width), (y, height)) = (span(320), span(240));
            let pixels = Rect::at(x, y).of_size(width, height);
            let Some(plate) = plate(pixels, (70, 15), (320, 240)) else {
                continue;
            };
            labeled += 1;
            let picture = Rect::at(0, 0).of_size(320, 240);
            assert_eq!(picture.intersect(plate), Some(plate), "{pixels:?}");
            let visible = y.max(0)..(y + height as i32).min(240);
            let covered = (plate.bottom() + 1).min(visible.end) - plate.top().max(visible.start);
            assert!(2 * covered <= visible.end - visible.start, "{pixels:?}");
        }
        assert!(labeled > 1000, "{labeled} labels");
    }
}
