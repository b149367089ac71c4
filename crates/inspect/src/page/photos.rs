//! Images with boxes, embedded in the page.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use fcos_burn_data::{DetectionDataset, ImageRecord, RgbImage};
use fcos_burn_plot::{DrawnBox, draw_boxes};
use image::{
    ImageEncoder,
    codecs::jpeg::JpegEncoder,
    imageops::{FilterType, resize, thumbnail},
};
use maud::{Markup, html};
use rayon::prelude::*;

use crate::{
    classes::ClassIndex,
    picture::Picture,
    splits::{Split, Splits},
};

/// The longer side of a picture in pixels.
const SIDE: u32 = 400;

/// JPEG quality of the pictures, from 1 to 100.
const QUALITY: u8 = 80;

/// The largest number of objects with text labels. More labels would hide the objects, so only colors show the classes.
const MAX_LABELS: usize = 8;

/// A picture with its boxes.
#[derive(Clone, Copy)]
pub(super) struct Photo {
    /// The index of its JPEG file.
    file: usize,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

impl Photo {
    /// The id of the picture in the page.
    pub fn name(self) -> String {
        format!("photo-{}", self.file)
    }
}

/// A picture with its boxes, as a JPEG file.
#[derive(PartialEq, Eq, Hash)]
struct Jpeg {
    bytes: Vec<u8>,
    width: u32,
    height: u32,
}

/// Pictures for a page. Each is embedded once, even if it is shown several times.
pub(super) struct Photos {
    /// The embedded files, without repetitions.
    files: Vec<Markup>,
    /// Each picture, or why it could not be read.
    photos: HashMap<Picture, Result<Photo, String>>,
}

impl Photos {
    /// Reads and draws these images, each once, on all cores.
    pub fn read(splits: &Splits, pictures: &[Picture], classes: &ClassIndex) -> Self {
        let mut pictures = pictures.to_vec();
        pictures.sort_unstable();
        pictures.dedup();
        let photo = |picture: Picture| {
            let split = splits.splits().get(picture.split)?;
            let positions = classes.positions.get(picture.split)?;
            Some((picture, photo(split, picture.image, classes, positions)))
        };
        let read: Vec<_> = pictures.into_par_iter().filter_map(photo).collect();
        let mut files: HashMap<Jpeg, usize> = HashMap::new();
        let mut photos = Self {
            files: Vec::new(),
            photos: HashMap::new(),
        };
        for (picture, jpeg) in read {
            let photo = jpeg.map(|jpeg| {
                let (width, height) = (jpeg.width, jpeg.height);
                let file = *files
                    .entry(jpeg)
                    .or_insert_with_key(|jpeg| photos.add(jpeg));
                Photo {
                    file,
                    width,
                    height,
                }
            });
            photos.photos.insert(picture, photo);
        }
        photos
    }

    /// Adds a file and returns its index.
    fn add(&mut self, jpeg: &Jpeg) -> usize {
        let file = self.files.len();
        let id = Photo {
            file,
            width: jpeg.width,
            height: jpeg.height,
        }
        .name();
        let address = format!("data:image/jpeg;base64,{}", STANDARD.encode(&jpeg.bytes));
        self.files.push(html! {
            image id=(id) href=(address) width=(jpeg.width) height=(jpeg.height) {}
        });
        file
    }

    /// The files, for figures to refer to.
    pub fn definitions(&self) -> Markup {
        html! {
            @if !self.files.is_empty() {
                svg.photos width="0" height="0" aria-hidden="true" {
                    defs { @for file in &self.files { (file) } }
                }
            }
        }
    }

    pub fn get(&self, picture: Picture) -> Option<&Result<Photo, String>> {
        self.photos.get(&picture)
    }
}

fn photo(
    split: &Split,
    index: usize,
    classes: &ClassIndex,
    positions: &[usize],
) -> Result<Jpeg, String> {
    let dataset: &DetectionDataset = &split.dataset;
    let image = dataset.image(index).map_err(|error| error.to_string())?;
    let record = dataset.record(index).map_err(|error| error.to_string())?;
    let mut scaled = scaled(&image);
    let (width, height) = scaled.dimensions();
    let scale = [
        width as f32 / image.width() as f32,
        height as f32 / image.height() as f32,
    ];
    draw_boxes(&mut scaled, &drawn(record, scale, classes, positions));
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder
        .write_image(&scaled, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|error| error.to_string())?;
    Ok(Jpeg {
        bytes,
        width,
        height,
    })
}

/// The image with a longer side of [`SIDE`] pixels.
fn scaled(image: &RgbImage) -> RgbImage {
    let (width, height) = image.dimensions();
    let longer = width.max(height).max(1);
    let side = |side: u32| (u64::from(side) * u64::from(SIDE) / u64::from(longer)).max(1) as u32;
    let (target_width, target_height) = (side(width), side(height));
    match longer > SIDE {
        true => thumbnail(image, target_width, target_height),
        false => resize(image, target_width, target_height, FilterType::Triangle),
    }
}

fn drawn(
    record: &ImageRecord,
    [sx, sy]: [f32; 2],
    classes: &ClassIndex,
    positions: &[usize],
) -> Vec<DrawnBox> {
    let labeled = record.objects.len() <= MAX_LABELS;
    let boxes = record.objects.iter().filter_map(|object| {
        let [x1, y1, x2, y2] = object.bbox.to_xyxy();
        let class = *positions.get(object.label)?;
        let text = match labeled {
            true => classes.names.get(class)?.clone(),
            false => String::new(),
        };
        Some(DrawnBox {
            bbox: [x1 * sx, y1 * sy, x2 * sx, y2 * sy],
            text,
            class,
        })
    });
    boxes.collect()
}
