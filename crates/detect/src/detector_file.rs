//! The detector in a run folder or a weights file: model, preprocessing, classes.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use fcos_burn_data::Category;
use fcos_burn_model::{
    Fcos, FcosConfig,
    backbone::{BackboneConfig, resnet::ResNetConfig},
    weights::{LoadReport, TensorNaming, WeightsFile},
};

use serde::Deserialize;

use crate::{coco_classes::COCO_CLASSES, error::Error, input::InputConfig, run_files};

/// A detector on disk: a run folder, or a weights file of another project.
#[derive(Clone, Debug)]
pub struct DetectorFile<C: BackboneConfig = ResNetConfig> {
    /// The weights file.
    pub weights: PathBuf,
    /// The configuration of the model.
    pub model: FcosConfig<C>,
    /// The preprocessing.
    pub input: InputConfig,
    /// The classes, in the order of the labels.
    pub categories: Vec<Category>,
    /// The configuration file of the run, if the weights belong to one.
    pub run_config: Option<PathBuf>,
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
    /// For a file of another project, the preprocessing is that of the project's inference. The
    /// classes are COCO's if their number matches (torchvision has a label for each COCO id from 0
    /// to 90), else numbered.
    ///
    /// # Errors
    ///
    /// Fails if `path` is none of these, cannot be read, or contains only a backbone.
    pub fn open(path: &Path) -> Result<Self, Error> {
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
        Ok(Self {
            weights: path.to_owned(),
            categories: categories(file.naming(), model.num_classes),
            input: match file.naming() {
                TensorNaming::Torchvision => InputConfig::torchvision(),
                _ => InputConfig::fcos(),
            },
            model,
            run_config: None,
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
    pub fn open_run(path: &Path) -> Result<Self, Error> {
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

    fn of_run(config: PathBuf, weights: PathBuf) -> Result<Self, Error> {
        let run = serde_json::from_value(run_files::read_config(&config)?);
        let RunDetector::<C> { model, input, data } = run.map_err(Error::json(&config))?;
        let valid = model
            .validate()
            .map_err(|error| error.within("model").to_string());
        let valid = valid.and_then(|()| input.validate().map_err(|error| error.to_string()));
        valid.map_err(|error| Error::NotADetector {
            path: config.clone(),
            cause: format!("not the configuration of a run: {error}"),
        })?;
        Ok(Self {
            weights,
            model,
            input,
            categories: data.categories,
            run_config: Some(config),
        })
    }
}

fn categories(naming: TensorNaming, count: usize) -> Vec<Category> {
    let coco = || COCO_CLASSES.iter().map(|&(id, name)| (id, name.to_owned()));
    let named: Vec<(u64, String)> = match (naming, count) {
        (TensorNaming::Fcos, 80) => coco().collect(),
        (TensorNaming::Torchvision, 91) => {
            let mut named: Vec<_> = (0..91).map(|id| (id, format!("class {id}"))).collect();
            for (id, name) in coco() {
                named[id as usize].1 = name;
            }
            named
        }
        // Label 0 is the first class in the original code, the background in torchvision.
        (TensorNaming::Fcos, _) => (1..=count as u64)
            .map(|id| (id, format!("class {id}")))
            .collect(),
        _ => (0..count as u64)
            .map(|id| (id, format!("class {id}")))
            .collect(),
    };
    named
        .into_iter()
        .map(|(id, name)| Category { id, name })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_get_coco_names_if_their_number_matches() {
        let torchvision = categories(TensorNaming::Torchvision, 91);
        assert_eq!(torchvision.len(), 91);
        assert_eq!((torchvision[18].id, &*torchvision[18].name), (18, "dog"));
        assert_eq!(torchvision[12].name, "class 12");
        let fcos = categories(TensorNaming::Fcos, 80);
        assert_eq!((fcos[79].id, &*fcos[79].name), (90, "toothbrush"));
        let own = categories(TensorNaming::Fcos, 2);
        assert_eq!((own[1].id, &*own[1].name), (2, "class 2"));
    }
}
