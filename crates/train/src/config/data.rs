//! The configuration of the data.

use std::path::{Path, PathBuf};

use fcos_burn_data::{
    Category, DataFolder, DetectionDataset,
    shapes::{ShapesConfig, ShapesSplit},
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

    /// Whether both refer to the same data, possibly by different paths.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Folder(one), Self::Folder(another)) => {
                let canonical = |path: &Path| path.canonicalize().ok();
                one == another || canonical(one).is_some_and(|one| canonical(another) == Some(one))
            }
            _ => self == other,
        }
    }

    /// The split to evaluate a detector on: the one for validation, or the only one.
    ///
    /// # Errors
    ///
    /// Fails if a folder is not a data set, or has several splits and none for validation.
    pub fn evaluation_split(&self) -> Result<String, Error> {
        let Self::Folder(path) = self else {
            return Ok("val".to_owned());
        };
        let folder = DataFolder::open(path)?;
        match (folder.validation_split(), folder.splits()) {
            (Some(split), _) => Ok(split.to_owned()),
            (None, [only]) => Ok(only.clone()),
            (None, _) => Err(no_split(&folder, "validation")),
        }
    }

    /// Opens a split by name. The built-in set and individually given COCO files have the
    /// splits `train` and `val`.
    ///
    /// # Errors
    ///
    /// Fails if the source has no such split, or its files cannot be read.
    pub fn open(&self, split: &str) -> Result<DetectionDataset, Error> {
        let unknown = || ConfigError::new("split", split, "train or val");
        Ok(match (self, split) {
            (Self::Folder(dir), split) => DetectionDataset::open(dir, Some(split))?,
            (Self::Shapes(config), "train") => {
                DetectionDataset::shapes(config, ShapesSplit::Train)?
            }
            (Self::Shapes(config), "val") => DetectionDataset::shapes(config, ShapesSplit::Val)?,
            (
                Self::Coco {
                    train_images,
                    train_annotations,
                    ..
                },
                "train",
            ) => DetectionDataset::coco(train_images, train_annotations)?,
            (
                Self::Coco {
                    val_images,
                    val_annotations,
                    ..
                },
                "val",
            ) => DetectionDataset::coco(val_images, val_annotations)?,
            (Self::Custom(name), _) => return Err(Error::CustomData(name.clone())),
            _ => return Err(unknown().into()),
        })
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

impl DataConfig {
    /// The built-in set.
    pub fn shapes(config: ShapesConfig) -> Self {
        Self::new(DataSource::Shapes(config), "train", "val")
    }

    /// A folder in any layout, or a file that describes a data set. Splits that are not named are
    /// those that [`DataFolder::training_split`] and [`DataFolder::validation_split`] find. If
    /// there is no validation split, a fraction [`VAL_SHARE`](Self::VAL_SHARE) of the training
    /// split is held out.
    ///
    /// # Errors
    ///
    /// Fails if `path` is not a data set, or no split is recognizable as the training split.
    pub fn folder(path: &Path, train: Option<&str>, val: Option<&str>) -> Result<Self, Error> {
        let folder = DataFolder::open(path)?;
        let train = train.or(folder.training_split());
        let train = train.ok_or_else(|| no_split(&folder, "training"))?;
        // A single split has only one purpose.
        let found = || {
            folder
                .validation_split()
                .filter(|split| !split.eq_ignore_ascii_case(train))
        };
        let source = DataSource::Folder(path.to_owned());
        Ok(match val.or_else(found) {
            Some(val) => Self::new(source, train, val),
            None => Self::new(source, train, Self::HELD_OUT).with_val_share(Self::VAL_SHARE),
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

    /// The fraction that is held out by default.
    pub const VAL_SHARE: f64 = 0.2;

    /// The name of the held-out part.
    pub const HELD_OUT: &str = "held-out";

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
            val_split: Self::HELD_OUT.to_owned(),
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

    /// Opens the training data and the validation data.
    ///
    /// # Errors
    ///
    /// Fails as [`DataSource::open`] and [`DetectionDataset::hold_out`] do.
    pub fn open_splits(&self) -> Result<(DetectionDataset, DetectionDataset), Error> {
        let train = self.source.open(&self.train_split)?;
        match self.val_share {
            Some(share) => Ok(train.hold_out(share)?),
            None => Ok((train, self.source.open(&self.val_split)?)),
        }
    }

    /// Opens a split by name: the training split, also called `train`, without its held-out part;
    /// the validation split; or any other split of the source.
    ///
    /// # Errors
    ///
    /// Fails as [`open_splits`](Self::open_splits) does.
    pub fn open(&self, split: &str) -> Result<DetectionDataset, Error> {
        if self.val_share.is_none() {
            self.source.open(split)
        } else if split == self.val_split {
            Ok(self.open_splits()?.1)
        } else if self.is_training(split) {
            Ok(self.open_splits()?.0)
        } else {
            self.source.open(split)
        }
    }

    /// Whether the split of this name is the training split.
    fn is_training(&self, split: &str) -> bool {
        let usual = || match &self.source {
            DataSource::Folder(path) => DataFolder::open(path)
                .is_ok_and(|folder| folder.training_split() == Some(self.train_split.as_str())),
            _ => false,
        };
        split.eq_ignore_ascii_case(&self.train_split)
            || split.eq_ignore_ascii_case("train") && usual()
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

fn no_split(folder: &DataFolder, purpose: &str) -> Error {
    Error::Run {
        path: folder.path().to_owned(),
        cause: format!(
            "cannot tell which split to use for {purpose}: name one of {}",
            folder.splits().join(", ")
        ),
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
    }
}
