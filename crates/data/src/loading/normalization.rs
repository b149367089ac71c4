//! Converting bytes to the input values of a network.

use image::RgbImage;
use serde::{Deserialize, Serialize};

/// How pixels are converted to the input values of a network. Weights need the normalization that they were trained
/// with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Normalization {
    /// torchvision's: RGB from 0 to 1, minus the mean `[0.485, 0.456, 0.406]`, divided by the standard deviation
    /// `[0.229, 0.224, 0.225]`.
    #[default]
    ImageNet,
    /// Caffe's and Detectron's, for the MSRA weights: BGR from 0 to 255, minus `[102.9801, 115.9465, 122.7717]`.
    Caffe,
}

/// A channel of normalized pixels: `scale · byte + offset`, for the byte in channel `source` of an RGB pixel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputChannel {
    /// 0 for red, 1 for green, 2 for blue.
    pub source: usize,
    /// The factor of the byte.
    pub scale: f32,
    /// The value of byte 0.
    pub offset: f32,
}

impl Normalization {
    /// Writes the image as three planes, `out[channel][row][column]`, into the upper left corner of planes with
    /// `plane_width` columns and `out.len() / 3 / plane_width` rows. Other values are unchanged; pixels that do not fit
    /// are skipped.
    pub(super) fn write_chw(self, image: &RgbImage, plane_width: usize, out: &mut [f32]) {
        let normalized =
            |channel: InputChannel, byte| channel.scale * f32::from(byte) + channel.offset;
        self.write_planes(image, plane_width, out, normalized);
    }

    /// Like [`write_chw`](Self::write_chw), but not normalized: the bytes of the channels in output order.
    pub(super) fn write_bytes(self, image: &RgbImage, plane_width: usize, out: &mut [u8]) {
        self.write_planes(image, plane_width, out, |_, byte| byte);
    }

    fn write_planes<T>(
        self,
        image: &RgbImage,
        plane_width: usize,
        out: &mut [T],
        value_of: impl Fn(InputChannel, u8) -> T,
    ) {
        let plane = out.len() / 3;
        if plane == 0 || plane_width == 0 || image.width() == 0 {
            return;
        }
        let row_bytes = 3 * image.width() as usize;
        for (channel, plane) in self.channels().into_iter().zip(out.chunks_exact_mut(plane)) {
            let rows = image.as_raw().chunks_exact(row_bytes);
            for (pixels, values) in rows.zip(plane.chunks_exact_mut(plane_width)) {
                let bytes = pixels.iter().skip(channel.source).step_by(3);
                for (value, byte) in values.iter_mut().zip(bytes) {
                    *value = value_of(channel, *byte);
                }
            }
        }
    }

    /// The pixels of the image, row by row, with channels in output order.
    pub(super) fn pixels(self, image: &RgbImage) -> impl Iterator<Item = [f32; 3]> {
        let channels = self.channels();
        image.pixels().map(move |pixel| {
            channels
                .map(|channel| channel.scale * f32::from(pixel[channel.source]) + channel.offset)
        })
    }

    /// The channels of normalized pixels, in order.
    pub fn channels(self) -> [InputChannel; 3] {
        match self {
            Self::ImageNet => {
                let channel = |source, mean: f32, deviation: f32| InputChannel {
                    source,
                    scale: 1.0 / (255.0 * deviation),
                    offset: -mean / deviation,
                };
                [
                    channel(0, 0.485, 0.229),
                    channel(1, 0.456, 0.224),
                    channel(2, 0.406, 0.225),
                ]
            }
            Self::Caffe => {
                let channel = |source, mean: f32| InputChannel {
                    source,
                    scale: 1.0,
                    offset: -mean,
                };
                [
                    channel(2, 102.9801),
                    channel(1, 115.9465),
                    channel(0, 122.7717),
                ]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn imagenet_values_match_the_definition() {
        let image = RgbImage::from_pixel(1, 1, Rgb([255, 128, 0]));
        let mut out = [0.0; 3];
        Normalization::ImageNet.write_chw(&image, 1, &mut out);
        let expected = [
            (1.0 - 0.485) / 0.229,
            (128.0 / 255.0 - 0.456) / 0.224,
            -0.406 / 0.225,
        ];
        assert!(
            out.iter()
                .zip(expected)
                .all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5),
            "{out:?}"
        );
    }

    #[test]
    fn caffe_values_are_bgr_minus_the_mean() {
        let image = RgbImage::from_pixel(1, 1, Rgb([0, 0, 255]));
        let mut out = [0.0; 3];
        Normalization::Caffe.write_chw(&image, 1, &mut out);
        assert_eq!(out, [255.0 - 102.9801, -115.9465, -122.7717]);
    }

    #[test]
    fn planes_are_written_row_by_row_into_the_corner() {
        let image = RgbImage::from_fn(2, 2, |x, y| Rgb([x as u8 + 2 * y as u8, 10, 20]));
        let mut out = [-1.0; 3 * 3 * 4];
        Normalization::Caffe.write_chw(&image, 4, &mut out);
        let red = &out[2 * 12..];
        let value = |byte: f32| byte - 122.7717;
        assert_eq!(red[..4], [value(0.0), value(1.0), -1.0, -1.0]);
        assert_eq!(red[4..8], [value(2.0), value(3.0), -1.0, -1.0]);
        assert_eq!(red[8..], [-1.0; 4]);
    }
}
