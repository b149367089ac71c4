//! Images embedded in a page.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use image::{
    ExtendedColorType, ImageEncoder, ImageError, RgbImage,
    codecs::jpeg::JpegEncoder,
    imageops::{FilterType, resize, thumbnail},
};
use maud::{Markup, html};

/// JPEG quality of the pictures, from 1 to 100.
const QUALITY: u8 = 80;

/// A JPEG file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Jpeg {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
}

impl Jpeg {
    /// Encodes an image.
    ///
    /// # Errors
    ///
    /// Fails if a side is 0 or above 65535 pixels.
    pub fn new(image: &RgbImage) -> Result<Self, ImageError> {
        let (width, height) = image.dimensions();
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
        encoder.write_image(image, width, height, ExtendedColorType::Rgb8)?;
        Ok(Self {
            bytes,
            width,
            height,
        })
    }
}

/// An embedded image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Photo {
    /// The index of its file.
    file: usize,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Photo {
    /// The `viewBox` of an SVG image of its size.
    pub fn view_box(self) -> String {
        format!("0 0 {} {}", self.width, self.height)
    }

    /// The image, for an SVG image with its [`view_box`](Self::view_box).
    pub fn markup(self) -> Markup {
        html! { use href=(format!("#{}", self.id())) {} }
    }

    fn id(self) -> String {
        format!("photo-{}", self.file)
    }
}

/// The images of a page. Each is embedded once, even if it is shown several times.
#[derive(Debug, Default)]
pub struct Photos {
    /// The embedded files.
    files: Vec<Markup>,
    indices: HashMap<Jpeg, usize>,
}

impl Photos {
    /// Adds an image, unless it is embedded already.
    pub fn add(&mut self, jpeg: Jpeg) -> Photo {
        let known = self.indices.get(&jpeg).copied();
        let photo = Photo {
            file: known.unwrap_or(self.files.len()),
            width: jpeg.width,
            height: jpeg.height,
        };
        if known.is_none() {
            let address = format!("data:image/jpeg;base64,{}", STANDARD.encode(&jpeg.bytes));
            self.files.push(html! {
                image id=(photo.id()) href=(address) width=(jpeg.width) height=(jpeg.height) {}
            });
            self.indices.insert(jpeg, photo.file);
        }
        photo
    }

    /// The files, for the body of the page.
    pub fn definitions(&self) -> Markup {
        html! {
            @if !self.files.is_empty() {
                svg.photos width="0" height="0" aria-hidden="true" {
                    defs { @for file in &self.files { (file) } }
                }
            }
        }
    }
}

/// The image with a longer side of `side` pixels.
pub fn scaled(image: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let longer = width.max(height).max(1);
    let target = |of: u32| (u64::from(of) * u64::from(side) / u64::from(longer)).max(1) as u32;
    match longer > side {
        true => thumbnail(image, target(width), target(height)),
        false => resize(image, target(width), target(height), FilterType::Triangle),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_image_is_embedded_once() {
        let gray = Jpeg::new(&RgbImage::new(8, 4)).unwrap();
        let other = Jpeg::new(&RgbImage::new(8, 8)).unwrap();
        let mut photos = Photos::default();
        let [first, second, again] = [gray.clone(), other, gray].map(|jpeg| photos.add(jpeg));
        assert_eq!(first, again);
        assert_ne!(first, second);
        let html = photos.definitions().into_string();
        assert_eq!(html.matches("data:image/jpeg").count(), 2);
    }

    #[test]
    fn the_longer_side_is_scaled() {
        let sizes = [(10, 40), (100, 30), (1, 900)]
            .map(|(width, height)| scaled(&RgbImage::new(width, height), 50).dimensions());
        assert_eq!(sizes, [(12, 50), (50, 15), (1, 50)]);
    }
}
