//! Boxes and labels drawn on pictures.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use imageproc::drawing::draw_hollow_rect_mut;
use imageproc::rect::Rect;

use crate::class_color::class_color;
use crate::font;
use crate::label::draw_label;

/// Minimum height of text, in pixels, at which the embedded font is readable.
const MIN_TEXT_HEIGHT: f32 = 14.0;

/// The longest side to which [`annotated`] enlarges a picture, in pixels.
const MAX_SIDE: u32 = 4096;

/// A box to draw on a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawnBox {
    /// Corners `[x1, y1, x2, y2]` in pixels. Pixel `i` spans `i..i + 1`.
    pub bbox: [f32; 4],
    /// The label, or an empty string for none. Characters other than Latin-1 and a few Greek
    /// letters and symbols show as empty boxes.
    pub text: String,
    /// The class, which determines the color. The 20 colors repeat.
    pub class: usize,
}

/// Draws the outlines of boxes on a picture, in the given order, and then their labels, so
/// that no outline crosses a label.
///
/// The thickness of an outline is 1/250 of the shorter side of the picture, at least one
/// pixel, and the outline lies inside its box. It is clipped at the edges of the picture. A
/// degenerate box, or one with a coordinate that is not finite, is not drawn.
///
/// A label goes above its box if the picture has room there, otherwise to the top of the
/// inside, otherwise below. It is left out if there is no room: if it is wider than the
/// picture, taller than a quarter of it, or would cover more than half of the height of the
/// box without room below. [`annotated`] enlarges small pictures to make room.
pub fn draw_boxes(image: &mut RgbImage, boxes: &[DrawnBox]) {
    let shorter = image.width().min(image.height());
    let thickness = (shorter as f32 / 250.0).round().max(1.0) as u32;
    let visible: Vec<(Rect, &DrawnBox)> = boxes
        .iter()
        .filter_map(|drawn| {
            let pixels = covered_pixels(drawn.bbox, image.dimensions(), thickness)?;
            Some((pixels, drawn))
        })
        .collect();

    for (pixels, drawn) in &visible {
        draw_outline(image, *pixels, thickness, class_color(drawn.class));
    }
    let Ok(font) = font::face() else { return };
    let text_height = (shorter as f32 / 28.0).max(MIN_TEXT_HEIGHT);
    for (pixels, drawn) in &visible {
        let color = class_color(drawn.class);
        draw_label(image, &font, text_height, *pixels, &drawn.text, color);
    }
}

/// A copy of a picture with boxes drawn on it, enlarged if it is small.
///
/// The picture is enlarged by the smallest integer factor that makes its shorter side at
/// least `min_side` pixels long, limited so that the longer side has at most 4096 pixels.
/// Boxes are given in pixels of `image` and are scaled with it. See [`draw_boxes`].
///
/// ```
/// use fcos_burn_plot::{DrawnBox, RgbImage, annotated, contact_sheet};
///
/// let picture = RgbImage::new(160, 128);
/// let cup = DrawnBox { bbox: [30.0, 40.0, 90.0, 100.0], text: "cup 0.87".into(), class: 3 };
/// let drawn = annotated(&picture, &[cup], 480);
/// assert_eq!(drawn.dimensions(), (640, 512));
/// assert_eq!(contact_sheet(&[drawn.clone(), drawn], 2, 8).dimensions(), (1288, 512));
/// ```
pub fn annotated(image: &RgbImage, boxes: &[DrawnBox], min_side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return image.clone();
    }
    let largest = (MAX_SIDE / width.max(height)).max(1);
    let factor = min_side.div_ceil(width.min(height)).clamp(1, largest);
    let mut enlarged = if factor == 1 {
        image.clone()
    } else {
        imageops::resize(image, width * factor, height * factor, FilterType::Triangle)
    };
    let boxes: Vec<DrawnBox> = boxes
        .iter()
        .map(|drawn| DrawnBox {
            bbox: drawn.bbox.map(|v| v * factor as f32),
            text: drawn.text.clone(),
            class: drawn.class,
        })
        .collect();
    draw_boxes(&mut enlarged, &boxes);
    enlarged
}

/// The pixels that a box touches, clipped at `margin` pixels outside the picture. `None` for
/// a box that cannot be drawn or touches no pixel of the picture.
///
/// With a margin of the thickness of the outline, the sides at which a box is clipped remain
/// outside the picture.
fn covered_pixels(
    [x1, y1, x2, y2]: [f32; 4],
    (width, height): (u32, u32),
    margin: u32,
) -> Option<Rect> {
    let finite = [x1, y1, x2, y2].into_iter().all(f32::is_finite);
    if !finite || x2 <= x1 || y2 <= y1 {
        return None;
    }
    let margin = i64::from(margin);
    let span = |low: f32, high: f32, side: u32| {
        let side = i64::from(side);
        let start = (low.floor() as i64).clamp(-margin, side + margin);
        let end = (high.ceil() as i64).clamp(-margin, side + margin);
        let length = i32::try_from(end - start).ok()?;
        (start.max(0) < end.min(side)).then_some((i32::try_from(start).ok()?, length as u32))
    };
    let ((x, width), (y, height)) = (span(x1, x2, width)?, span(y1, y2, height)?);
    Some(Rect::at(x, y).of_size(width, height))
}

/// Draws an outline of the given thickness just inside a rectangle, which it fills if there
/// is no room inside.
fn draw_outline(image: &mut RgbImage, pixels: Rect, thickness: u32, color: Rgb<u8>) {
    for inset in 0..thickness {
        let width = pixels.width().saturating_sub(2 * inset);
        let height = pixels.height().saturating_sub(2 * inset);
        if width == 0 || height == 0 {
            return;
        }
        let corner = Rect::at(pixels.left() + inset as i32, pixels.top() + inset as i32);
        draw_hollow_rect_mut(image, corner.of_size(width, height), color);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::class_color::text_color;

    const GRAY: Rgb<u8> = Rgb([90; 3]);

    fn gray(width: u32, height: u32) -> RgbImage {
        RgbImage::from_pixel(width, height, GRAY)
    }

    fn labeled(bbox: [f32; 4], text: &str) -> DrawnBox {
        DrawnBox {
            bbox,
            text: text.into(),
            class: 0,
        }
    }

    fn drawn(mut image: RgbImage, boxes: &[DrawnBox]) -> RgbImage {
        draw_boxes(&mut image, boxes);
        image
    }

    /// Coordinates of the pixels for which `keep` holds.
    fn pixels(image: &RgbImage, keep: impl Fn(Rgb<u8>) -> bool) -> Vec<(u32, u32)> {
        image
            .enumerate_pixels()
            .filter(|(_, _, p)| keep(**p))
            .map(|(x, y, _)| (x, y))
            .collect()
    }

    #[test]
    fn an_outline_lies_just_inside_its_box() {
        let image = drawn(gray(100, 100), &[labeled([10.0, 20.0, 30.0, 45.0], "")]);
        for (x, y, pixel) in image.enumerate_pixels() {
            let outer = (10..30).contains(&x) && (20..45).contains(&y);
            let inner = (11..29).contains(&x) && (21..44).contains(&y);
            assert_eq!(*pixel == class_color(0), outer && !inner, "({x}, {y})");
        }
    }

    #[test]
    fn outlines_are_thicker_in_larger_pictures() {
        for (side, thickness) in [(64, 1), (500, 2), (1000, 4)] {
            let bbox = [0.0, 0.0, side as f32, side as f32];
            let image = drawn(gray(side, side + 100), &[labeled(bbox, "")]);
            let row = (0..side)
                .filter(|&x| *image.get_pixel(x, side / 2) == class_color(0))
                .count();
            assert_eq!(row, 2 * thickness, "side {side}");
        }
    }

    #[test]
    fn a_fractional_box_covers_the_pixels_it_touches() {
        let image = drawn(gray(40, 40), &[labeled([4.9, 5.0, 6.1, 6.5], "")]);
        let expected = [(4, 5), (5, 5), (6, 5), (4, 6), (5, 6), (6, 6)];
        assert_eq!(pixels(&image, |p| p != GRAY), expected);
    }

    #[test]
    fn outlines_are_clipped_at_the_edges_of_the_picture() {
        let image = drawn(gray(50, 50), &[labeled([-10.0, 40.0, 20.0, 1e30], "")]);
        for (x, y) in pixels(&image, |p| p != GRAY) {
            assert!((y == 40 && x < 20) || (x == 19 && y >= 40), "({x}, {y})");
        }
        assert_eq!(*image.get_pixel(0, 40), class_color(0));
        assert_eq!(*image.get_pixel(19, 49), class_color(0));
    }

    #[test]
    fn boxes_that_cannot_be_drawn_do_not_change_the_picture() {
        let (nan, inf) = (f32::NAN, f32::INFINITY);
        let undrawable = [
            [nan, 0.0, 9.0, 9.0],
            [0.0, 0.0, 9.0, nan],
            [-inf, 0.0, inf, 9.0],
            [9.0, 0.0, 3.0, 9.0],
            [3.0, 3.0, 3.0, 9.0],
            [-90.0, -90.0, -10.0, -10.0],
            [f32::MAX / 2.0, 0.0, f32::MAX, 9.0],
            [f32::MIN, 0.0, f32::MIN / 2.0, 9.0],
        ]
        .map(|bbox| labeled(bbox, "label"));
        assert_eq!(drawn(gray(200, 200), &undrawable), gray(200, 200));
    }

    #[test]
    fn tiny_and_empty_pictures_can_be_drawn_on() {
        for (width, height) in [(0, 0), (0, 5), (1, 1), (3, 200)] {
            let whole = labeled([0.0, 0.0, 1e9, 1e9], "label");
            let picture = drawn(gray(width, height), std::slice::from_ref(&whole));
            assert_eq!(picture.dimensions(), (width, height));
            annotated(&picture, &[whole], 300);
        }
    }

    /// A pixel belongs to the outline if its distance to the nearest side of the box is less
    /// than the thickness.
    #[test]
    fn thick_outlines_have_the_same_width_on_all_sides() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (width, height, thickness) = (800, 750, 3);
        for _ in 0..60 {
            let mut span = |side: i32| {
                let start = rng.random_range(-20..side);
                (
                    start,
                    start + [1, 2, 5, 6, 7, 40, 900][rng.random_range(0..7)],
                )
            };
            let ((x1, x2), (y1, y2)) = (span(width), span(height));
            let bbox = [x1, y1, x2, y2].map(|v| v as f32);
            let image = drawn(gray(width as u32, height as u32), &[labeled(bbox, "")]);
            for (x, y, pixel) in image.enumerate_pixels() {
                let (x, y) = (x as i32, y as i32);
                let depth = [x - x1, y - y1, x2 - 1 - x, y2 - 1 - y].into_iter().min();
                let outline = (0..thickness).contains(&depth.unwrap());
                assert_eq!(*pixel == class_color(0), outline, "({x}, {y}) of {bbox:?}");
            }
        }
    }

    #[test]
    fn a_label_has_a_plate_in_the_color_of_its_class() {
        let image = drawn(
            gray(300, 300),
            &[labeled([50.0, 100.0, 250.0, 250.0], "cat 0.9")],
        );
        let ink = text_color(class_color(0));
        // Thin strokes are blended with the plate.
        let is_ink = |p: Rgb<u8>| p.0.iter().zip(ink.0).all(|(&a, b)| a.abs_diff(b) < 90);
        let above = |(x, y): &(u32, u32)| *x >= 50 && *y < 100;
        assert!(
            pixels(&image, |p| p == class_color(0))
                .iter()
                .filter(|p| above(p))
                .count()
                > 200
        );
        let text = pixels(&image, is_ink);
        assert!(
            text.iter().filter(|p| above(p)).count() > 40,
            "{} pixels of text",
            text.len()
        );
    }

    #[test]
    fn small_pictures_are_enlarged_with_their_boxes() {
        let boxes = [labeled([10.0, 20.0, 30.0, 40.0], "")];
        let image = annotated(&gray(160, 128), &boxes, 500);
        assert_eq!(image.dimensions(), (640, 512));
        let outline = pixels(&image, |p| p == class_color(0));
        assert_eq!(outline.first(), Some(&(40, 80)));
        assert_eq!(outline.last(), Some(&(119, 159)));

        assert_eq!(annotated(&gray(640, 480), &[], 400), gray(640, 480));
        assert_eq!(annotated(&gray(1000, 2), &[], 500).dimensions(), (4000, 8));
        assert_eq!(annotated(&gray(5000, 2), &[], 500).dimensions(), (5000, 2));
    }
}
