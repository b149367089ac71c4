//! The data set: annotations in memory, pixels on demand.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use rayon::prelude::*;

use super::checks::{admit, note_equal_names, number_objects, require_consistent};
use super::{Category, ImageRecord, ImageSource};
use crate::transforms::Sample;
use crate::{DataError, Layout, LoadReport, panics};

/// A set of annotated images: one split of a data set on disk, of the generated set, or images of your own.
///
/// Annotations are in memory; pixels are read on demand. Every object has a box of positive size inside its image.
/// Degenerate boxes and boxes outside the image are dropped, boxes that cross the border are clipped, and
/// [`report`](Self::report) counts both.
///
/// Categories are ordered by id in COCO, as in `labels.txt` or else by name over the whole folder in VOC, and as in the
/// class list in YOLO.
///
/// ```
/// use fcos_burn_data::DetectionDataset;
/// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
///
/// let config = ShapesConfig::default().with_train_images(2);
/// let dataset = DetectionDataset::shapes(&config, ShapesSplit::Train)?;
/// assert_eq!(dataset.len(), 2);
/// let image = dataset.image(0)?;
/// assert_eq!(image.dimensions(), (config.width, config.height));
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct DetectionDataset {
    pub(super) annotations: Annotations,
    pub(super) source: Arc<dyn ImageSource>,
}

/// Everything but the pixels.
#[derive(Debug, Clone)]
pub(crate) struct Annotations {
    pub name: String,
    pub layout: Option<Layout>,
    pub categories: Vec<Category>,
    /// Objects have passed [`admit`].
    pub images: Vec<ImageRecord>,
    /// Where annotations were searched for; empty if they were not read from files.
    pub searched: String,
    pub report: LoadReport,
}

impl DetectionDataset {
    /// A data set of these images, whose pixels come from `source`. `name` is used in messages.
    ///
    /// The same rules apply as for files: degenerate boxes and boxes outside their image are dropped, boxes that cross
    /// the border are clipped, and [`report`](Self::report) counts both. If object ids are zero or repeated, all
    /// objects are renumbered.
    ///
    /// ```
    /// use fcos_burn_data::{
    ///     BoundingBox, Category, DataError, DetectionDataset, Finding, ImageRecord, ImageSource, Object, RgbImage,
    /// };
    ///
    /// /// Images in memory.
    /// #[derive(Debug)]
    /// struct Memory(Vec<RgbImage>);
    ///
    /// impl ImageSource for Memory {
    ///     fn image(&self, index: usize) -> Result<RgbImage, DataError> {
    ///         Ok(self.0[index].clone())
    ///     }
    /// }
    ///
    /// let inside = Object::new(1, BoundingBox::new(4.0, 4.0, 20.0, 12.0), 0);
    /// let degenerate = Object::new(2, BoundingBox::new(5.0, 5.0, 5.0, 9.0), 1);
    /// let images = vec![
    ///     ImageRecord::new(1, "first", 32, 24).with_objects(vec![inside, degenerate]),
    ///     ImageRecord::new(2, "second", 16, 16),
    /// ];
    /// let pixels = Memory(vec![RgbImage::new(32, 24), RgbImage::new(16, 16)]);
    /// let dataset = DetectionDataset::new("mine", Category::list(["cat", "dog"]), images, pixels)?;
    ///
    /// assert_eq!(dataset.to_string(), "mine: 2 images, 1 objects, 2 classes");
    /// assert_eq!(dataset.report().tally(Finding::Degenerate).examples, ["first object 2"]);
    /// assert_eq!(dataset.sample(0)?.boxes(), [BoundingBox::new(4.0, 4.0, 20.0, 12.0)]);
    /// # Ok::<(), DataError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`DataError::Dataset`] if image ids or category ids are not unique, an image has no pixels, or a label is not an
    /// index of `categories`.
    pub fn new(
        name: impl Into<String>,
        categories: Vec<Category>,
        mut images: Vec<ImageRecord>,
        source: impl ImageSource + 'static,
    ) -> Result<Self, DataError> {
        let mut report = LoadReport::default();
        for image in &mut images {
            let (size, name) = (image.size(), &image.file_name);
            let objects = std::mem::take(&mut image.objects).into_iter();
            image.objects = objects
                .filter_map(|object| {
                    let id = object.id;
                    admit(
                        object,
                        size,
                        format_args!("{name} object {id}"),
                        &mut report,
                    )
                })
                .collect();
        }
        let annotations = Annotations {
            name: name.into(),
            layout: None,
            categories,
            images,
            searched: String::new(),
            report,
        };
        Self::from_annotations(annotations, source)
    }

    /// A data set from annotations whose objects have passed [`admit`].
    pub(crate) fn from_annotations(
        mut annotations: Annotations,
        source: impl ImageSource + 'static,
    ) -> Result<Self, DataError> {
        require_consistent(&annotations.categories, &annotations.images).map_err(|cause| {
            DataError::Dataset {
                name: annotations.name.clone(),
                cause,
            }
        })?;
        number_objects(&mut annotations.images, &mut annotations.report);
        note_equal_names(&annotations.categories, &mut annotations.report);
        Ok(Self {
            annotations,
            source: Arc::new(source),
        })
    }

    /// The name in messages. Readers use the path of the data set and the split.
    pub fn name(&self) -> &str {
        &self.annotations.name
    }

    /// The layout on disk; `None` if the data set was not read from one.
    pub fn layout(&self) -> Option<Layout> {
        self.annotations.layout
    }

    /// The classes, in the order of the labels.
    pub fn categories(&self) -> &[Category] {
        &self.annotations.categories
    }

    /// The images and their objects.
    pub fn images(&self) -> &[ImageRecord] {
        &self.annotations.images
    }

    /// Everything that was dropped or changed in the annotations.
    pub fn report(&self) -> &LoadReport {
        &self.annotations.report
    }

    /// Adds information about the data set to its [report](Self::report).
    #[must_use]
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        self.annotations.report.remark(remark);
        self
    }

    /// Adds a problem of the data set as a whole to its [report](Self::report).
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.annotations.report.note(note);
        self
    }

    /// Appends to its [report](Self::report).
    #[must_use]
    pub fn with_report(mut self, report: LoadReport) -> Self {
        self.annotations.report.extend(report);
        self
    }

    /// The [report](Self::report) and its remarks as messages that start with the name of the data set.
    pub fn messages(&self) -> Vec<String> {
        let report = self.report();
        let found = (!report.is_clean()).then(|| report.to_string());
        let lines = found.iter().chain(report.remarks());
        lines
            .map(|line| format!("{}: {line}", self.name()))
            .collect()
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.images().len()
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.images().is_empty()
    }

    /// The number of objects in all images.
    pub fn object_count(&self) -> usize {
        self.images().iter().map(|image| image.objects.len()).sum()
    }

    /// The number of objects of each class, in the order of the labels. Crowds do not count.
    pub fn objects_by_class(&self) -> Vec<usize> {
        let mut counts = vec![0; self.categories().len()];
        for object in self.images().iter().flat_map(ImageRecord::ordinary_objects) {
            counts[object.label] += 1;
        }
        counts
    }

    /// The names of the classes without a training object, in the order of the labels. Crowds do not count.
    pub fn classes_without_objects(&self) -> Vec<&str> {
        let classes = self.categories().iter().zip(self.objects_by_class());
        let without = classes.filter(|(_, objects)| *objects == 0);
        without
            .map(|(category, _)| category.name.as_str())
            .collect()
    }

    /// Fails unless there is a training object. Crowds do not count.
    ///
    /// # Errors
    ///
    /// [`DataError::NoObjects`], which names where annotations were searched for and what was dropped.
    pub fn require_objects(&self) -> Result<(), DataError> {
        let mut objects = (self.images().iter()).flat_map(ImageRecord::ordinary_objects);
        if objects.next().is_some() {
            return Ok(());
        }
        Err(DataError::NoObjects {
            name: self.name().to_string(),
            images: self.len(),
            crowds: self.object_count(),
            searched: self.annotations.searched.clone(),
            report: Box::new(self.report().clone()),
        })
    }

    /// The record of an image.
    ///
    /// # Errors
    ///
    /// [`DataError::IndexOutOfRange`].
    pub fn record(&self, index: usize) -> Result<&ImageRecord, DataError> {
        let len = self.len();
        (self.images().get(index)).ok_or(DataError::IndexOutOfRange { index, len })
    }

    /// The pixels of an image, upright: the EXIF orientation is applied, unless the annotated size matches only the
    /// stored pixels.
    ///
    /// # Errors
    ///
    /// The errors of the [`ImageSource`], such as a file that cannot be read or decoded. [`DataError::SizeMismatch`] if
    /// the size of the image differs from its annotated size. [`DataError::IndexOutOfRange`].
    pub fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let record = self.record(index)?;
        let image = panics::catch(|| self.source.image(index))
            .unwrap_or_else(|cause| Err(DataError::image_source(&record.file_name, cause)))?;
        let (annotated, found) = (record.size(), image.dimensions());
        if annotated == found {
            return Ok(image);
        }
        let path = self.source.path(index);
        Err(DataError::SizeMismatch {
            image: path.map_or_else(
                || record.file_name.clone(),
                |path| path.display().to_string(),
            ),
            annotated,
            found,
        })
    }

    /// The file that holds an image. `None` if the image is not in a file, or if there is no image with this index.
    pub fn image_file(&self, index: usize) -> Option<&Path> {
        self.source.path(index)
    }

    /// Reads every image, on all cores. Returns the indices of unreadable images, with the errors.
    ///
    /// `progress` is called after each image, from several threads, with the number of images read so far. Images of a
    /// source that is [always readable](ImageSource::always_readable) are not read.
    pub fn unreadable_images(&self, progress: impl Fn(usize) + Sync) -> Vec<(usize, DataError)> {
        if self.source.always_readable() {
            return Vec::new();
        }
        let done = AtomicUsize::new(0);
        let check = |index| {
            let error = self.image(index).err();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            Some((index, error?))
        };
        (0..self.len()).into_par_iter().filter_map(check).collect()
    }

    /// An image with the boxes and labels for training: all of its objects except crowds.
    ///
    /// # Errors
    ///
    /// Same as [`image`](Self::image).
    pub fn sample(&self, index: usize) -> Result<Sample, DataError> {
        let image = self.image(index)?;
        let objects = self.record(index)?.ordinary_objects();
        let labeled = objects.map(|object| (object.bbox, object.label));
        Ok(Sample::new(image, labeled))
    }
}

/// Name, layout and counts, on one line.
impl fmt::Display for DetectionDataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        if let Some(layout) = self.layout() {
            write!(f, " ({layout})")?;
        }
        let (images, objects) = (self.len(), self.object_count());
        let classes = self.categories().len();
        write!(f, ": {images} images, {objects} objects, {classes} classes")
    }
}
