//! The files of a run that describe its detector.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{Error, json::read_json};

/// The name of the configuration file in a run folder.
pub const CONFIG: &str = "config.json";

/// The name of the weights file in a run folder.
pub const WEIGHTS: &str = "model.bpk";

/// The name of the evaluation file in a run folder.
pub const EVALUATION: &str = "evaluation.json";

/// The version of the format of the configuration, in its key `version`. Files without that key
/// have version 1.
pub const CONFIG_VERSION: u64 = 2;

/// Reads the configuration of a run, or part of one, in this version of the format or an older
/// one. The result is in this version, without the key `version`.
///
/// # Errors
///
/// Names the file and what is malformed, or the version if it is newer.
pub fn read_config(path: &Path) -> Result<Value, Error> {
    current_config(read_json(path)?, path)
}

/// A configuration in this version of the format, without the key `version`.
///
/// # Errors
///
/// Names `path`, and the version if it is newer.
pub fn current_config(mut config: Value, path: &Path) -> Result<Value, Error> {
    let version = match config
        .as_object_mut()
        .and_then(|keys| keys.remove("version"))
    {
        None => 1,
        Some(version) => version
            .as_u64()
            .ok_or_else(|| invalid(path, format!("version is {version}, not a whole number")))?,
    };
    if !(1..=CONFIG_VERSION).contains(&version) {
        let cause =
            format!("the format has version {version}, but the newest known is {CONFIG_VERSION}");
        return Err(invalid(path, cause));
    }
    upgrade(&mut config);
    Ok(config)
}

/// The score threshold that the evaluation of a run chose, from its evaluation file. `None` if there is no such file,
/// as in an unfinished run, or no threshold in it.
///
/// # Errors
///
/// Names the file and what is malformed.
pub fn read_score_threshold(path: &Path) -> Result<Option<f32>, Error> {
    #[derive(Deserialize)]
    struct Chosen {
        score_threshold: Option<f32>,
    }
    if !path.is_file() {
        return Ok(None);
    }
    let Chosen { score_threshold } = read_json(path)?;
    match score_threshold {
        Some(threshold) if !(0.0..=1.0).contains(&threshold) => {
            let cause = format!("score_threshold is {threshold}, not between 0 and 1");
            Err(invalid(path, cause))
        }
        threshold => Ok(threshold),
    }
}

/// Renames the keys of version 1, which files of a later version may contain too. If a file
/// has both names, the old one stays and is rejected as unknown. The optimizer `adamw` may be given
/// by its name alone.
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
    if let Some(optimizer) = optimization.get_mut("optimizer")
        && optimizer == "adamw"
    {
        *optimizer = json!({ "adamw": {} });
    }
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

fn invalid(path: &Path, cause: String) -> Error {
    Error::Json {
        path: path.to_owned(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(text: &str) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CONFIG);
        std::fs::write(&path, text).unwrap();
        read_config(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn old_keys_get_their_new_names() {
        let old = r#"{"model": {"head": {"learnt_scales": true}, "postprocess": {"thresholded": "x"}},
            "optimization": {"optimizer": "adamw", "milestones": [0.5], "milestone_factor": 0.1}}"#;
        let new = json!({
            "model": {"head": {"learned_scales": true}, "postprocess": {"score_threshold_on": "x"}},
            "optimization": {
                "optimizer": {"adamw": {}},
                "decay": {"steps": {"milestones": [0.5], "factor": 0.1}},
            },
        });
        assert_eq!(read(old), Ok(new.clone()));
        let versioned = new.to_string().replacen('{', r#"{"version": 2, "#, 1);
        assert_eq!(read(&versioned), Ok(new));
    }

    #[test]
    fn evaluations_without_a_score_threshold_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(EVALUATION);
        assert_eq!(read_score_threshold(&path).unwrap(), None);
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_score_threshold(&path).map_err(|error| error.to_string())
        };
        assert_eq!(read(r#"{"images": 3}"#), Ok(None));
        assert_eq!(read(r#"{"score_threshold": null}"#), Ok(None));
        assert_eq!(read(r#"{"score_threshold": 0.42}"#), Ok(Some(0.42)));
        let error = read(r#"{"score_threshold": 1.5}"#).unwrap_err();
        assert!(
            error.contains(EVALUATION) && error.contains("1.5"),
            "{error}"
        );
    }

    #[test]
    fn a_newer_version_is_refused() {
        let error = read(r#"{"version": 3}"#).unwrap_err();
        assert!(
            error.contains("version 3") && error.contains(CONFIG),
            "{error}"
        );
        let error = read(r#"{"version": "2"}"#).unwrap_err();
        assert!(error.contains("not a whole number"), "{error}");
    }
}
