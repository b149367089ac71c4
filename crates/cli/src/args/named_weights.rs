//! Arguments for weights that have a name.

use std::path::{Path, PathBuf};

use clap::Args;
#[cfg(feature = "pretrained")]
use fcos_burn_pretrained::{Network, PretrainedWeights, WEIGHTS, find};

use crate::Error;
#[cfg(feature = "pretrained")]
use crate::pretrained::{file, options};

/// How pretrained weights are found by their name.
#[derive(Args, Clone, Debug)]
pub struct NamedWeightsArgs {
    /// Fetch nothing: use pretrained weights only if they are in the cache folder, which
    /// `fcos-burn weights` shows
    #[cfg(feature = "pretrained")]
    #[arg(long)]
    pub offline: bool,
}

#[cfg(feature = "pretrained")]
impl NamedWeightsArgs {
    /// The path of `weights`, which are a path or a name. Those with a name are fetched if they are
    /// not in the cache folder.
    ///
    /// # Errors
    ///
    /// Fails if the name is unknown, or the weights cannot be fetched.
    pub fn path(&self, weights: &Path) -> Result<PathBuf, Error> {
        match named(weights)? {
            Some(named) => file(named, &options(self.offline)?),
            None => Ok(weights.to_owned()),
        }
    }

    /// The path of `weights`, which must be those of a detector, as far as their name tells.
    ///
    /// # Errors
    ///
    /// Fails as [`path`](Self::path) does, and if they are only a backbone.
    pub fn detector_path(&self, weights: &Path) -> Result<PathBuf, Error> {
        match named(weights)? {
            Some(named) if named.network == Network::Backbone => {
                Err(Error::OnlyBackbone(named.name))
            }
            _ => self.path(weights),
        }
    }
}

/// The weights that have this name, unless it is the path of a file or folder.
#[cfg(feature = "pretrained")]
fn named(weights: &Path) -> Result<Option<&'static PretrainedWeights>, Error> {
    let Some(name) = weights.to_str().filter(|_| !weights.exists()) else {
        return Ok(None);
    };
    // The name of a network alone is refused, with the whole name.
    let is_network = |known: &PretrainedWeights| known.name.ends_with(&format!("/{name}"));
    match name.starts_with(PROJECT) || WEIGHTS.iter().any(is_network) {
        true => Ok(Some(find(name)?)),
        false => Ok(None),
    }
}

#[cfg(not(feature = "pretrained"))]
impl NamedWeightsArgs {
    /// The path of `weights`.
    ///
    /// # Errors
    ///
    /// Fails if they are a name.
    pub fn path(&self, weights: &Path) -> Result<PathBuf, Error> {
        match weights.starts_with(PROJECT) && !weights.exists() {
            true => Err(Error::NoPretrained(weights.to_owned())),
            false => Ok(weights.to_owned()),
        }
    }

    /// The path of `weights`.
    ///
    /// # Errors
    ///
    /// Fails as [`path`](Self::path) does.
    pub fn detector_path(&self, weights: &Path) -> Result<PathBuf, Error> {
        self.path(weights)
    }
}

/// Whether these are the weights in the program, unless it is the path of a file or folder.
pub fn is_builtin(weights: &Path) -> bool {
    weights == Path::new(BUILTIN) && !weights.exists()
}

const BUILTIN: &str = "builtin";

/// What all other names start with.
const PROJECT: &str = "torchvision/";
