//! The configuration of the data.

use std::path::{Path, PathBuf};

use fcos_burn_data::{
    Category, DataError, DataFolder, DetectionDataset, Division, ImagePlace, Layout, equal_images,
    shapes::{ShapesConfig, ShapesSplit},
    synthetic::{SyntheticConfig, SyntheticSplit},
};
use fcos_burn_model::ConfigError;
use serde::{Deserialize, Serialize};

use crate::Error;

/// The source of the images and annotations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum DataSource {
    /// The built-in shapes, generated from a seed.
    Shapes(ShapesConfig),
    /// The built-in set for pretraining, generated from a seed.
    Synthetic(SyntheticConfig),
    /// A data set on disk in any layout that [`DataFolder`] recognizes: a folder, or a file that
    /// describes a data set.
    Folder(PathBuf),
    /// COCO annotation files and image folders, given individually.
    Coco {
        /// Folder of the training images.
        train_images: PathBuf,
        /// Annotations of the training images.
        train_annotations: PathBuf,
        /// Folder of the validation images.
        val_images: PathBuf,
        /// Annotations of the validation images.
        val_annotations: PathBuf,
    },
    /// Custom data sets, passed to
    /// [`Trainer::with_data`](crate::Trainer::with_data).
    Custom(String),
}

impl DataSource {
    /// The default name of runs on this data: that of the folder or the file, without extension.
    pub fn name(&self) -> String {
        let stem = match self {
            Self::Shapes(_) => return "shapes".to_owned(),
            Self::Synthetic(_) => return "synthetic".to_owned(),
            Self::Custom(name) => return name.clone(),
            Self::Folder(path) => path.canonicalize().ok().and_then(|path| {
                let named = match path.is_file() {
                    // This file name says nothing: every export has it.
                    true if path.file_stem()? == "data" => path.parent()?.file_name()?,
                    true => path.file_stem()?,
                    false => path.file_name()?,
                };
                Some(named.to_owned())
            }),
            Self::Coco {
                train_annotations, ..
            } => train_annotations.file_stem().map(ToOwned::to_owned),
        };
        stem.map_or_else(
            || "run".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        )
    }

    /// Whether both name the same data, perhaps by another path: also a folder and the file that
    /// describes it.
    pub fn is_same(&self, other: &Self) -> bool {
        let (Self::Folder(one), Self::Folder(another)) = (self, other) else {
            return self == other;
        };
        let described = |path: &Path| {
            let path = path.canonicalize().ok()?;
            Some(description(&path).unwrap_or(path))
        };
        one == another || described(one).is_some_and(|one| described(another) == Some(one))
    }

    /// The same source with absolute paths, which do not depend on the folder that a program runs
    /// in.
    #[must_use]
    pub fn absolute(self) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        match self {
            Self::Folder(path) => Self::Folder(absolute(path)),
            Self::Coco {
                train_images,
                train_annotations,
                val_images,
                val_annotations,
            } => Self::Coco {
                train_images: absolute(train_images),
                train_annotations: absolute(train_annotations),
                val_images: absolute(val_images),
                val_annotations: absolute(val_annotations),
            },
            Self::Shapes(_) | Self::Synthetic(_) | Self::Custom(_) => self,
        }
    }

    /// Whether the images are generated, so that no files are needed.
    pub fn is_generated(&self) -> bool {
        matches!(self, Self::Shapes(_) | Self::Synthetic(_))
    }

    /// The split to evaluate a detector on: the one for validation, or the only one.
    ///
    /// # Errors
    ///
    /// Fails if a folder is not a data set, or has several splits and none for validation.
    pub fn evaluation_split(&self) -> Result<String, Error> {
        match self {
            Self::Folder(path) => Ok(DataFolder::open(path)?.evaluation_split()?.to_owned()),
            _ => Ok("val".to_owned()),
        }
    }

    /// Opens the split to [evaluate](Self::evaluation_split), and reports which splits for validation are not evaluated.
    ///
    /// # Errors
    ///
    /// Fails if no split is recognizable as the one for validation, or its files cannot be read.
    pub fn open_for_evaluation(&self) -> Result<DetectionDataset, Error> {
        let source = OpenSource::of(self)?;
        let OpenSource::Folder(folder) = &source else {
            return source.read(&self.evaluation_split()?);
        };
        let split = folder.evaluation_split()?;
        let left_out = folder.left_out_of_evaluation(split);
        Ok(folder.read(split)?.with_report(left_out))
    }

    /// Opens a split by name. The built-in sets and individually given COCO files have the
    /// splits `train` and `val`.
    ///
    /// # Errors
    ///
    /// Fails if the source has no such split, or its files cannot be read.
    pub fn open(&self, split: &str) -> Result<DetectionDataset, Error> {
        OpenSource::of(self)?.read(split)
    }
}

/// The file that describes the data set in a folder, if there is a single one.
fn description(folder: &Path) -> Option<PathBuf> {
    let folder = DataFolder::open(folder.is_dir().then_some(folder)?).ok()?;
    let is_described = folder.layout() == Layout::Yolo;
    let file = folder.path().join(folder.evidence());
    file.canonicalize()
        .ok()
        .filter(|file| is_described && file.is_file())
}

/// A source whose splits can be read. A folder has been looked through once for all of them.
enum OpenSource<'a> {
    Folder(DataFolder),
    Other(&'a DataSource),
}

impl<'a> OpenSource<'a> {
    fn of(source: &'a DataSource) -> Result<Self, Error> {
        Ok(match source {
            DataSource::Folder(path) => Self::Folder(DataFolder::open(path)?),
            source => Self::Other(source),
        })
    }

    fn read(&self, split: &str) -> Result<DetectionDataset, Error> {
        let source = match self {
            Self::Folder(folder) => return Ok(folder.read(split)?),
            Self::Other(source) => source,
        };
        Ok(match (source, split) {
            (DataSource::Shapes(config), "train") => {
                DetectionDataset::shapes(config, ShapesSplit::Train)?
            }
            (DataSource::Shapes(config), "val") => {
                DetectionDataset::shapes(config, ShapesSplit::Val)?
            }
            (DataSource::Synthetic(config), "train") => {
                DetectionDataset::synthetic(config, SyntheticSplit::Train)?
            }
            (DataSource::Synthetic(config), "val") => {
                DetectionDataset::synthetic(config, SyntheticSplit::Val)?
            }
            (
                DataSource::Coco {
                    train_images,
                    train_annotations,
                    ..
                },
                "train",
            ) => DetectionDataset::coco(train_images, train_annotations)?,
            (
                DataSource::Coco {
                    val_images,
                    val_annotations,
                    ..
                },
                "val",
            ) => DetectionDataset::coco(val_images, val_annotations)?,
            (DataSource::Custom(name), _) => return Err(Error::CustomData(name.clone())),
            _ => return Err(ConfigError::new("split", split, "train or val").into()),
        })
    }

    /// Whether both names mean the same split.
    fn is_same_split(&self, one: &str, other: &str) -> bool {
        let meant = |split| match self {
            Self::Folder(folder) => folder.split(split).ok(),
            Self::Other(_) => None,
        };
        one == other || meant(one).is_some_and(|one| meant(other) == Some(one))
    }
}

/// The data to train and validate on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DataConfig {
    /// The source of the splits.
    pub source: DataSource,
    /// Training split.
    pub train_split: String,
    /// Validation split; with [`val_share`](Self::val_share), the name of the held-out part.
    pub val_split: String,
    /// The fraction of the training split that is held out for validation instead of a separate
    /// validation split (see [`DetectionDataset::hold_out`]).
    #[serde(default)]
    pub val_share: Option<f64>,
    /// The classes, in the order of the model's labels. Filled in when training starts, so
    /// that the weights can be used without the data.
    pub categories: Vec<Category>,
    /// Whether any problem in the data is an error. Otherwise unusable annotations are
    /// logged and left out, and a few unreadable training images are replaced by others.
    #[serde(default)]
    pub strict: bool,
}

/// How many images of `others` have a file of equal content in `images`.
pub(crate) fn shared_images(images: &DetectionDataset, others: &DetectionDataset) -> usize {
    let is_of = |dataset| move |place: &ImagePlace| place.dataset == dataset;
    let groups = equal_images(&[images, others]).into_iter();
    let groups = groups.filter(|group| group.iter().any(is_of(0)));
    groups
        .map(|group| group.into_iter().filter(is_of(1)).count())
        .sum()
}

impl DataConfig {
    /// The built-in set.
    pub fn shapes(config: ShapesConfig) -> Self {
        Self::new(DataSource::Shapes(config), "train", "val")
    }

    /// A folder in any layout that [`DataFolder`] recognizes, or the file that describes one, with
    /// the [division](DataFolder::division) into these splits.
    ///
    /// # Errors
    ///
    /// Fails if `path` is not a data set, or no split is recognizable as the training split.
    pub fn folder(
        path: impl AsRef<Path>,
        train: Option<&str>,
        val: Option<&str>,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let division = DataFolder::open(path)?.division(train, val)?;
        let source = DataSource::Folder(path.to_owned());
        Ok(Self {
            val_share: division.share,
            ..Self::new(source, division.train, division.val)
        })
    }

    /// The training and validation splits of a source. If they are not named, those of a folder are
    /// found as in [`folder`](Self::folder), and those of other sources are `train` and `val`.
    ///
    /// # Errors
    ///
    /// Fails as [`folder`](Self::folder) does.
    pub fn of(source: DataSource, train: Option<&str>, val: Option<&str>) -> Result<Self, Error> {
        match source {
            DataSource::Folder(path) => Self::folder(&path, train, val),
            source => Ok(Self::new(
                source,
                train.unwrap_or("train"),
                val.unwrap_or("val"),
            )),
        }
    }

    /// COCO annotation files and image folders, given individually.
    pub fn coco(
        train_images: PathBuf,
        train_annotations: PathBuf,
        val_images: PathBuf,
        val_annotations: PathBuf,
    ) -> Self {
        let source = DataSource::Coco {
            train_images,
            train_annotations,
            val_images,
            val_annotations,
        };
        Self::new(source, "train", "val")
    }

    /// Sets [`train_split`](Self::train_split).
    #[must_use]
    pub fn with_train_split(self, train_split: impl Into<String>) -> Self {
        Self {
            train_split: train_split.into(),
            ..self
        }
    }

    /// Holds out the fraction `share` of the training split for validation, even if there is a
    /// validation split.
    #[must_use]
    pub fn with_val_share(self, share: f64) -> Self {
        Self {
            val_split: Division::HELD_OUT.to_owned(),
            val_share: Some(share),
            ..self
        }
    }

    /// Validates on the split of this name.
    #[must_use]
    pub fn with_val_split(self, val_split: impl Into<String>) -> Self {
        Self {
            val_split: val_split.into(),
            val_share: None,
            ..self
        }
    }

    /// Sets [`strict`](Self::strict).
    #[must_use]
    pub fn with_strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }

    /// The same division of another source, such as a copy of the data of a run: its images that
    /// correspond to those of the held-out part are held out. `None` if nothing is held out, if the
    /// source is no folder, if it has neither the training split nor a single one, or if this data
    /// can be read and none of its images is in the source. Images are compared by the content of
    /// their files.
    ///
    /// # Errors
    ///
    /// Fails if the folder is not a data set.
    pub fn divided_as_here(&self, source: &DataSource) -> Result<Option<Self>, Error> {
        let (DataSource::Folder(_), DataSource::Folder(path), Some(_)) =
            (&self.source, source, self.val_share)
        else {
            return Ok(None);
        };
        let folder = DataFolder::open(path)?;
        let train = match (folder.split(&self.train_split), folder.splits()) {
            (Ok(split), _) => split,
            (Err(_), [only]) => only,
            (Err(_), _) => return Ok(None),
        };
        let own = OpenSource::of(&self.source).and_then(|own| own.read(&self.train_split));
        if let Ok(own) = own
            && shared_images(&own, &folder.read(train)?) == 0
        {
            log::info!(
                "{}: none of its files is an image of the run's data, so no part is left out",
                path.display()
            );
            return Ok(None);
        }
        Ok(Some(Self {
            source: source.clone(),
            train_split: train.to_owned(),
            ..self.clone()
        }))
    }

    /// How many images of `dataset` are in the training data, by the content of their files. `None` if the training data
    /// cannot be read.
    pub fn training_images_in(&self, dataset: &DetectionDataset) -> Option<usize> {
        let train = self.open(&self.train_split).ok()?;
        Some(shared_images(&train, dataset))
    }

    /// Opens the training data and the validation data.
    ///
    /// # Errors
    ///
    /// Fails as [`DataSource::open`] and [`DetectionDataset::hold_out`] do.
    pub fn open_splits(&self) -> Result<(DetectionDataset, DetectionDataset), Error> {
        let source = OpenSource::of(&self.source)?;
        self.read_splits(&source)
    }

    /// Fails if the part that is held out has the name of another split, which could then not be opened.
    pub(crate) fn check_held_out_name(&self) -> Result<(), Error> {
        if let (Some(_), DataSource::Folder(path)) = (self.val_share, &self.source)
            && let Ok(split) = DataFolder::open(path)?.split(&self.val_split)
        {
            let requirement =
                "the name of no split if a share of the training split is held out (val_share)";
            return Err(ConfigError::new("data.val_split", split, requirement).into());
        }
        Ok(())
    }

    fn read_splits(
        &self,
        source: &OpenSource,
    ) -> Result<(DetectionDataset, DetectionDataset), Error> {
        let train = source.read(&self.train_split)?;
        let (train, val) = match self.val_share {
            Some(share) => train.hold_out(share)?,
            None => (train, source.read(&self.val_split)?),
        };
        Ok((train, self.with_left_out(val, source)))
    }

    /// Tells which splits are not used.
    fn with_left_out(&self, val: DetectionDataset, source: &OpenSource) -> DetectionDataset {
        let OpenSource::Folder(folder) = source else {
            return val;
        };
        let mut division = Division::new(&self.train_split, &self.val_split);
        division.share = self.val_share;
        val.with_report(folder.left_out(&division))
    }

    /// Opens a split by name: the one to train on, without what is held out of it; the one to
    /// validate on; or any other of the source.
    ///
    /// # Errors
    ///
    /// Fails as [`open_splits`](Self::open_splits) does.
    pub fn open(&self, split: &str) -> Result<DetectionDataset, Error> {
        let source = OpenSource::of(&self.source)?;
        if self.val_share.is_none() {
            let dataset = source.read(split)?;
            Ok(match source.is_same_split(split, &self.val_split) {
                true => self.with_left_out(dataset, &source),
                false => dataset,
            })
        } else if split == self.val_split {
            Ok(self.read_splits(&source)?.1)
        } else if source.is_same_split(split, &self.train_split) {
            Ok(self.read_splits(&source)?.0)
        } else {
            source
                .read(split)
                .map_err(|error| self.with_held_out(error))
        }
    }

    /// Names the held-out part among the splits that there are.
    fn with_held_out(&self, error: Error) -> Error {
        match error {
            Error::Data(DataError::UnknownSplit {
                path,
                layout,
                split,
                mut available,
            }) => {
                available.push(self.val_split.clone());
                Error::Data(DataError::UnknownSplit {
                    path,
                    layout,
                    split,
                    available,
                })
            }
            Error::Config(mut error) if error.field == "split" => {
                error.requirement = format!("train, val or {}", self.val_split).into();
                Error::Config(error)
            }
            error => error,
        }
    }

    /// Checks the values that do not depend on the data.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let Some(share) = self.val_share else {
            return Ok(());
        };
        let within = share > 0.0 && share < 1.0;
        ConfigError::ensure(within, "data.val_share", share, "above 0 and below 1")?;
        ConfigError::ensure(
            self.train_split != self.val_split,
            "data.val_split",
            &self.val_split,
            "a name other than that of the training split, which it is held out from",
        )
    }

    fn new(
        source: DataSource,
        train_split: impl Into<String>,
        val_split: impl Into<String>,
    ) -> Self {
        Self {
            source,
            train_split: train_split.into(),
            val_split: val_split.into(),
            val_share: None,
            categories: Vec::new(),
            strict: false,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn names(dataset: &DetectionDataset) -> Vec<&str> {
        let images = dataset.images().iter();
        images.map(|image| image.file_name.as_str()).collect()
    }

    #[test]
    fn the_generated_sets_have_names_and_two_splits() {
        let synthetic = SyntheticConfig::default()
            .with_train_images(3)
            .with_val_images(2);
        let source: DataSource =
            serde_json::from_str(r#"{"synthetic": {"train_images": 3, "val_images": 2}}"#).unwrap();
        assert_eq!(source, DataSource::Synthetic(synthetic));
        assert!(source.is_generated());
        assert_eq!(source.name(), "synthetic");
        assert_eq!(source.open("train").unwrap().len(), 3);
        assert_eq!(
            source
                .open(&source.evaluation_split().unwrap())
                .unwrap()
                .len(),
            2
        );
        assert!(source.open("test").is_err());
    }

    #[test]
    fn the_held_out_part_is_a_split() {
        let shapes = ShapesConfig::default().with_train_images(20);
        let whole = DataConfig::shapes(shapes);
        let config = whole.clone().with_val_share(0.3);
        config.validate().unwrap();
        let (train, val) = config.open_splits().unwrap();
        assert_eq!(train.len() + val.len(), 20);
        assert!(names(&val).iter().all(|name| !names(&train).contains(name)));
        let open = |split| config.open(split).unwrap();
        assert_eq!(names(&open("train")), names(&train));
        assert_eq!(names(&open("held-out")), names(&val));
        // The source's own split.
        assert_eq!(open("val").len(), whole.open("val").unwrap().len());
        assert!(config.open("other").is_err());
    }

    #[test]
    fn an_unknown_split_is_told_with_the_held_out_part() {
        let refused = |config: DataConfig| config.open("other").unwrap_err().to_string();
        let dir = coco(&["train"]);
        let error = refused(DataConfig::folder(dir.path(), None, None).unwrap());
        assert!(error.ends_with("it has: train, held-out"), "{error}");
        let shapes = DataConfig::shapes(ShapesConfig::default());
        assert!(refused(shapes.clone()).ends_with("train or val"));
        assert!(refused(shapes.with_val_share(0.5)).ends_with("train, val or held-out"));
    }

    #[test]
    fn other_words_for_the_training_split_do_not_open_the_held_out_part() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c", "d"] {
            let image = image::RgbImage::from_pixel(8, 8, image::Rgb([name.as_bytes()[0]; 3]));
            image.save(dir.path().join(format!("{name}.png"))).unwrap();
            let labels = dir.path().join(format!("{name}.txt"));
            fs::write(labels, "0 0.5 0.5 0.25 0.25\n").unwrap();
        }
        fs::write(dir.path().join("classes.txt"), "cat\n").unwrap();
        fs::write(dir.path().join("train.txt"), "a.png\nb.png\nc.png\nd.png\n").unwrap();
        let config = DataConfig::folder(dir.path(), None, None).unwrap();
        let (train, _) = config.open_splits().unwrap();
        assert!(train.len() < 4);
        for split in ["train", "TRAIN", "training"] {
            assert_eq!(names(&config.open(split).unwrap()), names(&train));
        }
    }

    #[test]
    fn a_copy_is_divided_in_the_same_way() {
        let config = DataConfig::folder(coco(&["train"]).path(), None, None).unwrap();
        let divided = |splits: &[&str]| {
            let dir = coco(splits);
            let source = DataSource::Folder(dir.path().to_owned());
            let divided = config.divided_as_here(&source).unwrap();
            divided.map(|data| (data.train_split, data.val_share))
        };
        let held_out = |train: &str| Some((train.to_owned(), Some(0.2)));
        assert_eq!(divided(&["train", "val"]), held_out("train"));
        assert_eq!(divided(&["Training", "other"]), held_out("Training"));
        assert_eq!(divided(&["photos"]), held_out("photos"));
        assert_eq!(divided(&["a", "b"]), None);
        let dir = coco(&["train"]);
        let source = DataSource::Folder(dir.path().to_owned());
        let validated = config.clone().with_val_split("val");
        assert_eq!(validated.divided_as_here(&source).unwrap(), None);
    }

    #[test]
    fn data_without_an_image_of_the_run_is_not_divided() {
        let (own, other) = (coco(&["train"]), coco(&["train"]));
        let config = DataConfig::folder(own.path(), None, None).unwrap();
        let source = DataSource::Folder(other.path().to_owned());
        assert!(config.divided_as_here(&source).unwrap().is_some());
        image::RgbImage::from_pixel(8, 8, image::Rgb([9; 3]))
            .save(other.path().join("train/a.png"))
            .unwrap();
        assert_eq!(config.divided_as_here(&source).unwrap(), None);
        // It cannot be compared with data that is gone.
        drop(own);
        assert!(config.divided_as_here(&source).unwrap().is_some());
    }

    #[test]
    fn paths_do_not_depend_on_the_working_folder() {
        let folder = std::env::current_dir().unwrap();
        let source = DataSource::Folder("photos/../coon".into()).absolute();
        assert_eq!(source, DataSource::Folder(folder.join("photos/../coon")));
    }

    #[test]
    fn impossible_shares_are_refused() {
        for share in [0.0, 1.0, -0.5, f64::NAN] {
            let config = DataConfig::shapes(ShapesConfig::default()).with_val_share(share);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with("data.val_share is "), "{error}");
        }
        let mut config = DataConfig::shapes(ShapesConfig::default()).with_val_share(0.5);
        config.val_split = "train".to_owned();
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with("data.val_split is train"), "{error}");
    }

    /// A COCO data set with a picture in each of these splits.
    fn coco(splits: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let annotations = dir.path().join("annotations");
        fs::create_dir(&annotations).unwrap();
        for split in splits {
            let images = dir.path().join(split);
            fs::create_dir(&images).unwrap();
            image::RgbImage::new(8, 8)
                .save(images.join("a.png"))
                .unwrap();
            let json = r#"{"images": [{"id": 1, "file_name": "a.png", "width": 8, "height": 8}],
                "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 4, 4]}],
                "categories": [{"id": 1, "name": "cat"}]}"#;
            fs::write(annotations.join(format!("instances_{split}.json")), json).unwrap();
        }
        dir
    }

    #[test]
    fn a_share_is_held_out_if_no_other_split_is_for_validation() {
        let chosen = |splits: &[&str], train, val| {
            let dir = coco(splits);
            let config = DataConfig::folder(dir.path(), train, val).unwrap();
            (config.train_split, config.val_split, config.val_share)
        };
        let split = |train: &str, val: &str| (train.to_owned(), val.to_owned(), None);
        let held_out = |train: &str| (train.to_owned(), "held-out".to_owned(), Some(0.2));
        assert_eq!(chosen(&["train", "val"], None, None), split("train", "val"));
        assert_eq!(
            chosen(&["test", "train"], None, None),
            split("train", "test")
        );
        assert_eq!(chosen(&["train"], None, None), held_out("train"));
        assert_eq!(chosen(&["val"], None, None), held_out("val"));
        assert_eq!(chosen(&["a", "train"], Some("a"), None), held_out("a"));
        assert_eq!(
            chosen(&["train"], None, Some("train")),
            split("train", "train")
        );
        let error = DataConfig::folder(coco(&["a", "b"]).path(), None, None).unwrap_err();
        assert!(error.to_string().contains("name one of a, b"), "{error}");
    }

    #[test]
    fn evaluation_takes_the_validation_split_or_the_only_one() {
        let found = |splits: &[&str]| {
            let dir = coco(splits);
            DataSource::Folder(dir.path().to_owned()).evaluation_split()
        };
        assert_eq!(found(&["train", "valid"]).unwrap(), "valid");
        assert_eq!(found(&["photos"]).unwrap(), "photos");
        let error = found(&["a", "b"]).unwrap_err().to_string();
        assert!(error.contains("name one of a, b"), "{error}");
    }

    #[test]
    fn runs_are_named_after_the_folder_or_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("coon");
        fs::create_dir(&folder).unwrap();
        for (file, name) in [("data.yaml", "coon"), ("den.yaml", "den"), (".", "coon")] {
            let path = folder.join(file);
            if file != "." {
                fs::write(&path, "").unwrap();
            }
            assert_eq!(DataSource::Folder(path).name(), name);
        }
        let source = |path: &str| DataSource::Folder(folder.join(path));
        assert!(source(".").is_same(&source("../coon")));
        assert!(!source("data.yaml").is_same(&source("den.yaml")));
        assert!(!source("none").is_same(&source("nothing")));

        // The file that describes the folder.
        fs::create_dir_all(folder.join("images/train")).unwrap();
        let image = image::RgbImage::new(8, 8);
        image.save(folder.join("images/train/a.png")).unwrap();
        for file in ["data.yaml", "den.yaml"] {
            let yaml = "names: [coon]\ntrain: images/train\n";
            fs::write(folder.join(file), yaml).unwrap();
        }
        assert!(source("data.yaml").is_same(&source(".")));
        assert!(source(".").is_same(&source("data.yaml")));
        assert!(!source(".").is_same(&source("den.yaml")));
    }
}
