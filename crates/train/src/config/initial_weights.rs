//! What a training starts from.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use {crate::RunConfig, fcos_burn_detect::class_names, fcos_burn_model::weights::WeightsFile};

/// The weights that a training starts from. Files are run folders, or weights files in any format that
/// [`WeightsFile`] supports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum InitialWeights {
    /// Random weights, from the seed.
    Random,
    /// All weights in the file; of a classification network, those of the backbone. The classifier
    /// keeps the classes that the data has, too, by name (see [`class_names`]). The model must be that of the weights
    /// (see [`RunConfig::with_model_of`]).
    All(PathBuf),
    /// All weights except the classifier's, for classes whose names mean something else in the
    /// weights.
    Body(PathBuf),
    /// All weights except the classifier's of a small detector that comes with this crate, for
    /// the model of [`RunConfig::with_builtin_model`]. It was trained on the
    /// [generated set](fcos_burn_data::synthetic).
    Builtin,
}

impl InitialWeights {
    /// The same weights with an absolute path, which does not depend on the folder that a program runs in.
    #[must_use]
    pub fn absolute(self) -> Self {
        let absolute = |path: PathBuf| std::path::absolute(&path).unwrap_or(path);
        match self {
            Self::All(path) => Self::All(absolute(path)),
            Self::Body(path) => Self::Body(absolute(path)),
            weights @ (Self::Random | Self::Builtin) => weights,
        }
    }
}
