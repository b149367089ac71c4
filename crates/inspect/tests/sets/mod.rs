//! Data sets in memory.

use fcos_burn_data::{
    BoundingBox, Category, DataError, DetectionDataset, ImageRecord, ImageSource, Object, RgbImage,
};

/// Gray images of these sizes.
#[derive(Debug)]
struct Gray(Vec<(u32, u32)>);

impl ImageSource for Gray {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let (width, height) = self.0[index];
        Ok(RgbImage::from_pixel(width, height, image::Rgb([128; 3])))
    }
}

pub fn boxed(label: usize, [x1, y1, x2, y2]: [f32; 4]) -> Object {
    Object::new(0, BoundingBox::new(x1, y1, x2, y2), label)
}

pub fn record(
    id: u64,
    name: &str,
    (width, height): (u32, u32),
    objects: Vec<Object>,
) -> ImageRecord {
    ImageRecord::new(id, name, width, height).with_objects(objects)
}

pub fn dataset(classes: &[&str], images: Vec<ImageRecord>) -> DetectionDataset {
    let sizes = images.iter().map(|image| (image.width, image.height));
    let source = Gray(sizes.collect());
    DetectionDataset::new(
        "set",
        Category::list(classes.iter().copied()),
        images,
        source,
    )
    .unwrap()
}
