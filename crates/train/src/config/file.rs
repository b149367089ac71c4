//! Configuration files.

use std::path::Path;

use fcos_burn_detect::{
    json::write_json,
    run_files::{CONFIG_VERSION, read_config},
};
use fcos_burn_model::{ConfigError, backbone::BackboneConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, RunConfig};

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
        let version = CONFIG_VERSION;
        let config = self;
        Ok(write_json(path, &Versioned { version, config })?)
    }

    /// Reads a complete configuration in this version of the format or an older one.
    ///
    /// # Errors
    ///
    /// Names the file and what is malformed in it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let config = read_config(path)?;
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
        let merged = self.merged(read_config(path)?);
        Ok(merged.map_err(|cause| fcos_burn_detect::Error::Json {
            path: path.to_owned(),
            cause,
        })?)
    }

    /// Replaces the value of a field, which is named by its path, such as
    /// `optimization.decay.cosine.end`.
    ///
    /// # Errors
    ///
    /// Names the field that does not exist, or whose value is of the wrong type.
    pub fn with_field(&self, field: &str, value: Value) -> Result<Self, ConfigError> {
        let name = field.to_owned();
        let changes = field
            .rsplit('.')
            .fold(value.clone(), |inner, key| json!({ key: inner }));
        let merged = self.merged(changes);
        merged.map_err(|cause| ConfigError::new(name, value, format!("valid ({cause})")))
    }

    /// This configuration with `changes` to it, or a complete one. The error is the cause.
    fn merged(&self, changes: Value) -> Result<Self, String> {
        let text = |error: serde_json::Error| error.to_string();
        let merged = match Self::deserialize(&changes) {
            Ok(_) => changes,
            Err(_) => {
                let mut merged = serde_json::to_value(self).map_err(text)?;
                merge(&mut merged, changes);
                merged
            }
        };
        let config: Self = serde_json::from_value(merged.clone()).map_err(text)?;
        let read = serde_json::to_value(&config).map_err(text)?;
        match unread_key(&merged, &read) {
            None => Ok(config),
            Some(key) => Err(format!("unknown field `{key}`")),
        }
    }
}

impl<C: BackboneConfig> RunConfig<C> {
    /// Sets values by their paths, such as `optimization.learning_rate`. A path names fields, and elements of lists by
    /// their index.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use fcos_burn_train::RunConfig;
    ///
    /// let rate = BTreeMap::from([("optimization.learning_rate".to_owned(), 0.003.into())]);
    /// let config = RunConfig::small().with_values(&rate)?;
    /// assert_eq!(config.optimization.learning_rate, 0.003);
    /// # Ok::<(), fcos_burn_model::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Names a path that is not in the configuration, or whose value has the wrong type.
    pub fn with_values<'a>(
        &self,
        values: impl IntoIterator<Item = (&'a String, &'a Value)>,
    ) -> Result<Self, ConfigError> {
        let mut config = self.clone();
        for (path, value) in values {
            config = config.with_value(path, value)?;
        }
        Ok(config)
    }

    fn with_value(&self, path: &str, value: &Value) -> Result<Self, ConfigError> {
        let invalid = |cause: &str| {
            let requirement = format!("a value of the configuration: {cause}");
            ConfigError::new(path.to_owned(), value, requirement)
        };
        let malformed = |error: serde_json::Error| invalid(&error.to_string());
        let mut whole = serde_json::to_value(self).map_err(malformed)?;
        *at(&mut whole, path).map_err(|cause| invalid(&cause))? = value.clone();
        let config = Self::deserialize(&whole).map_err(malformed)?;
        let read = serde_json::to_value(&config).map_err(malformed)?;
        if unread_key(&whole, &read).is_some() {
            // A default is left out of files. A field that takes anything is none.
            *at(&mut whole, path).map_err(|cause| invalid(&cause))? = json!([[["anything"]]]);
            if Self::deserialize(&whole).is_ok() {
                return Err(invalid("there is no such field"));
            }
        }
        Ok(config)
    }
}

/// The value at a path. The last field may be missing.
fn at<'a>(whole: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let mut value = whole;
    let mut parts = path.split('.').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        value = child(value, part, is_last).ok_or_else(|| format!("there is no `{part}` in it"))?;
    }
    Ok(value)
}

/// A field of an object, which is added if it `may_be_new`, or an element of a list.
fn child<'a>(value: &'a mut Value, part: &str, may_be_new: bool) -> Option<&'a mut Value> {
    match value {
        Value::Object(fields) => match may_be_new {
            true => Some(fields.entry(part).or_insert(Value::Null)),
            false => fields.get_mut(part),
        },
        Value::Array(list) => list.get_mut(part.parse::<usize>().ok()?),
        _ => None,
    }
}

fn malformed(path: &Path) -> impl FnOnce(serde_json::Error) -> fcos_burn_detect::Error + use<> {
    fcos_burn_detect::Error::json(path)
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
