//! A folder that appears complete or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::DataError;

/// A temporary folder next to the final one. It is removed with its content unless it is finished.
#[derive(Debug)]
pub(super) struct Unfinished {
    partial: PathBuf,
    target: PathBuf,
}

impl Unfinished {
    /// Starts a folder that will be at `target`, which must be empty or absent.
    pub(super) fn start(target: &Path) -> Result<Self, DataError> {
        let absolute = std::path::absolute(target).map_err(DataError::io(target))?;
        let (Some(parent), Some(name)) = (absolute.parent(), absolute.file_name()) else {
            return Err(DataError::NotEmpty {
                path: target.to_path_buf(),
            });
        };
        require_empty(target)?;
        fs::create_dir_all(parent).map_err(DataError::io(parent))?;
        let name = format!(".{}.{}.partial", name.to_string_lossy(), std::process::id());
        let partial = parent.join(name);
        fs::create_dir(&partial).map_err(DataError::io(&partial))?;
        Ok(Self {
            partial,
            target: absolute,
        })
    }

    /// Where to write until the folder is finished.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    /// Moves the folder to its final path.
    pub(super) fn finish(self) -> Result<(), DataError> {
        let target = &self.target;
        match fs::remove_dir(target) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DataError::io(target)(error));
            }
            _ => {}
        }
        fs::rename(&self.partial, target).map_err(DataError::io(target))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After `finish`, there is nothing to remove. Otherwise, the first error matters more than an error here.
        let _ = fs::remove_dir_all(&self.partial);
    }
}

/// Fails unless `target` is absent or an empty folder.
pub(super) fn require_empty(target: &Path) -> Result<(), DataError> {
    match fs::read_dir(target) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(DataError::NotEmpty {
                path: target.to_path_buf(),
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(DataError::io(target)(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_finished_folder_appears_at_its_final_path() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("new/folder");
        let unfinished = Unfinished::start(&target).unwrap();
        fs::write(unfinished.path().join("a"), "content").unwrap();
        assert!(!target.exists());
        unfinished.finish().unwrap();
        assert_eq!(fs::read_to_string(target.join("a")).unwrap(), "content");
        assert_eq!(fs::read_dir(dir.path().join("new")).unwrap().count(), 1);
    }

    #[test]
    fn an_unfinished_folder_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let unfinished = Unfinished::start(&dir.path().join("folder")).unwrap();
        fs::write(unfinished.path().join("a"), "content").unwrap();
        drop(unfinished);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_empty_folders_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("folder");
        fs::create_dir(&target).unwrap();
        Unfinished::start(&target).unwrap().finish().unwrap();
        assert!(target.is_dir());
        fs::write(target.join("a"), "content").unwrap();
        let error = Unfinished::start(&target).unwrap_err().to_string();
        assert!(error.contains("not an empty folder"), "{error}");
        // Another process creates a file in the meantime.
        let other = dir.path().join("other");
        let unfinished = Unfinished::start(&other).unwrap();
        fs::create_dir(&other).unwrap();
        fs::write(other.join("a"), "content").unwrap();
        assert!(unfinished.finish().is_err());
        assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
        assert!(Unfinished::start(&target.join("a")).is_err(), "a file");
    }
}
