//! Images with boxes, embedded in the page.

use std::collections::HashMap;

use fcos_burn_data::{DetectionDataset, ImageRecord};
use fcos_burn_page::{Jpeg, Photo, Photos, scaled};
use fcos_burn_plot::{DrawnBox, draw_boxes};
use maud::Markup;
use rayon::prelude::*;

use crate::{
    classes::ClassIndex,
    picture::Picture,
    splits::{Split, Splits},
};

/// The longer side of a picture in pixels.
const SIDE: u32 = 400;

/// The largest number of objects with text labels. More labels would hide the objects, so only colors show the classes.
const MAX_LABELS: usize = 8;

/// The pictures of the page with their boxes.
pub(super) struct BoxPictures {
    photos: Photos,
    /// Each picture, or why it could not be read.
    pictures: HashMap<Picture, Result<Photo, String>>,
}

impl BoxPictures {
    /// Reads and draws these images, each once, on all cores.
    pub fn read(splits: &Splits, pictures: &[Picture], classes: &ClassIndex) -> Self {
        let mut pictures = pictures.to_vec();
        pictures.sort_unstable();
        pictures.dedup();
        let read = |picture: Picture| {
            let split = splits.splits().get(picture.split)?;
            let positions = classes.positions.get(picture.split)?;
            Some((
                picture,
                drawn_jpeg(split, picture.image, classes, positions),
            ))
        };
        let read: Vec<_> = pictures.into_par_iter().filter_map(read).collect();
        let mut photos = Photos::default();
        let pictures = read.into_iter();
        Self {
            pictures: pictures
                .map(|(picture, jpeg)| (picture, jpeg.map(|jpeg| photos.add(jpeg))))
                .collect(),
            photos,
        }
    }

    /// The files, for figures to refer to.
    pub fn definitions(&self) -> Markup {
        self.photos.definitions()
    }

    pub fn get(&self, picture: Picture) -> Option<&Result<Photo, String>> {
        self.pictures.get(&picture)
    }
}

fn drawn_jpeg(
    split: &Split,
    index: usize,
    classes: &ClassIndex,
    positions: &[usize],
) -> Result<Jpeg, String> {
    let dataset: &DetectionDataset = &split.dataset;
    let image = dataset.image(index).map_err(|error| error.to_string())?;
    let record = dataset.record(index).map_err(|error| error.to_string())?;
    let mut scaled = scaled(&image, SIDE);
    let (width, height) = scaled.dimensions();
    let scale = [
        width as f32 / image.width() as f32,
        height as f32 / image.height() as f32,
    ];
    draw_boxes(&mut scaled, &drawn(record, scale, classes, positions));
    Jpeg::new(&scaled).map_err(|error| error.to_string())
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
