//! JSON files.

use std::{fs, path::Path};

use fcos_burn_model::file::write_whole;
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// Reads a JSON file.
///
/// # Errors
///
/// Names the file, and the line that is malformed.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(Error::json(path))
}

/// Writes a JSON file atomically: a reader sees the old file or the new one, never a partial one.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).map_err(Error::json(path))?;
    text.push(b'\n');
    write_whole(path, &text).map_err(Error::io(path))
}

/// A line of a [JSON Lines](https://jsonlines.org) file, with its line break. `path` names the file in errors.
///
/// # Errors
///
/// Fails if the value cannot be written as JSON.
pub fn json_line<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<String, Error> {
    let line = serde_json::to_string(value).map_err(Error::json(path))?;
    Ok(line + "\n")
}
