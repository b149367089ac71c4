//! Where weights are fetched from, and where they are kept.

use std::{env, fmt, path::PathBuf};

use etcetera::{BaseStrategy, choose_base_strategy};

use crate::{address::Address, error::Error};

/// The environment variable that sets the cache folder. The weights are in its subfolder `weights`.
pub const CACHE_VARIABLE: &str = "FCOS_BURN_CACHE";

/// The environment variable that sets the address to fetch from.
pub const MIRROR_VARIABLE: &str = "FCOS_BURN_MIRROR";

/// PyTorch's folder of weights.
const PYTORCH: &str = "https://download.pytorch.org/models";

/// Where weights are fetched from, and where they are kept. The debug output has no credentials.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// The folder that the files are kept in.
    pub folder: PathBuf,
    /// The address of the folder that has the files, with HTTPS; on this machine also with HTTP.
    pub source: String,
    /// Fail if a file is not in the cache folder, instead of fetching it.
    pub offline: bool,
}

impl Options {
    /// Fetches from PyTorch's servers into `folder`.
    pub fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            source: PYTORCH.to_owned(),
            offline: false,
        }
    }

    /// Uses the environment variables [`CACHE_VARIABLE`] and [`MIRROR_VARIABLE`] if they are set,
    /// otherwise PyTorch's servers and the user's cache folder: `fcos-burn/weights` in
    /// `$XDG_CACHE_HOME` or `~/.cache`, on Windows in `%LOCALAPPDATA%`.
    ///
    /// # Errors
    ///
    /// [`Error::NoHome`] if neither a cache folder nor a home folder is set.
    pub fn from_environment() -> Result<Self, Error> {
        let cache = match set(CACHE_VARIABLE) {
            Some(cache) => PathBuf::from(cache),
            None => {
                let folders = choose_base_strategy().map_err(|_| Error::NoHome {
                    variable: CACHE_VARIABLE,
                })?;
                folders.cache_dir().join("fcos-burn")
            }
        };
        let options = Self::new(cache.join("weights"));
        Ok(match set(MIRROR_VARIABLE) {
            Some(mirror) => options.with_source(mirror.to_string_lossy()),
            None => options,
        })
    }

    /// Sets [`source`](Self::source).
    #[must_use]
    pub fn with_source(self, source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            ..self
        }
    }

    /// Sets [`offline`](Self::offline).
    #[must_use]
    pub fn with_offline(self, offline: bool) -> Self {
        Self { offline, ..self }
    }

    /// The address of a file.
    pub(crate) fn address(&self, file: &str) -> Address {
        Address::new(format!("{}/{file}", self.source.trim_end_matches('/')))
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("folder", &self.folder)
            .field("source", &Address::new(&self.source))
            .field("offline", &self.offline)
            .finish()
    }
}

/// The value of an environment variable, unless it is empty.
fn set(variable: &str) -> Option<std::ffi::OsString> {
    env::var_os(variable).filter(|value| !value.is_empty())
}
