//! The weights that come with this crate.

use std::path::Path;

use fcos_burn_builtin::{CONFIG, WEIGHTS};
use fcos_burn_detect::run_files::current_config;
use fcos_burn_model::weights::WeightsFile;
use serde_json::Value;

use crate::{Error, RunConfig};

/// What messages call them.
const NAME: &str = "builtin";

pub(crate) fn weights() -> Result<WeightsFile, Error> {
    Ok(WeightsFile::from_bytes(WEIGHTS.to_vec(), Path::new(NAME))?)
}

/// The configuration of the run that trained them.
pub(crate) fn config() -> Result<RunConfig, Error> {
    let malformed = || fcos_burn_detect::Error::json(Path::new(NAME));
    let config: Value = serde_json::from_str(CONFIG).map_err(malformed())?;
    let config = serde_json::from_value(current_config(config, Path::new(NAME))?);
    Ok(config.map_err(malformed())?)
}

impl RunConfig {
    /// Takes the network, the normalization of its input and the ranges of its levels from the [built-in
    /// weights](crate::InitialWeights::Builtin), so that training can start from them.
    ///
    /// # Errors
    ///
    /// Fails if the configuration of the built-in weights is malformed, which it never is.
    pub fn with_builtin_model(self) -> Result<Self, Error> {
        let builtin = config()?;
        let model = (self.model)
            .with_backbone(builtin.model.backbone)
            .with_fpn(builtin.model.fpn)
            .with_head(builtin.model.head)
            .with_assignment(builtin.model.assignment);
        let input = (self.input).with_normalization(builtin.input.normalization);
        Ok(Self {
            model,
            input,
            ..self
        })
    }

    /// Whether a training run can start from the [built-in weights](crate::InitialWeights::Builtin):
    /// the backbone, the pyramid, the head and the normalization of the input are theirs.
    ///
    /// # Errors
    ///
    /// Fails as [`with_builtin_model`](Self::with_builtin_model) does.
    pub fn has_builtin_model(&self) -> Result<bool, Error> {
        let RunConfig { model, input, .. } = config()?;
        Ok(self.model.backbone == model.backbone
            && self.model.fpn == model.fpn
            && self.model.head == model.head
            && self.input.normalization == input.normalization)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::tensor::Device;

    use super::*;

    #[test]
    fn the_weights_are_those_of_the_small_preset() {
        let small = RunConfig::small();
        assert!(small.has_builtin_model().unwrap());
        assert_eq!(small.clone().with_builtin_model().unwrap(), small);
        assert!(RunConfig::accurate().has_builtin_model().unwrap());
        assert!(!RunConfig::paper().has_builtin_model().unwrap());
        let paper = RunConfig::paper().with_builtin_model().unwrap();
        assert!(paper.has_builtin_model().unwrap());

        let config = config().unwrap();
        let model = config.model.init(&Device::flex()).unwrap();
        let (_, loaded) = weights().unwrap().load(model).unwrap();
        assert_eq!((loaded.kept.len(), loaded.unused), (0, 0));
        // A release on crates.io has at most 10 MiB.
        assert!(WEIGHTS.len() < 8_000_000);
    }
}
