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
    /// A folder in COCO, VOC or YOLO layout.
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
    /// The default name of runs on this data.
    pub fn name(&self) -> String {
        let stem = match self {
            Self::Shapes(_) => return "shapes".to_owned(),
            Self::Custom(name) => return name.clone(),
            Self::Folder(dir) => dir
                .canonicalize()
                .ok()
                .and_then(|dir| Some(dir.file_name()?.to_owned())),
            Self::Coco {
                train_annotations, ..
            } => train_annotations.file_stem().map(ToOwned::to_owned),
        };
        stem.map_or_else(
            || "run".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        )
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
    /// Split to train on.
    pub train_split: String,
    /// Split to validate on.
    pub val_split: String,
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

    /// A folder in COCO, VOC or YOLO layout. Without a name, the split is the one called
    /// `train` or `val`, else the first whose name starts with it; validation falls back to
    /// `test` in the same way.
    ///
    /// # Errors
    ///
    /// Fails if the folder is not a data set, or has no such split.
    pub fn folder(dir: &Path, train: Option<&str>, val: Option<&str>) -> Result<Self, Error> {
        let folder = DataFolder::open(dir)?;
        let choose = |named: Option<&str>, found: Option<&str>, purpose| {
            let split = named.or(found).map(ToOwned::to_owned);
            split.ok_or_else(|| Error::Run {
                path: dir.to_owned(),
                cause: format!(
                    "no split is recognizable as the one for {purpose}: name one of {}",
                    folder.splits().join(", ")
                ),
            })
        };
        Ok(Self::new(
            DataSource::Folder(dir.to_owned()),
            choose(train, folder.training_split(), "training")?,
            choose(val, folder.validation_split(), "validation")?,
        ))
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

    /// Sets [`val_split`](Self::val_split).
    #[must_use]
    pub fn with_val_split(self, val_split: impl Into<String>) -> Self {
        Self {
            val_split: val_split.into(),
            ..self
        }
    }

    /// Sets [`strict`](Self::strict).
    #[must_use]
    pub fn with_strict(self, strict: bool) -> Self {
        Self { strict, ..self }
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
            categories: Vec::new(),
            strict: false,
        }
    }
}
