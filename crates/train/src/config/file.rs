//! Configuration files.

use std::path::Path;

use fcos_burn_detect::json::{read_json, write_json};
use fcos_burn_model::backbone::BackboneConfig;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{Error, RunConfig};

/// The version of the format, in the key `version`. Files without it have version 1.
const VERSION: u64 = 2;

#[derive(Serialize)]
#[serde(bound = "")]
struct Versioned<'a, C: BackboneConfig> {
    version: u64,
    #[serde(flatten)]
    config: &'a RunConfig<C>,
}

impl<C: BackboneConfig> RunConfig<C> {
    /// Writes the whole configuration with the version of its format.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let version = VERSION;
        let config = self;
        Ok(write_json(path, &Versioned { version, config })?)
    }

    /// Reads a complete configuration in this version of the format or an older one.
    ///
    /// # Errors
    ///
    /// Names the file and what is malformed in it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let config = read_upgraded(path)?;
        Ok(serde_json::from_value(config).map_err(malformed(path))?)
    }

    /// Replaces the values that the JSON file at `path` contains, at any depth, and keeps the
    /// others. A complete configuration replaces all values; fields that an older file lacks get
    /// their defaults.
    ///
    /// # Errors
    ///
    /// Names the file, and the syntax error, the unknown field, or the value of the wrong type.
    pub fn merge_file(&self, path: &Path) -> Result<Self, Error> {
        let changes = read_upgraded(path)?;
        let merged = match Self::deserialize(&changes) {
            Ok(_) => changes,
            Err(_) => {
                let mut merged = serde_json::to_value(self).map_err(malformed(path))?;
                merge(&mut merged, changes);
                merged
            }
        };
        let config: Self = serde_json::from_value(merged.clone()).map_err(malformed(path))?;
        let read = serde_json::to_value(&config).map_err(malformed(path))?;
        match unread_key(&merged, &read) {
            None => Ok(config),
            Some(key) => Err(invalid(path, format!("unknown field `{key}`")).into()),
        }
    }
}

fn malformed(path: &Path) -> impl FnOnce(serde_json::Error) -> fcos_burn_detect::Error + use<> {
    fcos_burn_detect::Error::json(path)
}

fn invalid(path: &Path, cause: String) -> fcos_burn_detect::Error {
    fcos_burn_detect::Error::Json {
        path: path.to_owned(),
        cause,
    }
}

/// Reads a file and upgrades it to the current version of the format, without the version.
fn read_upgraded(path: &Path) -> Result<Value, Error> {
    let mut config: Value = read_json(path)?;
    let version = match config
        .as_object_mut()
        .and_then(|keys| keys.remove("version"))
    {
        None => 1,
        Some(version) => version
            .as_u64()
            .ok_or_else(|| invalid(path, format!("version is {version}, not a whole number")))?,
    };
    if !(1..=VERSION).contains(&version) {
        let cause = format!("the format has version {version}, but the newest known is {VERSION}");
        return Err(invalid(path, cause).into());
    }
    upgrade(&mut config);
    Ok(config)
}

/// Renames the keys of version 1, which files of a later version may contain too. If a file
/// has both names, the old one stays and is rejected as unknown.
fn upgrade(config: &mut Value) {
    rename(config, "/model/head", "learnt_scales", "learned_scales");
    rename(
        config,
        "/model/postprocess",
        "thresholded",
        "score_threshold_on",
    );
    let Some(Value::Object(optimization)) = config.get_mut("optimization") else {
        return;
    };
    if optimization.contains_key("decay") {
        return;
    }
    let keys = [("milestones", "milestones"), ("milestone_factor", "factor")];
    let steps: Map<String, Value> = keys
        .into_iter()
        .filter_map(|(key, renamed)| Some((renamed.to_owned(), optimization.remove(key)?)))
        .collect();
    if !steps.is_empty() {
        optimization.insert("decay".to_owned(), json!({ "steps": steps }));
    }
}

/// Renames a key of the object at `pointer`.
fn rename(config: &mut Value, pointer: &str, old: &str, new: &str) {
    if let Some(Value::Object(object)) = config.pointer_mut(pointer)
        && !object.contains_key(new)
        && let Some(value) = object.remove(old)
    {
        object.insert(new.to_owned(), value);
    }
}

/// Merges `changes` into `value`, object by object.
///
/// An object with one key is an enum variant; a different key is a different variant and
/// replaces it.
fn merge(value: &mut Value, changes: Value) {
    match (value, changes) {
        (Value::Object(value), Value::Object(changes)) => {
            if value.len() == 1 && changes.len() == 1 && value.keys().ne(changes.keys()) {
                value.clear();
            }
            for (key, change) in changes {
                match value.get_mut(&key) {
                    Some(old) => merge(old, change),
                    None => {
                        value.insert(key, change);
                    }
                }
            }
        }
        (value, changes) => *value = changes,
    }
}

/// The path of the first key of `given` that deserialization ignored.
fn unread_key(given: &Value, read: &Value) -> Option<String> {
    let (Value::Object(given), Value::Object(read)) = (given, read) else {
        return None;
    };
    given.iter().find_map(|(key, value)| match read.get(key) {
        None => Some(key.clone()),
        Some(read) => unread_key(value, read).map(|rest| format!("{key}.{rest}")),
    })
}
