//! Boxes and labels drawn on pictures, and sheets of pictures.
//!
//! ```
//! use fcos_burn_plot::{DrawnBox, annotated, contact_sheet};
//! use image::RgbImage;
//!
//! let picture = RgbImage::new(160, 128);
//! let cup = DrawnBox { bbox: [30.0, 40.0, 90.0, 100.0], text: "cup 0.87".into(), class: 3 };
//! let drawn = annotated(&picture, &[cup], 480);
//! assert_eq!(drawn.dimensions(), (640, 512));
//! assert_eq!(contact_sheet(&[drawn.clone(), drawn], 2, 8).dimensions(), (1288, 512));
//! ```

use std::{ops::Range, path::Path};

use ab_glyph::{FontRef, PxScale};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use imageproc::drawing::{draw_text_mut, text_size};

use crate::{PlotError, font};

/// Colours of the classes, told apart by hue and by lightness; class `c` takes
/// colour `c % 20`.
const PALETTE: [Rgb<u8>; 20] = [
    Rgb([230, 25, 75]),   // red
    Rgb([60, 180, 75]),   // green
    Rgb([67, 99, 216]),   // blue
    Rgb([255, 225, 25]),  // yellow
    Rgb([245, 130, 49]),  // orange
    Rgb([145, 30, 180]),  // purple
    Rgb([70, 240, 240]),  // cyan
    Rgb([240, 50, 230]),  // magenta
    Rgb([188, 246, 12]),  // lime
    Rgb([0, 128, 128]),   // teal
    Rgb([255, 165, 205]), // pink
    Rgb([154, 99, 36]),   // brown
    Rgb([200, 160, 255]), // lavender
    Rgb([128, 0, 0]),     // maroon
    Rgb([150, 240, 175]), // mint
    Rgb([128, 128, 0]),   // olive
    Rgb([255, 200, 145]), // apricot
    Rgb([0, 0, 117]),     // navy
    Rgb([95, 170, 240]),  // sky
    Rgb([128, 128, 128]), // grey
];

/// Height in pixels below which the embedded font cannot be read.
const SMALLEST_TEXT: f32 = 14.0;

/// The longest side to which [`annotated`] enlarges a picture.
const LONGEST_SIDE: u32 = 4096;

/// A box to draw on a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct DrawnBox {
    /// Corners `[x1, y1, x2, y2]` in pixels; a pixel `i` spans `i..i + 1`.
    pub bbox: [f32; 4],
    /// The label; empty for none. Characters beyond Latin-1, and a few Greek letters and
    /// signs, show as empty boxes.
    pub text: String,
    /// Chooses the colour.
    pub class: usize,
}

/// Draws boxes on a picture, in the order given, and then their labels, so that no
/// outline crosses a text.
///
/// Outlines are as thick as 1/250 of the shorter side, at least one pixel, and lie
/// inside their boxes. What leaves the picture is cut off; a box with a coordinate
/// that is not finite, or without an area, is not drawn.
///
/// A label stands on top of its box where the picture has room, else inside at its
/// top, else below. It is left out where it fits nowhere: wider than the picture,
/// taller than a quarter of it, or over more than half of the box's height with no
/// room below. [`annotated`] makes room in small pictures.
pub fn draw_boxes(image: &mut RgbImage, boxes: &[DrawnBox]) {
    let shorter = image.width().min(image.height());
    let thickness = (shorter as f32 / 250.0).round().max(1.0) as i64;
    let boxes: Vec<(PixelBox, &DrawnBox)> = boxes
        .iter()
        .filter_map(|drawn| Some((PixelBox::covering(drawn.bbox)?, drawn)))
        .collect();

    for (pixels, drawn) in &boxes {
        for side in pixels.outline(thickness) {
            fill(image, &side, colour(drawn.class));
        }
    }
    let Ok(font) = font::face() else { return };
    let text_height = (shorter as f32 / 28.0).max(SMALLEST_TEXT);
    for (pixels, drawn) in &boxes {
        draw_label(image, &font, text_height, pixels, drawn);
    }
}

/// A copy of a picture with boxes drawn on it, enlarged where it is small.
///
/// The copy is the smallest whole multiple of `image` whose shorter side has at
/// least `min_side` pixels, as far as the longer side stays within 4096; boxes are
/// given in the pixels of `image` and grow with it. See [`draw_boxes`].
pub fn annotated(image: &RgbImage, boxes: &[DrawnBox], min_side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    if width == 0 || height == 0 {
        return image.clone();
    }
    let largest = (LONGEST_SIDE / width.max(height)).max(1);
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

/// Pictures side by side on a white sheet, row after row.
///
/// Cells have the size of the widest and the tallest picture and lie `gap` pixels
/// apart; each picture is centred in its cell. `columns` is brought between one and
/// the number of pictures. No pictures give an empty (0 × 0) sheet.
pub fn contact_sheet(images: &[RgbImage], columns: usize, gap: u32) -> RgbImage {
    if images.is_empty() {
        return RgbImage::new(0, 0);
    }
    let columns = columns.clamp(1, images.len());
    let rows = images.len().div_ceil(columns);
    let cell_width = images.iter().map(RgbImage::width).max().unwrap_or(0);
    let cell_height = images.iter().map(RgbImage::height).max().unwrap_or(0);
    let along = |cells: usize, cell: u32| cells as u32 * cell + (cells as u32 - 1) * gap;

    let size = (along(columns, cell_width), along(rows, cell_height));
    let mut sheet = RgbImage::from_pixel(size.0, size.1, Rgb([255; 3]));
    for (index, image) in images.iter().enumerate() {
        let place = |cell_index: usize, cell: u32, side: u32| {
            cell_index as i64 * i64::from(cell + gap) + i64::from((cell - side) / 2)
        };
        let x = place(index % columns, cell_width, image.width());
        let y = place(index / columns, cell_height, image.height());
        imageops::replace(&mut sheet, image, x, y);
    }
    sheet
}

/// A rectangle of whole pixels, anywhere in the plane.
#[derive(Clone, Debug, PartialEq)]
struct PixelBox {
    x: Range<i64>,
    y: Range<i64>,
}

impl PixelBox {
    /// The pixels that a box touches, or `None` for one that cannot be drawn.
    fn covering([x1, y1, x2, y2]: [f32; 4]) -> Option<Self> {
        let finite = [x1, y1, x2, y2].into_iter().all(f32::is_finite);
        if !finite || x2 <= x1 || y2 <= y1 {
            return None;
        }
        // Far beyond any picture, and near enough for the arithmetic on edges.
        let pixel = |v: f32| (v as i64).clamp(-(1 << 40), 1 << 40);
        Some(Self {
            x: pixel(x1.floor())..pixel(x2.ceil()),
            y: pixel(y1.floor())..pixel(y2.ceil()),
        })
    }

    /// The four sides of the outline; they meet in the corners.
    fn outline(&self, thickness: i64) -> [Self; 4] {
        let sides = |span: &Range<i64>| {
            let inner = thickness.min(span.end - span.start);
            (span.start..span.start + inner, span.end - inner..span.end)
        };
        let ((left, right), (top, bottom)) = (sides(&self.x), sides(&self.y));
        [
            Self {
                x: left,
                y: self.y.clone(),
            },
            Self {
                x: right,
                y: self.y.clone(),
            },
            Self {
                x: self.x.clone(),
                y: top,
            },
            Self {
                x: self.x.clone(),
                y: bottom,
            },
        ]
    }

    fn meets(&self, width: u32, height: u32) -> bool {
        self.x.start < width.into()
            && self.y.start < height.into()
            && self.x.end > 0
            && self.y.end > 0
    }
}

fn fill(image: &mut RgbImage, pixels: &PixelBox, colour: Rgb<u8>) {
    let within = |span: &Range<i64>, side: u32| {
        span.start.clamp(0, side.into()) as u32..span.end.clamp(0, side.into()) as u32
    };
    for y in within(&pixels.y, image.height()) {
        for x in within(&pixels.x, image.width()) {
            image.put_pixel(x, y, colour);
        }
    }
}

fn draw_label(
    image: &mut RgbImage,
    font: &FontRef<'_>,
    text_height: f32,
    pixels: &PixelBox,
    drawn: &DrawnBox,
) {
    if drawn.text.is_empty() || !pixels.meets(image.width(), image.height()) {
        return;
    }
    let scale = PxScale::from(text_height);
    let (text_width, line_height) = text_size(scale, font, &drawn.text);
    let margin = (text_height / 5.0).ceil() as i64;
    let plate = (i64::from(text_width) + 2 * margin, i64::from(line_height));
    let Some((x, y)) = label_corner(pixels, plate, image.dimensions()) else {
        return;
    };

    let colour = colour(drawn.class);
    fill(
        image,
        &PixelBox {
            x: x..x + plate.0,
            y: y..y + plate.1,
        },
        colour,
    );
    let text_x = (x + margin) as i32;
    draw_text_mut(
        image,
        text_colour(colour),
        text_x,
        y as i32,
        scale,
        font,
        &drawn.text,
    );
}

/// Where the top left corner of a label of a given size goes, all of it inside the
/// picture, or `None` where it fits nowhere.
fn label_corner(
    pixels: &PixelBox,
    (width, height): (i64, i64),
    (image_width, image_height): (u32, u32),
) -> Option<(i64, i64)> {
    let (image_width, image_height) = (i64::from(image_width), i64::from(image_height));
    if width > image_width || 4 * height > image_height {
        return None;
    }
    let x = pixels.x.start.clamp(0, image_width - width);
    let (top, bottom) = (pixels.y.start.max(0), pixels.y.end.min(image_height));
    let y = if pixels.y.start >= height {
        pixels.y.start - height
    } else if 2 * height <= bottom - top {
        top
    } else if bottom + height <= image_height {
        bottom
    } else {
        return None;
    };
    Some((x, y))
}

fn colour(class: usize) -> Rgb<u8> {
    PALETTE[class % PALETTE.len()]
}

/// Black or white, whichever stands out more.
///
/// The two contrasts (WCAG 2.1) are equal at a relative luminance of
/// √(1.05 · 0.05) − 0.05 ≈ 0.179.
fn text_colour(background: Rgb<u8>) -> Rgb<u8> {
    let linear = |v: u8| {
        let v = f32::from(v) / 255.0;
        if v <= 0.04045 {
            v / 12.92
        } else {
            ((v + 0.055) / 1.055).powf(2.4)
        }
    };
    let [r, g, b] = background.0.map(linear);
    let luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    if luminance > 0.179 {
        Rgb([0; 3])
    } else {
        Rgb([255; 3])
    }
}

/// Writes a picture in the format that the extension of `path` names.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn save_picture(path: &Path, picture: &RgbImage) -> Result<(), PlotError> {
    picture.save(path).map_err(|error| PlotError::Draw {
        path: path.to_owned(),
        cause: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const GREY: Rgb<u8> = Rgb([90; 3]);

    fn grey(width: u32, height: u32) -> RgbImage {
        RgbImage::from_pixel(width, height, GREY)
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
        let image = drawn(grey(100, 100), &[labeled([10.0, 20.0, 30.0, 45.0], "")]);
        for (x, y, pixel) in image.enumerate_pixels() {
            let outer = (10..30).contains(&x) && (20..45).contains(&y);
            let inner = (11..29).contains(&x) && (21..44).contains(&y);
            assert_eq!(*pixel == PALETTE[0], outer && !inner, "({x}, {y})");
        }
    }

    #[test]
    fn thickness_follows_the_shorter_side() {
        for (side, thickness) in [(64, 1), (500, 2), (1000, 4)] {
            let bbox = [0.0, 0.0, side as f32, side as f32];
            let image = drawn(grey(side, side + 100), &[labeled(bbox, "")]);
            let row = (0..side)
                .filter(|&x| *image.get_pixel(x, side / 2) == PALETTE[0])
                .count();
            assert_eq!(row, 2 * thickness, "side {side}");
        }
    }

    #[test]
    fn a_fractional_box_covers_the_pixels_it_touches() {
        let image = drawn(grey(40, 40), &[labeled([4.9, 5.0, 6.1, 6.5], "")]);
        let expected = [(4, 5), (5, 5), (6, 5), (4, 6), (5, 6), (6, 6)];
        assert_eq!(pixels(&image, |p| p != GREY), expected);
    }

    #[test]
    fn what_leaves_the_picture_is_cut_off() {
        let image = drawn(grey(50, 50), &[labeled([-10.0, 40.0, 20.0, 1e30], "")]);
        for (x, y) in pixels(&image, |p| p != GREY) {
            assert!((y == 40 && x < 20) || (x == 19 && y >= 40), "({x}, {y})");
        }
        assert_eq!(*image.get_pixel(0, 40), PALETTE[0]);
        assert_eq!(*image.get_pixel(19, 49), PALETTE[0]);
    }

    #[test]
    fn boxes_that_cannot_be_drawn_leave_the_picture_alone() {
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
        assert_eq!(drawn(grey(200, 200), &undrawable), grey(200, 200));
        for (width, height) in [(0, 0), (0, 5), (1, 1), (3, 200)] {
            let whole = labeled([0.0, 0.0, 1e9, 1e9], "label");
            draw_boxes(&mut grey(width, height), std::slice::from_ref(&whole));
            annotated(&grey(width, height), &[whole], 300);
        }
    }

    #[test]
    fn labels_stand_above_then_inside_then_below() {
        let corner =
            |bbox: [f32; 4]| label_corner(&PixelBox::covering(bbox).unwrap(), (60, 16), (200, 100));
        assert_eq!(corner([20.0, 40.0, 90.0, 90.0]), Some((20, 24)));
        assert_eq!(corner([20.0, 5.0, 90.0, 90.0]), Some((20, 5)));
        assert_eq!(corner([20.0, 5.0, 90.0, 30.0]), Some((20, 30)));
        assert_eq!(corner([190.0, 40.0, 199.0, 90.0]), Some((140, 24)));
        let small = |size| label_corner(&PixelBox { x: 0..9, y: 20..29 }, (60, 16), size);
        assert_eq!(small((59, 100)), None);
        assert_eq!(small((60, 63)), None);
        assert_eq!(small((60, 64)), Some((0, 4)));
    }

    #[test]
    fn labels_stay_in_the_picture_and_off_most_of_their_box() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..2000 {
            let mut span = || {
                let start = rng.random_range(-150.0..300.0_f32);
                (start, start + rng.random_range(1.0..300.0_f32))
            };
            let ((x1, x2), (y1, y2)) = (span(), span());
            let pixels = PixelBox::covering([x1, y1, x2, y2]).unwrap();
            if !pixels.meets(320, 240) {
                continue;
            }
            let Some((x, y)) = label_corner(&pixels, (70, 15), (320, 240)) else {
                continue;
            };
            assert!(
                x >= 0 && x + 70 <= 320 && y >= 0 && y + 15 <= 240,
                "{pixels:?}"
            );
            let visible = pixels.y.start.max(0)..pixels.y.end.min(240);
            let covered = (y + 15).min(visible.end) - y.max(visible.start);
            assert!(2 * covered <= visible.end - visible.start, "{pixels:?}");
        }
    }

    #[test]
    fn a_label_is_drawn_on_a_plate_of_its_class() {
        let image = drawn(
            grey(300, 300),
            &[labeled([50.0, 100.0, 250.0, 250.0], "cat 0.9")],
        );
        let ink = text_colour(PALETTE[0]);
        // Strokes are thin, and so blend into the plate.
        let is_ink = |p: Rgb<u8>| p.0.iter().zip(ink.0).all(|(&a, b)| a.abs_diff(b) < 90);
        let above = |(x, y): &(u32, u32)| *x >= 50 && *y < 100;
        assert!(
            pixels(&image, |p| p == PALETTE[0])
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
    fn text_contrasts_with_every_plate() {
        let luminance = |p: Rgb<u8>| {
            let [r, g, b] = p.0.map(|v| match f64::from(v) / 255.0 {
                v if v <= 0.04045 => v / 12.92,
                v => ((v + 0.055) / 1.055).powf(2.4),
            });
            0.2126 * r + 0.7152 * g + 0.0722 * b
        };
        for plate in PALETTE {
            let (a, b) = (luminance(plate), luminance(text_colour(plate)));
            let ratio = (a.max(b) + 0.05) / (a.min(b) + 0.05);
            assert!(ratio >= 4.5, "{plate:?}: {ratio}");
        }
    }

    #[test]
    fn the_colours_differ_and_cycle() {
        for (i, a) in PALETTE.iter().enumerate() {
            for b in &PALETTE[..i] {
                let distance: i32 =
                    a.0.iter()
                        .zip(b.0)
                        .map(|(&a, b)| (i32::from(a) - i32::from(b)).pow(2))
                        .sum();
                assert!(distance >= 50 * 50, "{a:?} and {b:?}");
            }
        }
        assert_eq!(colour(23), PALETTE[3]);
    }

    #[test]
    fn small_pictures_grow_with_their_boxes() {
        let boxes = [labeled([10.0, 20.0, 30.0, 40.0], "")];
        let image = annotated(&grey(160, 128), &boxes, 500);
        assert_eq!(image.dimensions(), (640, 512));
        let outline = pixels(&image, |p| p == PALETTE[0]);
        assert_eq!(outline.first(), Some(&(40, 80)));
        assert_eq!(outline.last(), Some(&(119, 159)));

        assert_eq!(annotated(&grey(640, 480), &[], 400), grey(640, 480));
        assert_eq!(annotated(&grey(1000, 2), &[], 500).dimensions(), (4000, 8));
        assert_eq!(annotated(&grey(5000, 2), &[], 500).dimensions(), (5000, 2));
    }

    #[test]
    fn a_sheet_centres_pictures_in_equal_cells() {
        let solid = |w, h, v| RgbImage::from_pixel(w, h, Rgb([v; 3]));
        let sheet = contact_sheet(&[solid(10, 6, 1), solid(4, 8, 2), solid(10, 8, 3)], 2, 3);
        assert_eq!(sheet.dimensions(), (23, 19));
        let extent = |v: u8| {
            let found = pixels(&sheet, |p| p == Rgb([v; 3]));
            (found.len(), *found.first().unwrap(), *found.last().unwrap())
        };
        assert_eq!(extent(1), (60, (0, 1), (9, 6)));
        assert_eq!(extent(2), (32, (16, 0), (19, 7)));
        assert_eq!(extent(3), (80, (0, 11), (9, 18)));
        assert_eq!(
            pixels(&sheet, |p| p == Rgb([255; 3])).len(),
            23 * 19 - 60 - 32 - 80
        );

        assert_eq!(contact_sheet(&[], 3, 5).dimensions(), (0, 0));
        assert_eq!(contact_sheet(&[solid(4, 4, 0)], 0, 5).dimensions(), (4, 4));
        assert_eq!(contact_sheet(&[solid(4, 4, 0)], 9, 5).dimensions(), (4, 4));
    }
}
