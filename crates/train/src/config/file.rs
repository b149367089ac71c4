//! Configuration files.

use std::path::{Path, PathBuf};

use fcos_burn_detect::{
    json::write_json,
    run_files::{CONFIG_VERSION, read_config},
};
use fcos_burn_model::{ConfigError, backbone::BackboneConfig};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Error, RunConfig};

/// A JSON file with values for a configuration, which [`RunConfig::merge`] takes over.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    values: Value,
}

impl ConfigFile {
    /// Reads a file in this version of the format or an older one.
    ///
    /// # Errors
    ///
    /// Names the file, and the syntax error.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Self {
            path: path.to_owned(),
            values: read_config(path)?,
        })
    }

    /// The text of a field that the file contains, named by its path, such as `data.train_split`.
    pub fn text(&self, path: &str) -> Option<&str> {
        let pointer = format!("/{}", path.replace('.', "/"));
        self.values.pointer(&pointer)?.as_str()
    }
}

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
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let version = CONFIG_VERSION;
        let config = self;
        Ok(write_json(path, &Versioned { version, config })?)
    }

    /// Reads a complete configuration in this version of the format or an older one.
    ///
    /// # Errors
    ///
    /// Names the file and what is malformed in it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let config = read_config(path)?;
        Ok(serde_path_to_error::deserialize(config)
            .map_err(|error| malformed(path, wrong(&error)))?)
    }

    /// Replaces the values that the JSON file at `path` contains, at any depth, and keeps the
    /// others. A complete configuration replaces all values; fields that an older file lacks get
    /// their defaults.
    ///
    /// # Errors
    ///
    /// Names the file, and the syntax error, the unknown field, or the value of the wrong type.
    pub fn merge_file(&self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        self.merge(&ConfigFile::read(path)?)
    }

    /// Replaces the values that the file contains, as [`merge_file`](Self::merge_file) does.
    ///
    /// # Errors
    ///
    /// Names the file, and the unknown field, or the value of the wrong type.
    pub fn merge(&self, file: &ConfigFile) -> Result<Self, Error> {
        let merged = self.merged(file.values.clone());
        Ok(merged.map_err(|cause| malformed(&file.path, cause))?)
    }

    /// Replaces the value of a field, which is named by its path, such as
    /// `optimization.decay.cosine.end` or `input.augmentation.0.color_jitter.hue`. A path names
    /// fields, and elements of lists by their index. What an object does not contain is kept.
    ///
    /// # Errors
    ///
    /// Names the field that does not exist, or whose value is of the wrong type.
    pub fn with_field(&self, field: &str, value: Value) -> Result<Self, ConfigError> {
        let set = || {
            let mut whole = serde_json::to_value(self).map_err(|error| error.to_string())?;
            set(&mut whole, "", field, value.clone())?;
            read_all(whole)
        };
        set().map_err(|cause| {
            let cause = cause.strip_prefix(&format!("{field}: ")).unwrap_or(&cause);
            ConfigError::new(field.to_owned(), value.clone(), format!("valid ({cause})"))
        })
    }

    /// Sets several [fields](Self::with_field).
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use fcos_burn_train::RunConfig;
    ///
    /// let rate = BTreeMap::from([("optimization.learning_rate".to_owned(), 0.003.into())]);
    /// let config = RunConfig::small().with_fields(&rate)?;
    /// assert_eq!(config.optimization.learning_rate, 0.003);
    /// # Ok::<(), fcos_burn_model::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`with_field`](Self::with_field) does.
    pub fn with_fields<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Result<Self, ConfigError> {
        let mut fields = fields.into_iter();
        fields.try_fold(self.clone(), |config, (field, value)| {
            config.with_field(field, value.clone())
        })
    }

    /// This configuration with `changes` to it, or a complete one. The error is the cause.
    fn merged(&self, changes: Value) -> Result<Self, String> {
        match Self::deserialize(&changes) {
            Ok(_) => read_all(changes),
            Err(_) => {
                let mut merged = serde_json::to_value(self).map_err(|error| error.to_string())?;
                merge(&mut merged, changes, "");
                read_all(merged)
            }
        }
    }
}

/// Reads a configuration in which every key has a meaning. The error is the cause.
fn read_all<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    let mut unknown = None;
    let mut ignore = |key: serde_ignored::Path<'_>| {
        // A `?` stands for an optional value.
        unknown.get_or_insert(key.to_string().replace(".?", ""));
    };
    let every_key = serde_ignored::Deserializer::new(value, &mut ignore);
    let config = serde_path_to_error::deserialize(every_key).map_err(|error| wrong(&error))?;
    match unknown {
        None => Ok(config),
        Some(key) => Err(format!("unknown field `{key}`")),
    }
}

/// Replaces the value at a path within the value at `place`. The error is the cause.
fn set(whole: &mut Value, place: &str, path: &str, value: Value) -> Result<(), String> {
    let (part, rest) = first_part(place, path);
    let inner = match whole {
        Value::Array(list) => {
            let element = part
                .parse()
                .ok()
                .and_then(|index: usize| list.get_mut(index));
            Some(element.ok_or_else(|| format!("there is no element `{part}`"))?)
        }
        Value::Object(fields) => fields.get_mut(part),
        _ => None,
    };
    match (inner, rest) {
        (Some(inner), Some(rest)) => set(inner, &joined(place, part), rest, value),
        (Some(inner), None) => {
            merge(inner, value, &joined(place, part));
            Ok(())
        }
        // A variant that takes the place of another one, or an unknown field.
        (None, _) => {
            merge(whole, nested(place, path, value), place);
            Ok(())
        }
    }
}

/// The first key of a path within the value at `place`, and the rest. Names of classes may have dots.
fn first_part<'a>(place: &str, path: &'a str) -> (&'a str, Option<&'a str>) {
    match path.split_once('.') {
        Some((part, rest)) if !BY_CLASS.contains(&place) => (part, Some(rest)),
        _ => (path, None),
    }
}

/// A value in the objects that lead to it.
fn nested(place: &str, path: &str, value: Value) -> Value {
    match first_part(place, path) {
        (part, Some(rest)) => json!({ part: nested(&joined(place, part), rest, value) }),
        (part, None) => json!({ part: value }),
    }
}

/// What is wrong, with the path of the value, or of the object that has an unknown field.
fn wrong(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let cause = error.inner().to_string();
    let path = error.path().to_string().replace(".?", "");
    let path = match cause.starts_with("unknown field") {
        true => path.rsplit_once('.').map_or("", |(object, _)| object),
        false => path.as_str(),
    };
    match path {
        "" | "." => cause,
        path => format!("{path}: {cause}"),
    }
}

fn malformed(path: &Path, cause: String) -> fcos_burn_detect::Error {
    fcos_burn_detect::Error::Json {
        path: path.to_owned(),
        cause,
    }
}

/// The paths of objects whose keys are names of classes.
const BY_CLASS: [&str; 2] = ["focal_alpha", "class_weights.given"];

/// Merges `changes` into the `value` at `path`, object by object.
///
/// An object with one key is an enum variant; a different key is a different variant and
/// replaces it, unless keys are names of classes.
fn merge(value: &mut Value, changes: Value, path: &str) {
    match (value, changes) {
        (Value::Object(value), Value::Object(changes)) => {
            let is_variant = value.len() == 1 && changes.len() == 1 && !BY_CLASS.contains(&path);
            if is_variant && value.keys().ne(changes.keys()) {
                value.clear();
            }
            for (key, change) in changes {
                match value.get_mut(&key) {
                    Some(old) => merge(old, change, &joined(path, &key)),
                    None => {
                        value.insert(key, change);
                    }
                }
            }
        }
        (value, changes) => *value = changes,
    }
}

/// The path of a part of the value at `path`.
fn joined(path: &str, part: &str) -> String {
    match path {
        "" => part.to_owned(),
        path => format!("{path}.{part}"),
    }
}
