//! The detector in a run folder or a weights file: model, preprocessing, classes.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fcos_burn_data::{Category, DetectionDataset};
use fcos_burn_model::{
    Fcos, FcosConfig,
    backbone::{BackboneConfig, resnet::ResNetConfig},
    weights::{LoadReport, TensorNaming, WeightsFile},
};

use serde::Deserialize;

use crate::{
    class_names::{class_names, known_classes, numbered},
    error::Error,
    input::InputConfig,
    run_files,
};

/// A detector on disk: a run folder, or a weights file of another project.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DetectorFile<C: BackboneConfig = ResNetConfig> {
    /// The weights file.
    pub weights: PathBuf,
    /// The configuration of the model.
    pub model: FcosConfig<C>,
    /// The preprocessing.
    pub input: InputConfig,
    /// The classes, in the order of the labels.
    pub categories: Vec<Category>,
    /// Whether their names are known (see [`class_names`]). Otherwise they are numbered.
    pub named: bool,
    /// The configuration file of the run, if the weights belong to one.
    pub run_config: Option<PathBuf>,
    /// The score threshold that the validation of the run chose, if it did: the one with the
    /// largest F1.
    pub score_threshold: Option<f32>,
}

/// The part of a run's configuration that describes its detector.
#[derive(Deserialize)]
#[serde(bound = "")]
struct RunDetector<C: BackboneConfig> {
    model: FcosConfig<C>,
    input: InputConfig,
    data: RunClasses,
}

#[derive(Deserialize)]
struct RunClasses {
    categories: Vec<Category>,
}

impl DetectorFile {
    /// Opens a run folder, its weights file, or a weights file of another project (see
    /// [`TensorNaming`]).
    ///
    /// For a file of another project, the preprocessing is that of the project's inference. Its
    /// classes are those of [`class_names`], or else numbered.
    ///
    /// # Errors
    ///
    /// Fails if `path` is none of these, cannot be read, or contains only a backbone.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::of_resnet(path.as_ref())
    }

    /// Not generic, so that it is compiled with this crate.
    fn of_resnet(path: &Path) -> Result<Self, Error> {
        if path.is_dir() {
            return Self::open_run(path);
        }
        let file = WeightsFile::open(path)?;
        if file.naming() == TensorNaming::FcosBurn {
            let config = path.with_file_name(run_files::CONFIG);
            if !config.is_file() {
                return Err(Error::NotADetector {
                    path: config,
                    cause: "not found: the weights need the configuration of their run".to_owned(),
                });
            }
            return Self::of_run(config, path.to_owned());
        }
        let model = file.detector().ok_or_else(|| Error::NotADetector {
            path: path.to_owned(),
            cause: format!(
                "contains {}, not a detector; it can only serve as initial weights for training",
                file.naming()
            ),
        })?;
        let names = class_names(&file)?;
        Ok(Self {
            weights: path.to_owned(),
            named: names.is_some(),
            categories: names.unwrap_or_else(|| numbered(file.naming(), model.num_classes)),
            input: match file.naming() {
                TensorNaming::Torchvision => InputConfig::torchvision(),
                _ => InputConfig::fcos(),
            },
            model,
            run_config: None,
            score_threshold: None,
        })
    }

    /// Interprets the weights as an improved (`imprv`) model of the original FCOS code: center-ness
    /// on the regression tower, distances normalized by the stride, center sampling. Its files
    /// have the same tensor names and shapes as those of plain models.
    ///
    /// # Errors
    ///
    /// Fails if the file is not a checkpoint of that code with a center-ness branch.
    pub fn improved_fcos(self) -> Result<Self, Error> {
        let plain = FcosConfig::fcos(self.model.num_classes);
        let improved = FcosConfig::fcos_improved(self.model.num_classes);
        if self.run_config.is_some()
            || self.model.location_rule != plain.location_rule
            || self.model.head.centerness != plain.head.centerness
        {
            return Err(Error::NotADetector {
                path: self.weights,
                cause: "not a checkpoint of the original FCOS code with a center-ness branch"
                    .to_owned(),
            });
        }
        let head = improved.head.with_tower_depth(self.model.head.tower_depth);
        let model = self
            .model
            .with_head(head)
            .with_assignment(improved.assignment);
        Ok(Self { model, ..self })
    }
}

impl<C: BackboneConfig> DetectorFile<C> {
    /// Opens a run folder whose detector has the backbone `C`.
    ///
    /// # Errors
    ///
    /// Fails if `path` is not a run folder of this backbone, or cannot be read.
    pub fn open_run(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let config = path.join(run_files::CONFIG);
        if !config.is_file() {
            return Err(Error::NotADetector {
                path: path.to_owned(),
                cause: format!("not a run folder: it has no {}", run_files::CONFIG),
            });
        }
        Self::of_run(config, path.join(run_files::WEIGHTS))
    }

    /// Loads the detector onto `device`, and reports which weights were loaded.
    ///
    /// # Errors
    ///
    /// Fails if the weights cannot be read or do not fit.
    pub fn load(&self, device: &Device) -> Result<(Fcos<C::Backbone>, LoadReport), Error> {
        let model = self
            .model
            .init(device)
            .map_err(|error| error.within("model"))?;
        Ok(WeightsFile::open(&self.weights)?.load(model)?)
    }

    /// Prepares the detector and `dataset` for an evaluation. Classes are matched by name: see
    /// [`DetectionDataset::with_known_classes`]. If the names of the detector's classes are not
    /// known and their number is that of the data, they are assumed to be the data's, in the same
    /// order, which is logged.
    ///
    /// # Errors
    ///
    /// Fails if the detector has no class of the data.
    pub fn match_classes(
        self,
        dataset: DetectionDataset,
    ) -> Result<(Self, DetectionDataset), Error> {
        let classes = dataset.categories().len();
        if !self.named && self.categories.len() == classes {
            log::info!(
                "{}: the weights have no class names; assuming the {classes} classes of {}, in that order",
                self.weights.display(),
                dataset.name()
            );
            let categories = dataset.categories().to_vec();
            return Ok((Self { categories, ..self }, dataset));
        }
        let known = known_classes(dataset, &self.categories)?;
        Ok((self, known))
    }

    fn of_run(config: PathBuf, weights: PathBuf) -> Result<Self, Error> {
        let run = serde_json::from_value(run_files::read_config(&config)?);
        let RunDetector::<C> { model, input, data } = run.map_err(Error::json(&config))?;
        let valid = model
            .validate()
            .map_err(|error| error.within("model").to_string());
        let valid = valid.and_then(|()| {
            let within = |error: Error| error.within("input").to_string();
            input.validate().map_err(within)
        });
        valid.map_err(|error| Error::NotADetector {
            path: config.clone(),
            cause: format!("not the configuration of a run: {error}"),
        })?;
        let (names, classes) = (data.categories.len(), model.num_classes);
        // A configuration names no classes before its run starts.
        let named = names > 0;
        if named && names != classes {
            return Err(Error::NotADetector {
                path: config,
                cause: format!("names {names} classes, but its model has {classes}"),
            });
        }
        Ok(Self {
            weights,
            model,
            input,
            categories: match named {
                true => data.categories,
                false => numbered(TensorNaming::FcosBurn, classes),
            },
            named,
            score_threshold: run_files::read_score_threshold(
                &config.with_file_name(run_files::EVALUATION),
            )?,
            run_config: Some(config),
        })
    }
}
