//! The content of annotation files, and the single step from there to a data set.
//!
//! The reader of a format turns its files into a [`Description`] without opening any image. [`Description::assemble`]
//! reads the headers of the images, decides whether they are rotated, converts outlines to boxes, and counts problems.
//! So every rule about images and boxes applies to all formats.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::PathBuf;

use rayon::prelude::*;

use crate::dataset::{Annotations, admit};
use crate::decoding::{ImageHeader, Pixels, read_header};
use crate::{
    BoundingBox, Category, DataError, DetectionDataset, Finding, ImageFiles, ImageRecord, Layout,
    LoadReport, Object, Tally,
};

/// One split of a data set as its annotation files describe it.
#[derive(Debug)]
pub(super) struct Description {
    /// The name of the data set in messages.
    pub name: String,
    pub layout: Layout,
    pub categories: Vec<Category>,
    pub images: Vec<AnnotatedImage>,
    /// Where annotations were searched for. Appears in the error about a data set without annotations.
    pub searched: String,
    /// The findings of the reader.
    pub report: LoadReport,
}

/// An image and its annotated objects.
#[derive(Debug)]
pub(super) struct AnnotatedImage {
    /// The id in the file. With `None`, images are numbered from 1.
    pub id: Option<u64>,
    /// The name in records.
    pub file_name: String,
    /// Where the image is, or would be.
    pub path: PathBuf,
    /// Width and height in pixels as annotated, if both are given.
    pub stated_size: Option<(u32, u32)>,
    /// The start of places in reports: the annotation file of this image, or the image.
    pub source: String,
    pub objects: Vec<AnnotatedObject>,
}

/// An object as annotated.
#[derive(Debug)]
pub(super) struct AnnotatedObject {
    /// The id in the file, or 0 if it is missing there. With `None`, the objects of the data set are numbered from 1.
    pub id: Option<u64>,
    pub outline: Outline,
    /// The class: an index of the categories.
    pub label: usize,
    /// In square pixels.
    pub annotated_area: Option<f64>,
    pub iscrowd: bool,
    pub place: Place,
}

/// Where something is in an annotation file.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Place {
    /// A line, from 1.
    Line(usize),
    /// The annotation with this id.
    Annotation(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Annotation(id) => write!(f, "annotation {id}"),
        }
    }
}

/// A box in the notation of its format. Lengths are in pixels or in fractions of the image's width and height.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outline {
    /// Left, top, right, bottom.
    Corners([f64; 4]),
    /// Left, top, right, bottom, as fractions.
    CornerShares([f64; 4]),
    /// VOC's `xmin`, `ymin`, `xmax`, `ymax`: pixels, counted from 1, both inclusive.
    FirstAndLastPixel([f64; 4]),
    /// COCO's left, top, width, height.
    CornerAndSize([f64; 4]),
    /// COCO's left, top, width, height, as fractions.
    CornerAndSizeShares([f64; 4]),
    /// YOLO's center and size, as fractions.
    CenterAndSizeShares([f64; 4]),
    /// The bounding box of a segmentation: left, top, right, bottom.
    Segment([f64; 4]),
    /// The bounding box of a segmentation, as fractions.
    SegmentShares([f64; 4]),
    /// Neither a box nor a segmentation.
    Missing,
}

impl Outline {
    /// The box in an image of this size, and the repair that it needed; `None` without a box.
    fn bbox(self, (width, height): (u32, u32)) -> Option<(BoundingBox, Option<Finding>)> {
        let size = [f64::from(width), f64::from(height)];
        let scaled = |[a, b, c, d]: [f64; 4]| [a * size[0], b * size[1], c * size[0], d * size[1]];
        let swapped = Finding::SwappedCorners;
        let negative = Finding::NegativeSize;
        Some(match self {
            Self::Corners(corners) => in_order(corners, swapped),
            Self::CornerShares(corners) => in_order(scaled(corners), swapped),
            Self::FirstAndLastPixel(pixels) => {
                let ([xmin, ymin, xmax, ymax], finding) = ordered(pixels, swapped);
                // A box with `xmin == xmax` would be one pixel wide, but comes from a click without a drag. It is made
                // degenerate so that it is dropped.
                let extent = |min: f64, max: f64| if max > min { max - min + 1.0 } else { 0.0 };
                let extents = [extent(xmin, xmax), extent(ymin, ymax)];
                let xywh = [xmin - 1.0, ymin - 1.0, extents[0], extents[1]];
                (BoundingBox::from_xywh(xywh), finding)
            }
            Self::CornerAndSize(sides) => in_order(corners(sides), negative),
            Self::CornerAndSizeShares(sides) => in_order(scaled(corners(sides)), negative),
            Self::CenterAndSizeShares(shares) => {
                let [x, y, width, height] = scaled(shares);
                let (left, top) = (x - width / 2.0, y - height / 2.0);
                in_order([left, top, left + width, top + height], negative)
            }
            Self::Segment(corners) => in_order(corners, swapped),
            Self::SegmentShares(corners) => in_order(scaled(corners), swapped),
            Self::Missing => return None,
        })
    }

    fn is_segment(self) -> bool {
        matches!(self, Self::Segment(_) | Self::SegmentShares(_))
    }
}

/// The corners of a box from its left, top, width and height.
pub(super) fn corners([x, y, width, height]: [f64; 4]) -> [f64; 4] {
    [x, y, x + width, y + height]
}

/// Whether the boxes of a file are fractions of the image's width and height rather than pixels: most of them lie within
/// the image, and all near it. If they were pixels, most would lie in the first pixel of their images. Whole numbers are
/// pixels. Boxes without an area, which some tools write for images without objects, do not count.
pub(super) fn are_shares(boxes: impl Iterator<Item = [f64; 4]>) -> bool {
    let (mut within, mut beyond, mut is_fractional) = (0_usize, 0_usize, false);
    for edges in boxes {
        let [x1, y1, x2, y2] = edges;
        if x1 == x2 || y1 == y2 || !edges.iter().all(|edge| edge.is_finite()) {
            continue;
        }
        if !edges.iter().all(|edge| (-1.0..=2.0).contains(edge)) {
            return false;
        }
        match edges.iter().all(|edge| (-0.01..=1.01).contains(edge)) {
            true => within += 1,
            false => beyond += 1,
        }
        is_fractional |= edges.iter().any(|edge| edge.fract() != 0.0);
    }
    is_fractional && within > beyond
}

/// The remark on boxes that are read as fractions.
pub(super) const IN_SHARES: &str =
    "nearly all coordinates are at most 1: read as fractions of the image width and height";

/// The box with these corners, put in order.
fn in_order(corners: [f64; 4], finding: Finding) -> (BoundingBox, Option<Finding>) {
    let (corners, finding) = ordered(corners, finding);
    let [x1, y1, x2, y2] = corners.map(|value| value as f32);
    (BoundingBox::new(x1, y1, x2, y2), finding)
}

/// The corners in order, and `finding` if they were not.
fn ordered([x1, y1, x2, y2]: [f64; 4], finding: Finding) -> ([f64; 4], Option<Finding>) {
    match x1 > x2 || y1 > y2 {
        true => (
            [x1.min(x2), y1.min(y2), x1.max(x2), y1.max(y2)],
            Some(finding),
        ),
        false => ([x1, y1, x2, y2], None),
    }
}

/// The bounding box of the points `x, y, x, y, …`; `None` without a point. A last `x` without its `y` is ignored.
pub(super) fn span(coordinates: impl IntoIterator<Item = f64>) -> Option<[f64; 4]> {
    let mut coordinates = coordinates.into_iter();
    let mut span: Option<[f64; 4]> = None;
    while let (Some(x), Some(y)) = (coordinates.next(), coordinates.next()) {
        let [x1, y1, x2, y2] = span.unwrap_or([x, y, x, y]);
        span = Some([x1.min(x), y1.min(y), x2.max(x), y2.max(y)]);
    }
    span
}

impl Description {
    /// The data set: its images with their sizes, its objects as boxes inside them.
    ///
    /// # Errors
    ///
    /// The error of an image if none can be read. [`DataError::MissingImages`] if more than half are not on disk.
    /// [`DataError::SizeMismatch`] if the size of more than half differs from the annotated size. The errors of
    /// [`DetectionDataset::new`].
    pub fn assemble(mut self) -> Result<DetectionDataset, DataError> {
        self.merge_categories();
        self.merge_images();
        let headers: Vec<Result<ImageHeader, DataError>> = (self.images.par_iter())
            .map(|image| read_header(&image.path))
            .collect();
        require_most(&self.images, &headers)?;
        require_sizes(&self.images, &headers)?;

        let mut report = self.report;
        let mut turned = Turned::default();
        let mut segments = Tally::default();
        let mut tiny = Tally::default();
        let mut records = Vec::with_capacity(self.images.len());
        let mut files = Vec::with_capacity(self.images.len());
        let mut ids = 1..;
        let mut unreadable = None;
        for ((image, header), number) in self.images.drain(..).zip(headers).zip(1..) {
            let header = match header {
                Ok(header) => header,
                Err(cause) => {
                    match cause.is_missing_file() {
                        true => report.record(Finding::MissingImage, &image.file_name),
                        false => {
                            let place = format_args!("{} {}", image.file_name, cause.reason());
                            report.record(Finding::UnreadableImage, place);
                        }
                    }
                    unreadable.get_or_insert(cause);
                    continue;
                }
            };
            let Some((size, pixels)) = turned.decide(&image, header) else {
                let (annotated, found) = (image.stated_size.unwrap_or_default(), header.upright());
                let place = format_args!(
                    "{} is {}x{}, annotated as {}x{}",
                    image.file_name, found.0, found.1, annotated.0, annotated.1
                );
                report.record(Finding::SizeMismatch, place);
                continue;
            };
            let mut objects = Vec::with_capacity(image.objects.len());
            let mut seen = HashSet::new();
            for drawn in image.objects {
                let next = ids.next().unwrap_or_default();
                let place = format_args!("{} {}", image.source, drawn.place);
                let Some((bbox, repaired)) = drawn.outline.bbox(size) else {
                    report.record(Finding::NoBox, place);
                    continue;
                };
                let object = Object::new(drawn.id.unwrap_or(next), bbox, drawn.label)
                    .with_annotated_area(drawn.annotated_area)
                    .with_iscrowd(drawn.iscrowd);
                let Some(object) = admit(object, size, place, &mut report) else {
                    continue;
                };
                if !seen.insert((object.label, object.bbox.to_xyxy().map(f32::to_bits))) {
                    report.record(Finding::Duplicate, place);
                    continue;
                }
                if drawn.outline.is_segment() {
                    segments.add(place);
                }
                if object.bbox.to_xywh()[2..].iter().all(|side| *side < 1.0) {
                    tiny.add(place);
                }
                if let Some(finding) = repaired {
                    report.record(finding, place);
                }
                objects.push(object);
            }
            let id = image.id.unwrap_or(number);
            let (width, height) = size;
            records
                .push(ImageRecord::new(id, image.file_name, width, height).with_objects(objects));
            files.push((image.path, pixels));
        }
        if let (true, Some(cause)) = (records.is_empty(), unreadable) {
            return Err(cause);
        }
        turned.report_to(&mut report);
        if segments.count > 0 {
            report.remark(format!("boxes computed from segmentations: {segments}"));
        }
        if tiny.count > 0 {
            report.remark(format!("boxes within a single pixel: {tiny}"));
        }
        let annotations = Annotations {
            name: self.name,
            layout: Some(self.layout),
            categories: self.categories,
            images: records,
            searched: self.searched,
            report,
        };
        DetectionDataset::from_annotations(annotations, ImageFiles::with_pixels(files))
    }
}

impl Description {
    /// Merges categories with the same name into the one with the most objects, so that the ids of results match the
    /// annotations. Roboflow's exports have a category for the whole project, which may have the name of its only
    /// class.
    fn merge_categories(&mut self) {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (category, label) in self.categories.iter().zip(0..) {
            by_name.entry(&category.name).or_default().push(label);
        }
        if by_name.len() == self.categories.len() {
            return;
        }
        let mut counts = vec![0_usize; self.categories.len()];
        let objects = || self.images.iter().flat_map(|image| &image.objects);
        for object in objects() {
            if let Some(count) = counts.get_mut(object.label) {
                *count += 1;
            }
        }
        let mut kept_of: Vec<usize> = (0..self.categories.len()).collect();
        for labels in by_name.values() {
            // On a tie, take the last: the category for the project comes first.
            let most = labels.iter().copied().max_by_key(|&label| counts[label]);
            for &label in labels {
                kept_of[label] = most.unwrap_or(label);
            }
        }
        let mut label_of = vec![0; self.categories.len()];
        let mut categories = Vec::with_capacity(by_name.len());
        for (category, label) in self.categories.iter().zip(0..) {
            let kept = &self.categories[kept_of[label]];
            if kept_of[label] == label {
                label_of[label] = categories.len();
                categories.push(category.clone());
            } else {
                self.report.remark(format!(
                    "the categories {} and {} are both called '{}' and were merged",
                    category.id, kept.id, kept.name
                ));
            }
        }
        for object in self.images.iter_mut().flat_map(|image| &mut image.objects) {
            if let Some(&kept) = kept_of.get(object.label) {
                object.label = label_of[kept];
            }
        }
        self.categories = categories;
    }

    /// Merges all entries of an image file, with the objects of all of them. There is no telling which source is right,
    /// and duplicate objects are dropped later.
    fn merge_images(&mut self) {
        let mut place_of: HashMap<PathBuf, usize> = HashMap::with_capacity(self.images.len());
        let mut merged: Vec<AnnotatedImage> = Vec::with_capacity(self.images.len());
        for mut image in std::mem::take(&mut self.images) {
            let first = match place_of.entry(image.path.clone()) {
                Entry::Occupied(place) => &mut merged[*place.get()],
                Entry::Vacant(place) => {
                    place.insert(merged.len());
                    merged.push(image);
                    continue;
                }
            };
            let contents = |objects: &[AnnotatedObject]| -> Vec<_> {
                let content = |object: &AnnotatedObject| (object.outline, object.label);
                objects.iter().map(content).collect()
            };
            let is_equal = first.objects.len() == image.objects.len()
                && contents(&first.objects) == contents(&image.objects);
            if is_equal {
                image.objects.clear();
            }
            let place = match first.source == image.source {
                true => image.file_name,
                false => format!(
                    "{} in {} and {}",
                    image.file_name, first.source, image.source
                ),
            };
            // An entry without objects does not contradict the other.
            let finding = match first.objects.is_empty() || image.objects.is_empty() {
                true => Finding::Repeated,
                false => Finding::Merged,
            };
            self.report.record(finding, place);
            first.stated_size = first.stated_size.or(image.stated_size);
            first.objects.append(&mut image.objects);
        }
        self.images = merged;
    }
}

/// Fails if more than half of the images are not on disk.
fn require_most(
    images: &[AnnotatedImage],
    headers: &[Result<ImageHeader, DataError>],
) -> Result<(), DataError> {
    let is_lost = |header: &Result<_, _>| {
        header
            .as_ref()
            .err()
            .is_some_and(DataError::is_missing_file)
    };
    let missing = headers.iter().filter(|header| is_lost(header)).count();
    let first = headers.iter().position(is_lost);
    match first.map(|first| &images[first]) {
        Some(first) if 2 * missing > images.len() => Err(DataError::MissingImages {
            first: first.path.clone(),
            missing,
            total: images.len(),
        }),
        _ => Ok(()),
    }
}

/// Fails if the size of more than half of the readable images differs from the annotated size.
fn require_sizes(
    images: &[AnnotatedImage],
    headers: &[Result<ImageHeader, DataError>],
) -> Result<(), DataError> {
    let read = || {
        let pairs = images.iter().zip(headers);
        pairs.filter_map(|(image, header)| Some((image, header.as_ref().ok()?)))
    };
    let mut others = read().filter(|(image, header)| fitting(image, **header).is_none());
    let Some((first, header)) = others.next() else {
        return Ok(());
    };
    let (count, total) = (1 + others.count(), read().count());
    if 2 * count <= total {
        return Ok(());
    }
    let path = first.path.display();
    Err(DataError::SizeMismatch {
        image: match total {
            1 => path.to_string(),
            _ => format!("{path} (one of {count} such images of {total})"),
        },
        annotated: first.stated_size.unwrap_or_default(),
        found: header.upright(),
    })
}

/// The size of the pixels that the annotations of an image refer to, and whether these are the upright or the stored
/// pixels. Stored pixels are chosen only if the annotated size fits them alone. `None` if it fits neither.
fn fitting(image: &AnnotatedImage, header: ImageHeader) -> Option<((u32, u32), Pixels)> {
    let upright = header.upright();
    let stated = image.stated_size.unwrap_or(upright);
    if stated == upright {
        return Some((stated, Pixels::Upright));
    }
    (stated == header.stored).then_some((stated, Pixels::Stored))
}

/// The images whose pixels are not stored upright, grouped by the pixels that their annotations refer to.
#[derive(Default)]
struct Turned {
    upright: Tally,
    stored: Tally,
}

impl Turned {
    /// The [`fitting`] size and pixels.
    fn decide(
        &mut self,
        image: &AnnotatedImage,
        header: ImageHeader,
    ) -> Option<((u32, u32), Pixels)> {
        let (size, pixels) = fitting(image, header)?;
        if pixels == Pixels::Stored {
            self.stored.add(&image.file_name);
        } else if header.orientation != image::metadata::Orientation::NoTransforms {
            self.upright.add(&image.file_name);
        }
        Some((size, pixels))
    }

    fn report_to(&self, report: &mut LoadReport) {
        if self.upright.count > 0 {
            report.remark(format!(
                "images with an EXIF orientation, rotated upright: {}",
                self.upright
            ));
        }
        if self.stored.count > 0 {
            report.remark(format!(
                "images with an EXIF orientation, not rotated because the annotated size matches the stored pixels: {}",
                self.stored
            ));
        }
    }
}
