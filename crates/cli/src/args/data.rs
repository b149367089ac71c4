//! Arguments for data.

use std::{ffi::OsStr, path::PathBuf};

use clap::Args;
use fcos_burn::{
    data::{shapes::ShapesConfig, synthetic::SyntheticConfig},
    train::config::DataSource,
};

use super::parse_val_share;

/// The data to train or evaluate on.
#[derive(Args, Clone, Debug)]
pub struct DataArgs {
    /// Use the built-in `shapes` or `synthetic` (for pretraining), or a data set in any known layout: its
    /// folder, or the file that describes it, such as data.yaml or a COCO file [default: shapes; in
    /// `evaluate`, the data of the run]
    #[arg(long, value_name = "shapes|synthetic|DIR|FILE")]
    data: Option<PathBuf>,
    /// Read the training images from this folder, with annotations in a COCO file
    #[arg(long, value_name = "DIR", conflicts_with = "data", requires_all = ["train_annotations", "val_images", "val_annotations"])]
    train_images: Option<PathBuf>,
    /// Read the annotations of the training images from this COCO file
    #[arg(long, value_name = "JSON", requires = "train_images")]
    train_annotations: Option<PathBuf>,
    /// Read the validation images from this folder
    #[arg(long, value_name = "DIR", requires = "train_images")]
    val_images: Option<PathBuf>,
    /// Read the annotations of the validation images from this COCO file
    #[arg(long, value_name = "JSON", requires = "train_images")]
    val_annotations: Option<PathBuf>,
}

impl DataArgs {
    /// The source of the data that the flags select, if any.
    pub fn source(&self) -> Option<DataSource> {
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
            return Some(DataSource::Coco {
                train_images: train_images.clone(),
                train_annotations: train_annotations.clone(),
                val_images: val_images.clone(),
                val_annotations: val_annotations.clone(),
            });
        }
        self.data.as_ref().map(|data| {
            generated(data.as_os_str()).unwrap_or_else(|| DataSource::Folder(data.clone()))
        })
    }
}

/// The built-in set of this name.
pub fn generated(name: &OsStr) -> Option<DataSource> {
    match name.to_str()? {
        "shapes" => Some(DataSource::Shapes(ShapesConfig::default())),
        "synthetic" => Some(DataSource::Synthetic(SyntheticConfig::default())),
        _ => None,
    }
}

/// The splits for training and validation.
#[derive(Args, Clone, Debug)]
pub struct SplitArgs {
    /// Train on this split [default: train]
    #[arg(long, value_name = "NAME")]
    train_split: Option<String>,
    /// Validate on this split [default: val, or test]
    #[arg(long, value_name = "NAME")]
    val_split: Option<String>,
    /// Hold out this share of the training split for validation, even if there is a validation split
    /// [default: 0.2 if there is none]
    #[arg(long, value_name = "SHARE", value_parser = parse_val_share, conflicts_with_all = ["val_split", "val_images"], allow_negative_numbers = true)]
    val_share: Option<f64>,
}

impl SplitArgs {
    /// The name of the training split, if one was given.
    pub fn train(&self) -> Option<&str> {
        self.train_split.as_deref()
    }

    /// The name of the validation split, if one was given.
    pub fn val(&self) -> Option<&str> {
        self.val_split.as_deref()
    }

    /// The share to hold out, if one was given.
    pub fn val_share(&self) -> Option<f64> {
        self.val_share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_names_of_built_in_sets_are_taken_for_one() {
        let named = |name: &str| generated(OsStr::new(name)).map(|source| source.name());
        assert_eq!(named("shapes").as_deref(), Some("shapes"));
        assert_eq!(named("synthetic").as_deref(), Some("synthetic"));
        assert_eq!(named("./synthetic"), None);
    }
}
