//! Writing data sets in the supported layouts.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::coco::Coco;
use super::file_names::FileNames;
use super::image_transfer::{Failure, ImageTransfer, Origin};
use super::layout_writer::LayoutWriter;
use super::report::{WriteFinding, WriteReport};
use super::splits::{WrittenSplit, all_categories, labels_among};
use super::unfinished::{Unfinished, require_empty};
use super::voc::Voc;
use super::yolo::Yolo;
use crate::{DataError, DetectionDataset, ImageRecord, Layout};

/// Writes data sets as folders that other tools and this crate read.
///
/// | Layout | Files |
/// |---|---|
/// | COCO | `annotations/instances_SPLIT.json`, `images/SPLIT/` |
/// | VOC | `Annotations/`, `JPEGImages/`, `ImageSets/Main/SPLIT.txt`, `labels.txt` |
/// | YOLO | `data.yaml`, `images/SPLIT/`, `labels/SPLIT/` |
///
/// Reading the written data set gives the same images, boxes to 1e-9 pixels, and classes by name. Categories with the
/// same name are written as one, and readers keep the first of equal objects in an image. What a layout cannot
/// represent is skipped and counted in the [`WriteReport`]: boxes at most one pixel wide or high in VOC, crowd and
/// difficult objects in YOLO. Corners in VOC files are whole pixels if the corners in the data set are.
///
/// Images keep their file names unless these are invalid or taken. Images that are not in files are encoded as PNG.
/// YOLO does not state the sizes of images, so readers apply the EXIF orientation. Images whose boxes refer to the
/// stored pixels are therefore encoded as PNG as well.
///
/// ```
/// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
/// use fcos_burn_data::{DatasetWriter, DetectionDataset, Layout};
///
/// let config = ShapesConfig::default().with_train_images(3).with_val_images(2);
/// let train = DetectionDataset::shapes(&config, ShapesSplit::Train)?;
/// let val = DetectionDataset::shapes(&config, ShapesSplit::Val)?;
///
/// let dir = tempfile::tempdir()?;
/// let writer = DatasetWriter::new(Layout::Yolo);
/// let report = writer.write(&[("train", &train), ("val", &val)], dir.path())?;
/// assert_eq!((report.images(), report.left_out()), (5, 0));
///
/// let read = DetectionDataset::open(dir.path(), Some("val"))?;
/// assert_eq!(read.object_count(), val.object_count());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct DatasetWriter {
    layout: Layout,
    transfer: ImageTransfer,
}

impl DatasetWriter {
    /// A writer for this layout that copies image files.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            transfer: ImageTransfer::default(),
        }
    }

    /// Sets how image files are transferred to the folder.
    #[must_use]
    pub fn with_transfer(mut self, transfer: ImageTransfer) -> Self {
        self.transfer = transfer;
        self
    }

    /// Fails as [`write`](Self::write) does unless the folder `dir` is empty or absent, before there is anything to write.
    ///
    /// # Errors
    ///
    /// [`DataError::NotEmpty`], or [`DataError::Io`] if `dir` cannot be read.
    pub fn require_empty(dir: impl AsRef<Path>) -> Result<(), DataError> {
        require_empty(dir.as_ref())
    }

    /// Writes `splits`, each a name and its images, to the folder `dir`, which must be empty or absent.
    ///
    /// Classes are matched by name: all splits get the classes of the first split, followed by classes that only other
    /// splits have. The folder appears once everything is written. If anything fails, nothing is left behind.
    ///
    /// # Errors
    ///
    /// [`DataError::Config`] for a layout other than COCO, VOC and YOLO. [`DataError::NotEmpty`].
    /// [`DataError::Dataset`] if there is no image to write, or if VOC cannot represent a class name. [`DataError::Io`]
    /// or [`DataError::Image`] if a file cannot be written.
    pub fn write(
        &self,
        splits: &[(&str, &DetectionDataset)],
        dir: impl AsRef<Path>,
    ) -> Result<WriteReport, DataError> {
        let layout = layout_writer(self.layout)?;
        let folder = Unfinished::start(dir.as_ref())?;
        let mut report = WriteReport::new(self.layout);
        let datasets: Vec<&DetectionDataset> = splits.iter().map(|(_, dataset)| *dataset).collect();
        let categories = all_categories(&datasets);
        let mut images = ImageWriter {
            root: folder.path(),
            layout,
            transfer: self.transfer,
            names: HashMap::new(),
            written: HashMap::new(),
        };
        let mut split_names = FileNames::new(["images", "labels"]);
        let mut written = Vec::new();
        for (name, dataset) in splits {
            let labels = labels_among(dataset, &categories);
            let given = split_names.give(name, "");
            if given != *name {
                report.remark(format!("split '{name}' renamed to '{given}'"));
            }
            let images = images.write(&given, dataset, &labels, &mut report)?;
            if images.is_empty() {
                report.record(WriteFinding::EmptySplit, name);
                continue;
            }
            let objects = images.iter().map(|image| image.objects.len()).sum();
            report.count_split(&given, images.len(), objects);
            written.push(WrittenSplit {
                name: given,
                images,
            });
        }
        if written.is_empty() {
            return Err(DataError::Dataset {
                name: dir.as_ref().display().to_string(),
                cause: format!("there is nothing to write ({report})"),
            });
        }
        layout.write(folder.path(), &categories, &written, &mut report)?;
        folder.finish()?;
        Ok(report)
    }
}

fn layout_writer(layout: Layout) -> Result<&'static dyn LayoutWriter, DataError> {
    match layout {
        Layout::Coco => Ok(&Coco),
        Layout::Voc => Ok(&Voc),
        Layout::Yolo => Ok(&Yolo),
        other => Err(DataError::Config {
            field: "layout".to_string(),
            value: other.to_string(),
            requirement: "COCO, VOC or YOLO to be written".to_string(),
        }),
    }
}

/// Writes the images of one split after another.
struct ImageWriter<'a> {
    root: &'a Path,
    layout: &'static dyn LayoutWriter,
    transfer: ImageTransfer,
    /// The used file names, by folder.
    names: HashMap<PathBuf, FileNames>,
    /// The images that are already in a folder, by the files that they came from.
    written: HashMap<(PathBuf, PathBuf), ImageRecord>,
}

impl ImageWriter<'_> {
    /// Puts the images of a split into its folder. Returns their records with the new file names and with the objects
    /// that the layout can represent. `labels` maps the data set's labels to the new labels.
    fn write(
        &mut self,
        split: &str,
        dataset: &DetectionDataset,
        labels: &[usize],
        report: &mut WriteReport,
    ) -> Result<Vec<ImageRecord>, DataError> {
        let relative = self.layout.image_folder(split);
        let folder = self.root.join(&relative);
        fs::create_dir_all(&folder).map_err(DataError::io(&folder))?;
        let states_sizes = self.layout.states_sizes();
        let origins: Vec<Result<Origin, DataError>> = (0..dataset.len())
            .into_par_iter()
            .map(|index| Origin::of(dataset, index, states_sizes))
            .collect();

        let mut records = Vec::with_capacity(dataset.len());
        let mut new = Vec::new();
        for ((index, record), origin) in dataset.images().iter().enumerate().zip(origins) {
            let origin = match origin {
                Ok(origin) => origin,
                Err(cause) => {
                    skip(record, &cause, report);
                    continue;
                }
            };
            let record = self.with_possible_objects(record, labels, report);
            if let Some(written) = self.same_image(&relative, &origin, &record) {
                let file_name = written.file_name.clone();
                records.push(ImageRecord {
                    file_name,
                    ..record
                });
                continue;
            }
            let names = self.names.entry(relative.clone()).or_default();
            let file_name = names.give(origin.stem(), origin.extension());
            new.push((records.len(), index, origin));
            records.push(ImageRecord {
                file_name,
                ..record
            });
        }

        let put = |(position, index, origin): &(usize, usize, Origin)| {
            let to = folder.join(&records[*position].file_name);
            match origin.put(dataset, *index, self.transfer, &to) {
                Ok(()) => Ok(None),
                Err(Failure::Source(cause)) => Ok(Some(cause)),
                Err(Failure::Target(error)) => Err(error),
            }
        };
        let causes: Vec<Option<DataError>> = new.par_iter().map(put).collect::<Result<_, _>>()?;
        let mut missing = HashSet::new();
        for ((position, index, origin), cause) in new.into_iter().zip(causes) {
            let (before, after) = (&dataset.images()[index], &records[position]);
            if let Some(cause) = cause {
                skip(before, &cause, report);
                missing.insert(position);
                continue;
            }
            match origin {
                Origin::Pixels { .. } => report.record(WriteFinding::Encoded, &after.file_name),
                Origin::File { path, .. } => {
                    if path.file_name() != Some(after.file_name.as_ref()) {
                        let names = format_args!("{} to {}", before.file_name, after.file_name);
                        report.record(WriteFinding::Renamed, names);
                    }
                    self.written.insert((relative.clone(), path), after.clone());
                }
            }
        }
        let written = records.into_iter().enumerate();
        Ok(written
            .filter(|(position, _)| !missing.contains(position))
            .map(|(_, record)| record)
            .collect())
    }

    /// The record with the objects that the layout can represent, with their new labels.
    fn with_possible_objects(
        &self,
        record: &ImageRecord,
        labels: &[usize],
        report: &mut WriteReport,
    ) -> ImageRecord {
        let mut record = record.clone();
        let name = &record.file_name;
        record
            .objects
            .retain(|object| match self.layout.obstacle(object) {
                None => true,
                Some(finding) => {
                    report.record(finding, format_args!("{name} object {}", object.id));
                    false
                }
            });
        for object in &mut record.objects {
            object.label = labels.get(object.label).copied().unwrap_or(object.label);
        }
        record
    }

    /// The existing record of the same file with the same objects. VOC splits may overlap.
    fn same_image(
        &self,
        folder: &Path,
        origin: &Origin,
        record: &ImageRecord,
    ) -> Option<&ImageRecord> {
        let Origin::File { path, .. } = origin else {
            return None;
        };
        let written = self.written.get(&(folder.to_path_buf(), path.clone()))?;
        let content = |record: &ImageRecord| -> Vec<_> {
            let objects = record.objects.iter();
            objects
                .map(|object| (object.bbox, object.label, object.iscrowd))
                .collect()
        };
        let same = written.size() == record.size() && content(written) == content(record);
        same.then_some(written)
    }
}

fn skip(record: &ImageRecord, cause: &DataError, report: &mut WriteReport) {
    let place = format_args!("{}: {}", record.file_name, cause.reason());
    report.record(WriteFinding::UnreadableImage, place);
}
