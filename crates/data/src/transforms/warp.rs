//! Resampling of images under projective maps.

use std::ops::Range;

use image::{Rgb, RgbImage};

use super::projection::Projection;

/// Each channel of pixels that come from outside the image: gray, as in YOLO.
pub(super) const FILL: u8 = 114;

/// Positions between pixels are rounded to multiples of this.
const STEP: f64 = 1.0 / 256.0;

/// The image of the same size whose pixel at each point is that of `image` at the point that `to_source` maps it to:
/// bilinear between the four nearest pixels, in steps of 1/256 pixel, without antialiasing. Pixel centers have half-integer
/// coordinates.
pub(super) fn warp(image: &RgbImage, to_source: Projection) -> RgbImage {
    let (width, height) = image.dimensions();
    let mut target = RgbImage::from_pixel(width, height, Rgb([FILL; 3]));
    let row_len = 3 * width as usize;
    let [last_x, last_y] = [width, height].map(|side| f64::from(side) - 1.0);
    for (y, row) in target.chunks_exact_mut(row_len.max(1)).enumerate() {
        let line = Line::new(to_source, y, width as usize);
        // The columns that the image contributes to, and those that need no fill. Rounding moves a position by up to half
        // a step, and `inside` reads one pixel more than it blends.
        let touched = line.columns(-1.0, [last_x + 1.0, last_y + 1.0]);
        let inner = line.columns(0.0, [last_x - 1.0 - STEP, last_y - STEP]);
        let pixels = row[3 * touched.start..3 * touched.end].chunks_exact_mut(3);
        for (pixel, x) in pixels.zip(touched) {
            let source = line.source(x);
            pixel.copy_from_slice(&match inner.contains(&x) {
                true => inside(image.as_raw(), row_len, source.map(|steps| steps as u32)),
                false => at_the_edge(image, source.map(f64::floor)),
            });
        }
    }
    target
}

/// The points that the pixels of a row come from: homogeneous coordinates that are linear in the column, each as a slope
/// and the value at column 0.
struct Line {
    coordinates: [[f64; 2]; 2],
    w: [f64; 2],
    columns: usize,
}

impl Line {
    fn new(Projection(matrix): Projection, row: usize, columns: usize) -> Self {
        let [x, y, w] = matrix.map(|[a, b, c]| [a, 0.5 * a + b * (row as f64 + 0.5) + c]);
        Self {
            coordinates: [x, y],
            w,
            columns,
        }
    }

    /// The position in the source: steps to the right and down from the center of its first pixel, plus ½, so that rounding
    /// down gives the nearest step.
    #[inline]
    fn source(&self, column: usize) -> [f64; 2] {
        let at = |[slope, start]: [f64; 2]| slope * column as f64 + start;
        let scale = 256.0 / at(self.w);
        self.coordinates.map(|axis| at(axis) * scale - 127.5)
    }

    /// The columns whose position in the source is from `low` to `high[0]` pixels to the right of the center of its first
    /// pixel, and from `low` to `high[1]` pixels below it.
    fn columns(&self, low: f64, high: [f64; 2]) -> Range<usize> {
        if high[0] < low || high[1] < low {
            return 0..0;
        }
        // `low ≤ u / w − ½` means `u − (low + ½) · w ≥ 0`, which is linear in the column. With the other bound, it implies
        // that w is not negative.
        let (mut first, mut last) = (0.0_f64, self.columns as f64 - 1.0);
        for (axis, high) in self.coordinates.iter().zip(high) {
            for (bound, sign) in [(low, 1.0), (high, -1.0)] {
                let difference = |k: usize| sign * (axis[k] - (bound + 0.5) * self.w[k]);
                let (slope, start) = (difference(0), difference(1));
                if slope > 0.0 {
                    first = first.max(-start / slope);
                } else if slope < 0.0 {
                    last = last.min(-start / slope);
                } else if start < 0.0 {
                    return 0..0;
                }
            }
        }
        match first <= last {
            true => first.ceil() as usize..last.floor() as usize + 1,
            false => 0..0,
        }
    }
}

/// The color between four pixels of the image. The position is in steps.
#[inline]
fn inside(bytes: &[u8], row_len: usize, [x, y]: [u32; 2]) -> [u8; 3] {
    let start = (y / 256) as usize * row_len + 3 * (x / 256) as usize;
    let pair = |start: usize| {
        let bytes = bytes.get(start..start + 8);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    blend([pair(start), pair(start + row_len)], [x % 256, y % 256])
}

/// The color between four pixels, some of which are outside the image. The position is in whole steps.
fn at_the_edge(image: &RgbImage, steps: [f64; 2]) -> [u8; 3] {
    let [column, row] = steps.map(|steps| (steps * STEP).floor());
    let pixel = |x: f64, y: f64| {
        let inside = x >= 0.0 && y >= 0.0;
        let pixel = inside.then(|| image.get_pixel_checked(x as u32, y as u32));
        pixel.flatten().map_or([FILL; 3], |pixel| pixel.0)
    };
    let pair = |y: f64| {
        let ([a, b, c], [d, e, f]) = (pixel(column, y), pixel(column + 1.0, y));
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    };
    let fraction = [steps[0] - 256.0 * column, steps[1] - 256.0 * row];
    blend(
        [pair(row), pair(row + 1.0)],
        fraction.map(|steps| steps as u32),
    )
}

/// The color between two rows of two pixels, at this fraction of a pixel to the right and down, in steps. The lowest six
/// bytes of each row are its pixels.
#[inline]
fn blend([top, bottom]: [u64; 2], fraction: [u32; 2]) -> [u8; 3] {
    let [right, down] = fraction.map(u64::from);
    let (left, up) = (256 - right, 256 - down);
    let corners = [
        (top, left * up),
        (top >> 24, right * up),
        (bottom, left * down),
        (bottom >> 24, right * down),
    ];
    // Red and blue are summed in the two halves of one integer. Sums start at one half, so that shifts round to nearest.
    let (mut red_blue, mut green) = (0x8000_0000_8000, 0x8000);
    for (pixel, weight) in corners {
        red_blue += ((pixel & 0xff) | ((pixel & 0xff_0000) << 16)) * weight;
        green += ((pixel >> 8) & 0xff) * weight;
    }
    [red_blue >> 16, green >> 16, red_blue >> 48].map(|byte| byte as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// A smooth image: its bilinear interpolation is the function itself, up to rounding.
    fn plane(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            Rgb([(2 * x) as u8, (3 * y) as u8, (x + y) as u8])
        })
    }

    proptest! {
        /// Against the definition, pixel by pixel.
        #[test]
        fn every_pixel_is_that_of_the_point_it_comes_from(
            [a, b, c, d] in [-1.4..1.4_f64, -1.4..1.4, -1.4..1.4, -1.4..1.4],
            [e, f] in [-30.0..60.0_f64, -30.0..60.0],
            [g, h] in [-4e-3..4e-3_f64, -4e-3..4e-3],
            [width, height] in [1..70_u32, 1..60_u32],
        ) {
            let matrix = [[a, b, e], [c, d, f], [g, h, 1.0]];
            let warped = warp(&plane(width, height), Projection(matrix));
            for (x, y, pixel) in warped.enumerate_pixels() {
                let point = [f64::from(x) + 0.5, f64::from(y) + 0.5];
                let [u, v, w] = matrix.map(|[a, b, c]| a * point[0] + b * point[1] + c);
                let (u, v) = (u / w - 0.5, v / w - 0.5);
                let [last_x, last_y] = [width, height].map(|side| f64::from(side) - 1.0);
                let distance = [-u, u - last_x, -v, v - last_y].into_iter().fold(f64::MIN, f64::max);
                if distance <= -1e-3 {
                    for (found, expected) in pixel.0.iter().zip([2.0 * u, 3.0 * v, u + v]) {
                        // Fractions are rounded to 1/256, and the result to a byte.
                        prop_assert!((f64::from(*found) - expected).abs() < 0.52, "{found} is not {expected}");
                    }
                } else if distance >= 1.0 {
                    prop_assert_eq!(pixel.0, [FILL; 3]);
                }
            }
        }
    }

    #[test]
    fn the_identity_and_whole_turns_move_whole_pixels() {
        let image = plane(31, 31);
        assert_eq!(warp(&image, Projection::translation(0.0, 0.0)), image);
        let turn = Projection([[0.0, 1.0, 0.0], [-1.0, 0.0, 31.0], [0.0, 0.0, 1.0]]);
        assert_eq!(warp(&image, turn), image::imageops::rotate90(&image));
        let moved = warp(&image, Projection::translation(3.0, -2.0));
        for (x, y, pixel) in moved.enumerate_pixels() {
            let source = y
                .checked_sub(2)
                .and_then(|y| image.get_pixel_checked(x + 3, y));
            assert_eq!(pixel, source.unwrap_or(&Rgb([FILL; 3])), "({x}, {y})");
        }
    }

    #[test]
    fn half_a_pixel_beyond_the_edge_is_half_fill() {
        let image = RgbImage::from_pixel(4, 4, Rgb([14; 3]));
        let moved = warp(&image, Projection::translation(0.5, 0.0));
        let row: Vec<u8> = (0..4).map(|x| moved.get_pixel(x, 1)[0]).collect();
        assert_eq!(row, [14, 14, 14, 64]);
    }
}
