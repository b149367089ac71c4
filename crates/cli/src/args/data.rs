//! The data.

use std::path::PathBuf;

use clap::Args;
use fcos_burn::{
    data::shapes::ShapesConfig,
    train::{Error, config::DataConfig},
};

/// The data of a training or an evaluation.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// `shapes`, the built-in set, or a folder in COCO, VOC or YOLO layout
    /// [default: shapes]
    #[arg(long, value_name = "shapes|DIR")]
    data: Option<PathBuf>,
    /// Folder of the training images, with annotations in a COCO file
    #[arg(long, value_name = "DIR", conflicts_with = "data", requires_all = ["train_annotations", "val_images", "val_annotations"])]
    train_images: Option<PathBuf>,
    /// COCO annotations of the training images
    #[arg(long, value_name = "JSON", requires = "train_images")]
    train_annotations: Option<PathBuf>,
    /// Folder of the validation images
    #[arg(long, value_name = "DIR", requires = "train_images")]
    val_images: Option<PathBuf>,
    /// COCO annotations of the validation images
    #[arg(long, value_name = "JSON", requires = "train_images")]
    val_annotations: Option<PathBuf>,
}

impl DataArgs {
    /// The data that the flags name, if they name any.
    ///
    /// # Errors
    ///
    /// Fails if a folder is no data set or lacks a split.
    pub fn config(
        &self,
        train_split: Option<&str>,
        val_split: Option<&str>,
    ) -> Result<Option<DataConfig>, Error> {
        if let (
            Some(train_images),
            Some(train_annotations),
            Some(val_images),
            Some(val_annotations),
        ) = (
            &self.train_images,
            &self.train_annotations,
            &self.val_images,
            &self.val_annotations,
        ) {
            return Ok(Some(DataConfig::coco(
                train_images.clone(),
                train_annotations.clone(),
                val_images.clone(),
                val_annotations.clone(),
            )));
        }
        match &self.data {
            None => Ok(None),
            Some(name) if name.as_os_str() == "shapes" => {
                Ok(Some(DataConfig::shapes(ShapesConfig::default())))
            }
            Some(dir) => DataConfig::folder(dir, train_split, val_split).map(Some),
        }
    }
}
