//! Conversion between RGB and planes of luma and chroma (Y′CbCr of ITU-R BT.601 and BT.709).

use image::RgbImage;
use rayon::prelude::*;

/// The weights of red and blue in luma. The weight of green is the rest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Matrix {
    red: f32,
    blue: f32,
}

impl Matrix {
    const BT601: Self = Self {
        red: 0.299,
        blue: 0.114,
    };
    const BT709: Self = Self {
        red: 0.2126,
        blue: 0.0722,
    };

    /// The matrix for a video of this size. Streams do not name it. As in players, it is BT.709 for more than 576 rows
    /// or at least 1280 columns, and BT.601 for smaller videos.
    pub fn of(width: u32, height: u32) -> Self {
        match width >= 1280 || height > 576 {
            true => Self::BT709,
            false => Self::BT601,
        }
    }

    fn green(self) -> f32 {
        1.0 - self.red - self.blue
    }

    /// Luma of an RGB color, in the units of the color.
    fn luma(self, [red, green, blue]: [f32; 3]) -> f32 {
        self.red * red + self.green() * green + self.blue * blue
    }
}

/// How the samples of a frame are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Samples {
    /// The factors, as powers of two, by which chroma has fewer columns and rows than luma. `None` without chroma.
    pub chroma: Option<(u32, u32)>,
    /// Bits per sample. With more than 8, a sample is two bytes, little-endian.
    pub depth: u32,
    /// Whether luma and chroma use all values, instead of 16 to 235 and 16 to 240 (in 8 bits).
    pub full_range: bool,
}

impl Samples {
    /// The size of a frame of `width` × `height` pixels in bytes. `None` on overflow.
    pub fn bytes(self, width: usize, height: usize) -> Option<usize> {
        let chroma = match self.chroma {
            Some((columns, rows)) => {
                let plane = width
                    .div_ceil(1 << columns)
                    .checked_mul(height.div_ceil(1 << rows));
                plane?.checked_mul(2)?
            }
            None => 0,
        };
        let samples = width.checked_mul(height)?.checked_add(chroma)?;
        samples.checked_mul(if self.depth > 8 { 2 } else { 1 })
    }
}

/// A stored sample of luma or chroma.
trait Sample: Copy + Sync {
    fn value(self) -> f32;
}

impl Sample for u8 {
    fn value(self) -> f32 {
        f32::from(self)
    }
}

impl Sample for [u8; 2] {
    fn value(self) -> f32 {
        f32::from(u16::from_le_bytes(self))
    }
}

/// From luma and chroma to 8-bit RGB. Every pixel has the color of the chroma sample that covers it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ToRgb {
    samples: Samples,
    /// The luma of black.
    black: f32,
    /// Levels of RGB per level of luma.
    contrast: f32,
    /// The chroma of gray.
    neutral: f32,
    /// Levels of red and green per level of Cr.
    red: [f32; 2],
    /// Levels of blue and green per level of Cb.
    blue: [f32; 2],
}

impl ToRgb {
    pub fn new(samples: Samples, matrix: Matrix) -> Self {
        let unit = (1_u32 << (samples.depth - 8)) as f32;
        let (black, luma, chroma) = match samples.full_range {
            true => (0.0, 256.0 * unit - 1.0, 256.0 * unit - 1.0),
            false => (16.0 * unit, 219.0 * unit, 224.0 * unit),
        };
        // Cr is (red - luma) / (2 - 2 · weight of red), Cb likewise.
        let red = (2.0 - 2.0 * matrix.red) * 255.0 / chroma;
        let blue = (2.0 - 2.0 * matrix.blue) * 255.0 / chroma;
        Self {
            samples,
            black,
            contrast: 255.0 / luma,
            neutral: 128.0 * unit,
            red: [red, -red * matrix.red / matrix.green()],
            blue: [blue, -blue * matrix.blue / matrix.green()],
        }
    }

    /// Converts the planes of luma, Cb and Cr of a frame to a `width` × `height` image.
    pub fn image(&self, planes: [&[u8]; 3], width: u32, height: u32) -> RgbImage {
        let mut image = RgbImage::new(width, height);
        match self.samples.depth > 8 {
            true => self.fill(planes.map(|plane| plane.as_chunks::<2>().0), &mut image),
            false => self.fill(planes, &mut image),
        }
        image
    }

    fn fill<S: Sample>(&self, [luma, cb, cr]: [&[S]; 3], image: &mut RgbImage) {
        let width = image.width() as usize;
        let rows = luma
            .par_chunks_exact(width)
            .zip(image.par_chunks_exact_mut(3 * width));
        rows.enumerate().for_each(|(row, (luma, pixels))| {
            let Some((columns, rows)) = self.samples.chroma else {
                return self.fill_pixels(luma, [0.0; 3], pixels);
            };
            let stride = width.div_ceil(1 << columns);
            let start = (row >> rows) * stride;
            let chroma = cb[start..][..stride].iter().zip(&cr[start..][..stride]);
            let blocks = luma
                .chunks(1 << columns)
                .zip(pixels.chunks_mut(3 << columns));
            for ((cb, cr), (luma, pixels)) in chroma.zip(blocks) {
                let (cb, cr) = (cb.value() - self.neutral, cr.value() - self.neutral);
                let green = self.red[1] * cr + self.blue[1] * cb;
                self.fill_pixels(luma, [self.red[0] * cr, green, self.blue[0] * cb], pixels);
            }
        });
    }

    /// Fills pixels of different luma and the same chroma, given as the difference of RGB from gray.
    fn fill_pixels<S: Sample>(&self, luma: &[S], chroma: [f32; 3], pixels: &mut [u8]) {
        for (luma, pixel) in luma.iter().zip(pixels.as_chunks_mut::<3>().0) {
            let gray = (luma.value() - self.black) * self.contrast;
            // Casts saturate.
            *pixel = chroma.map(|difference| (gray + difference + 0.5) as u8);
        }
    }
}

/// Appends the planes of an image to `planes`: 4:2:0 with 8 bits and limited range. A chroma sample is the mean of four
/// pixels. At odd borders, the last row or column counts twice.
pub(super) fn append_planes(image: &RgbImage, matrix: Matrix, planes: &mut Vec<u8>) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (columns, rows) = (width.div_ceil(2), height.div_ceil(2));
    let pixels = image.as_raw().as_chunks::<3>().0;
    let start = planes.len();
    planes.resize(start + width * height + 2 * columns * rows, 0);
    let (luma, chroma) = planes[start..].split_at_mut(width * height);
    let (cb, cr) = chroma.split_at_mut(columns * rows);
    let rows = luma
        .par_chunks_mut(2 * width)
        .zip(cb.par_chunks_exact_mut(columns))
        .zip(cr.par_chunks_exact_mut(columns))
        .zip(pixels.par_chunks(2 * width));
    rows.for_each(|(((luma, cb), cr), pixels)| {
        for (luma, pixel) in luma.iter_mut().zip(pixels) {
            let value = matrix.luma(pixel.map(f32::from));
            *luma = (value * (219.0 / 255.0) + 16.5) as u8;
        }
        let (upper, lower) = (&pixels[..width], &pixels[pixels.len() - width..]);
        let blocks = upper.chunks(2).zip(lower.chunks(2));
        for ((cb, cr), (upper, lower)) in cb.iter_mut().zip(cr).zip(blocks) {
            let last = upper.len() - 1;
            let mean = [0, 1, 2].map(|channel| {
                let pixels = [upper[0], upper[last], lower[0], lower[last]];
                let sum: u16 = pixels.iter().map(|pixel| u16::from(pixel[channel])).sum();
                f32::from(sum) / 4.0
            });
            let luma = matrix.luma(mean);
            let scaled = |difference: f32, weight: f32| {
                (difference / (2.0 - 2.0 * weight) * (224.0 / 255.0) + 128.5) as u8
            };
            *cb = scaled(mean[2] - luma, matrix.blue);
            *cr = scaled(mean[0] - luma, matrix.red);
        }
    });
}
