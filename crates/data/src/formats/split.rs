//! The splits of a data set.

use std::path::Path;

use crate::{DataError, Layout};

/// The name of the only split where no files or folders name any.
pub(super) const ONLY_SPLIT: &str = "all";

/// A named part of a data set, and where it is.
pub(super) struct Split<T> {
    pub name: String,
    pub source: T,
}

impl<T> Split<T> {
    pub fn new(name: impl Into<String>, source: T) -> Self {
        Self {
            name: name.into(),
            source,
        }
    }

    /// What the split of the data set in `dir` is called in messages.
    pub fn title(&self, dir: &Path) -> String {
        format!("{} [{}]", dir.display(), self.name)
    }
}

/// The split called `name`, or the only one if `name` is `None`.
pub(super) fn choose<T>(
    dir: &Path,
    layout: Layout,
    mut splits: Vec<Split<T>>,
    name: Option<&str>,
) -> Result<Split<T>, DataError> {
    let position = match name {
        Some(name) => splits.iter().position(|split| split.name == name),
        None if splits.len() == 1 => Some(0),
        None => None,
    };
    if let Some(position) = position {
        return Ok(splits.swap_remove(position));
    }
    let path = dir.to_path_buf();
    let available = splits.into_iter().map(|split| split.name).collect();
    Err(match name {
        Some(split) => DataError::UnknownSplit {
            path,
            layout,
            split: split.to_string(),
            available,
        },
        None => DataError::SplitNotNamed {
            path,
            layout,
            available,
        },
    })
}
