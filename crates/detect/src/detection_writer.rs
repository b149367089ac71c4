//! Writing detections as they come: pictures at once, files with all detections at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use fcos_burn_boxes::Detection;
use fcos_burn_data::Category;
use fcos_burn_plot::save_picture;
use image::RgbImage;

use crate::{
    Error, ImageDetections,
    background::Background,
    crops::CropFolder,
    formats::{coco, csv, yolo},
    json::write_json,
    pictures::{PictureNames, picture},
};

/// What to write. By default, nothing.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OutputConfig {
    /// The folder for a picture with the boxes in each image.
    pub pictures: Option<PathBuf>,
    /// The folder for a picture of each detection, see [`CropFolder`].
    pub crops: Option<PathBuf>,
    /// The file for a list of [`ImageDetections`].
    pub json: Option<PathBuf>,
    /// The folder for [COCO files](coco::write).
    pub coco: Option<PathBuf>,
    /// The file for a [CSV table](csv::write).
    pub csv: Option<PathBuf>,
    /// The folder for [YOLO files](yolo::write), and their columns.
    pub yolo: Option<(PathBuf, yolo::Columns)>,
}

impl OutputConfig {
    /// Sets [`pictures`](Self::pictures).
    #[must_use]
    pub fn with_pictures(self, pictures: Option<PathBuf>) -> Self {
        Self { pictures, ..self }
    }

    /// Sets [`crops`](Self::crops).
    #[must_use]
    pub fn with_crops(self, crops: Option<PathBuf>) -> Self {
        Self { crops, ..self }
    }

    /// Sets [`json`](Self::json).
    #[must_use]
    pub fn with_json(self, json: Option<PathBuf>) -> Self {
        Self { json, ..self }
    }

    /// Sets [`coco`](Self::coco).
    #[must_use]
    pub fn with_coco(self, coco: Option<PathBuf>) -> Self {
        Self { coco, ..self }
    }

    /// Sets [`csv`](Self::csv).
    #[must_use]
    pub fn with_csv(self, csv: Option<PathBuf>) -> Self {
        Self { csv, ..self }
    }

    /// Sets [`yolo`](Self::yolo).
    #[must_use]
    pub fn with_yolo(self, yolo: Option<(PathBuf, yolo::Columns)>) -> Self {
        Self { yolo, ..self }
    }
}

/// Writes the detections of images in the order in which they come.
///
/// Pictures are drawn and encoded in other threads while detection goes on. All other files are written by
/// [`finish`](Self::finish).
///
/// ```no_run
/// use std::path::Path;
/// use fcos_burn_data::read_image;
/// use fcos_burn_detect::{DetectionWriter, Detector, OutputConfig, device::{DeviceName, Precision}};
///
/// let detector = Detector::load("runs/mine", &DeviceName::CPU, Precision::F32)?;
/// let config = OutputConfig::default()
///     .with_pictures(Some("found".into()))
///     .with_csv(Some("found/detections.csv".into()));
/// let mut writer = DetectionWriter::start(config, detector.categories(), 2)?;
/// let file = Path::new("photo.jpg");
/// let images = [read_image(file)?];
/// let detections = detector.detect(&images)?.concat();
/// let [image] = images;
/// writer.write(file, None, image, detections)?;
/// writer.finish()?;
/// # Ok::<(), fcos_burn_detect::Error>(())
/// ```
#[derive(Debug)]
pub struct DetectionWriter {
    config: OutputConfig,
    categories: Arc<[Category]>,
    crops: Option<Arc<CropFolder>>,
    names: PictureNames,
    images: Vec<ImageDetections>,
    background: Background,
}

impl DetectionWriter {
    /// Creates the folders, and starts `threads` threads that write pictures, at least one. `categories` are those of
    /// the detector.
    ///
    /// # Errors
    ///
    /// Fails if a folder cannot be created, a thread cannot be started, or YOLO files cannot list the classes.
    pub fn start(
        config: OutputConfig,
        categories: &[Category],
        threads: usize,
    ) -> Result<Self, Error> {
        let yolo = config.yolo.as_ref().map(|(folder, _)| folder);
        let folders = [&config.pictures, &config.crops, &config.coco];
        let folders = folders
            .into_iter()
            .flatten()
            .chain(yolo)
            .map(PathBuf::as_path);
        let files = [&config.json, &config.csv].into_iter().flatten();
        for folder in folders.chain(files.filter_map(|file| file.parent())) {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        if let Some(folder) = yolo {
            yolo::class_list(folder, categories)?;
        }
        let crops = (config.crops.as_deref()).map(|path| CropFolder::new(path, categories));
        Ok(Self {
            crops: crops.map(Arc::new),
            config,
            categories: categories.into(),
            names: PictureNames::default(),
            images: Vec::new(),
            background: Background::start(threads)?,
        })
    }

    /// Writes the detections in an image. `file` names it in the files, and its pictures are named after it, see
    /// [`PictureNames`]. `frame` is the number of a frame of an animation, from 1.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be written, which may be one of an earlier image.
    pub fn write(
        &mut self,
        file: &Path,
        frame: Option<u64>,
        image: RgbImage,
        detections: Vec<Detection>,
    ) -> Result<(), Error> {
        let size = image.dimensions();
        let found = ImageDetections::new(file, size, &detections, &self.categories);
        self.images.push(found.with_frame(frame));
        let stem = self.names.stem(file, frame);
        let picture_file =
            (self.config.pictures.as_ref()).map(|folder| folder.join(format!("{stem}.png")));
        let crops = self.crops.clone();
        if picture_file.is_none() && crops.is_none() {
            return Ok(());
        }
        let categories = Arc::clone(&self.categories);
        self.background.run(move || {
            if let Some(file) = picture_file {
                save_picture(&file, &picture(&image, &detections, &categories))?;
            }
            match crops {
                Some(crops) => crops.save(&stem, &image, &detections),
                None => Ok(()),
            }
        })
    }

    /// Waits for the pictures and writes the files with all detections. Returns these files and folders. What is wrong
    /// with one does not cost the others: all are tried.
    ///
    /// # Errors
    ///
    /// Names the first picture or file that cannot be written.
    pub fn finish(self) -> Result<Vec<PathBuf>, Error> {
        let pictures = self.background.finish();
        let (images, categories) = (&self.images, &self.categories);
        let config = self.config;
        let json = config.json.map(|path| {
            write_json(&path, images)?;
            Ok(path)
        });
        let csv = config.csv.map(|path| {
            csv::write(&path, images)?;
            Ok(path)
        });
        let coco = config.coco.map(|folder| {
            coco::write(&folder, images, categories)?;
            Ok(folder)
        });
        let yolo = config.yolo.map(|(folder, columns)| {
            yolo::write(&folder, images, columns, categories)?;
            Ok(folder)
        });
        let files: Vec<Result<PathBuf, Error>> =
            [json, csv, coco, yolo].into_iter().flatten().collect();
        pictures?;
        let mut written = files.into_iter().collect::<Result<Vec<_>, Error>>()?;
        written.extend(config.crops);
        Ok(written)
    }
}
