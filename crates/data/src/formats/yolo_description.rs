//! The files that describe a YOLO data set: `data.yaml`, darknet's `obj.data`, and lists of class names.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::split::names_split;
use crate::DataError;
use crate::files::{has_extension, lines, read_text, shown};

/// The content of a description.
#[derive(Debug, Default)]
pub(super) struct YoloDescription {
    /// The folder of the data set, which may be a path on another machine.
    pub path: Option<String>,
    /// The names of splits, each with the folders or lists of its images.
    pub splits: Vec<(String, Vec<String>)>,
    /// The class names, in the order of the class indices.
    pub names: Option<Vec<String>>,
    /// The file of the class names.
    pub names_file: Option<String>,
    /// The number of classes.
    pub classes: Option<usize>,
    /// The number of keypoints, and the number of values per keypoint.
    pub keypoints: Option<[usize; 2]>,
    /// What the labels are for, such as `detect` or `obb`.
    pub task: Option<String>,
    /// Other keys whose values may be folders or lists.
    pub others: Vec<(String, Vec<String>)>,
}

#[derive(Deserialize)]
struct DataYaml {
    path: Option<Text>,
    train: Option<Places>,
    val: Option<Places>,
    valid: Option<Places>,
    validation: Option<Places>,
    test: Option<Places>,
    names: Option<Names>,
    nc: Option<Text>,
    kpt_shape: Option<Vec<Text>>,
    task: Option<Text>,
}

impl YoloDescription {
    /// Reads a YAML file.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`], or [`DataError::Annotations`] if it is malformed.
    pub fn of_yaml(path: &Path) -> Result<Self, DataError> {
        let malformed = |cause: String| DataError::Annotations {
            path: path.to_path_buf(),
            cause,
        };
        let text = read_text(path)?;
        let yaml: DataYaml = serde_saphyr::from_str(&text).map_err(|error| {
            // Below its message, the parser shows the offending lines. Errors here are a single line.
            let message = error.to_string();
            malformed(readable(message.lines().next().unwrap_or_default()))
        })?;
        let (names, names_file) = match yaml.names {
            None => (None, None),
            Some(Names::Listed(names)) => {
                // An empty list is often left to be filled in.
                (
                    Some(names.map_err(malformed)?).filter(|names| !names.is_empty()),
                    None,
                )
            }
            Some(Names::Text(file)) if is_names_file(&file, path) => (None, Some(file)),
            Some(Names::Text(other)) => {
                let other = shown(&other);
                return Err(malformed(format!(
                    "names: expected a list or a map of class names, or the file that lists them, found '{other}'"
                )));
            }
        };
        let not_empty = |places: &Places| !places.0.is_empty();
        let validation = [
            ("val", yaml.val),
            ("valid", yaml.valid),
            ("validation", yaml.validation),
        ];
        let mut validation = validation
            .into_iter()
            .filter_map(|(key, places)| Some((key, places.filter(not_empty)?)));
        let val = validation.next().map(|(_, places)| places);
        let mut others: Vec<(String, Vec<String>)> = validation
            .map(|(key, places)| (key.to_string(), places.0))
            .collect();
        others.extend(unknown_places(&text));
        let named = [("train", yaml.train), ("val", val), ("test", yaml.test)];
        let splits = named.into_iter().filter_map(|(name, places)| {
            let places = places?.0;
            (!places.is_empty()).then(|| (name.to_string(), places))
        });
        let keypoints: Option<Vec<usize>> = yaml.kpt_shape.and_then(|shape| {
            let numbers = shape.iter().map(|number| number.0.parse().ok());
            numbers.collect()
        });
        Ok(Self {
            path: yaml.path.map(|path| path.0),
            splits: splits.collect(),
            names,
            names_file,
            classes: yaml.nc.and_then(|count| count.0.parse().ok()),
            keypoints: keypoints.and_then(|shape| shape.try_into().ok()),
            task: yaml.task.map(|task| task.0),
            others,
        })
    }

    /// Whether the file is about a data set, rather than about a model or something else.
    pub fn is_about_data(&self) -> bool {
        !self.splits.is_empty() || self.names.is_some() || self.names_file.is_some()
    }

    /// Reads darknet's `KEY = VALUE` lines, such as `train = data/train.txt`. Keys such as `train` are splits; other
    /// keys may be splits if their values are lists. `#` and `;` start comments.
    ///
    /// # Errors
    ///
    /// [`DataError::Io`].
    pub fn of_darknet(path: &Path) -> Result<Self, DataError> {
        let text = read_text(path)?;
        let mut description = Self::default();
        for (_, line) in lines(&text) {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let (key, value) = (key.trim(), value.trim().to_string());
            let value_path = Path::new(&value);
            let is_list = has_extension(value_path, "txt") || has_extension(value_path, "list");
            match key {
                _ if key.starts_with(['#', ';']) || value.is_empty() => {}
                "names" => description.names_file = Some(value),
                "classes" => description.classes = value.parse().ok(),
                _ if is_list || names_split(key) => {
                    description.splits.push((key.to_string(), vec![value]));
                }
                _ => {}
            }
        }
        Ok(description)
    }
}

/// The keys of a YAML file that this crate does not know, with their string values.
fn unknown_places(yaml: &str) -> Vec<(String, Vec<String>)> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Value {
        One(String),
        Several(Vec<String>),
        Other(serde::de::IgnoredAny),
    }
    const KNOWN: [&str; 11] = [
        "path",
        "train",
        "val",
        "valid",
        "validation",
        "test",
        "names",
        "nc",
        "kpt_shape",
        "task",
        "download",
    ];
    let values: BTreeMap<String, Value> = serde_saphyr::from_str(yaml).unwrap_or_default();
    let unknown = values
        .into_iter()
        .filter(|(key, _)| !KNOWN.contains(&key.as_str()));
    let places = unknown.map(|(key, value)| match value {
        Value::One(place) => (key, vec![place]),
        Value::Several(places) => (key, places),
        Value::Other(_) => (key, Vec::new()),
    });
    places.filter(|(_, places)| !places.is_empty()).collect()
}

/// The parser's message without its label and its advice to programmers.
fn readable(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let message = message.split(", set DuplicateKeyPolicy").next();
    message
        .unwrap_or_default()
        .replace("duplicate mapping key: ", "duplicate key: ")
}

/// The class names in a file: one per line, or the categories of Label Studio's `notes.json`.
pub(super) fn class_names(path: &Path) -> Result<Vec<String>, DataError> {
    let text = read_text(path)?;
    if path.extension().is_none_or(|extension| extension != "json") {
        let names: Vec<&str> = text.trim_end().lines().map(str::trim).collect();
        return match names.iter().position(|name| name.is_empty()) {
            Some(blank) => Err(DataError::Line {
                path: path.to_path_buf(),
                line: blank + 1,
                cause: "a blank line between class names; each line counts as a class".into(),
            }),
            None => Ok(names.into_iter().map(str::to_string).collect()),
        };
    }
    #[derive(Deserialize)]
    struct Notes {
        categories: Vec<Category>,
    }
    #[derive(Deserialize)]
    struct Category {
        id: usize,
        name: String,
    }
    let notes: Notes = serde_json::from_str(&text).map_err(|error| DataError::Annotations {
        path: path.to_path_buf(),
        cause: error.to_string(),
    })?;
    let names = notes
        .categories
        .into_iter()
        .map(|category| (category.id, category.name));
    in_order(names.collect()).map_err(|cause| DataError::Annotations {
        path: path.to_path_buf(),
        cause: format!("the ids of the categories {cause}"),
    })
}

/// The names in the order of their indices, which must be 0, 1, 2, ….
fn in_order(names: BTreeMap<usize, String>) -> Result<Vec<String>, String> {
    match names.keys().copied().eq(0..names.len()) {
        true => Ok(names.into_values().collect()),
        false => Err("are not 0, 1, 2, …".into()),
    }
}

/// A string as written, even if YAML would read a number, a Boolean or null: `0` and `no` are valid class names.
#[derive(Debug)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text: Option<String> = Option::deserialize(deserializer)?;
        Ok(Self(text.unwrap_or_else(|| "null".into())))
    }
}

/// One path or several.
struct Places(Vec<String>);

impl<'de> Deserialize<'de> for Places {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrSeveral;
        impl<'de> Visitor<'de> for OneOrSeveral {
            type Value = Places;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a path or a list of paths")
            }
            fn visit_str<E>(self, path: &str) -> Result<Places, E> {
                let path = path.trim();
                Ok(Places(
                    Some(path.to_string())
                        .filter(|path| !path.is_empty())
                        .into_iter()
                        .collect(),
                ))
            }
            fn visit_unit<E>(self) -> Result<Places, E> {
                Ok(Places(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Places, A::Error> {
                let mut places = Vec::new();
                while let Some(Text(place)) = items.next_element()? {
                    places.push(place);
                }
                Ok(Places(places))
            }
        }
        deserializer.deserialize_any(OneOrSeveral)
    }
}

/// Whether the value of `names` in the description at `path` is a file of class names rather than a name.
fn is_names_file(value: &str, path: &Path) -> bool {
    let file = Path::new(value);
    let mut extensions = ["txt", "names", "list", "labels"].into_iter();
    extensions.any(|extension| has_extension(file, extension))
        || path.with_file_name(value).is_file()
}

/// The class names of a description.
enum Names {
    /// A list of names, a map from indices to names, or a map from names to indices. `Err` holds the cause if the indices
    /// are not 0, 1, 2, ….
    Listed(Result<Vec<String>, String>),
    /// A single text.
    Text(String),
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrMap;
        impl<'de> Visitor<'de> for ListOrMap {
            type Value = Names;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or a map of class names")
            }
            fn visit_str<E>(self, text: &str) -> Result<Names, E> {
                Ok(Names::Text(text.trim().to_string()))
            }
            fn visit_unit<E>(self) -> Result<Names, E> {
                Ok(Names::Listed(Ok(Vec::new())))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Text(name)) = items.next_element()? {
                    names.push(name);
                }
                Ok(Names::Listed(Ok(names)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Names, A::Error> {
                // The parser expects that all entries are read, even after a malformed one.
                let mut pairs = Vec::new();
                while let Some((Text(key), Text(value))) = entries.next_entry()? {
                    pairs.push((key, value));
                }
                Ok(Names::Listed(of_pairs(pairs)))
            }
        }
        deserializer.deserialize_any(ListOrMap)
    }
}

/// The class names of a map from indices to names, or from names to indices.
fn of_pairs(pairs: Vec<(String, String)>) -> Result<Vec<String>, String> {
    let is_index = |text: &String| text.parse::<usize>().is_ok();
    let not_an_index = pairs.iter().map(|(key, _)| key).find(|key| !is_index(key));
    let is_inverted = not_an_index.is_some() && pairs.iter().all(|(_, value)| is_index(value));
    let (kind, pairs) = match (not_an_index, is_inverted) {
        (Some(key), false) => {
            let key = shown(key);
            return Err(format!("the key '{key}' of 'names' is not an index"));
        }
        (_, true) => {
            let inverted = pairs.into_iter().map(|(name, index)| (index, name));
            ("values", inverted.collect())
        }
        (None, _) => ("keys", pairs),
    };
    let mut names = BTreeMap::new();
    for (index, name) in pairs {
        // Both are indices, but `0` and `00` are the same.
        let Ok(index) = index.parse::<usize>() else {
            continue;
        };
        match names.entry(index) {
            Entry::Vacant(place) => drop(place.insert(name)),
            Entry::Occupied(_) => {
                return Err(format!(
                    "the {kind} of 'names' have the index {index} twice"
                ));
            }
        }
    }
    in_order(names).map_err(|cause| format!("the {kind} of 'names' {cause}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn yaml(text: &str) -> Result<YoloDescription, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.yaml");
        std::fs::write(&path, text).unwrap();
        YoloDescription::of_yaml(&path).map_err(|error| error.to_string())
    }

    #[test]
    fn names_are_read_as_written_even_if_yaml_has_other_types_for_them() {
        let expected = [
            "0",
            "no",
            "1.50",
            "null",
            "true",
            "on",
            "0x10",
            "2024-01-01",
            "a: b",
        ];
        let list = "names: [0, no, 1.50, null, true, on, 0x10, 2024-01-01, 'a: b']";
        assert_eq!(yaml(list).unwrap().names.unwrap(), expected);
        let items = expected.iter().zip(0..).map(|(name, index)| match *name {
            "a: b" => format!("  {index}: \"a: b\"\n"),
            name => format!("  {index}: {name}\n"),
        });
        let map = format!("names:\n{}", items.collect::<String>());
        assert_eq!(yaml(&map).unwrap().names.unwrap(), expected);
        let quoted = "names: {'1': b, \"0\": a}";
        assert_eq!(yaml(quoted).unwrap().names.unwrap(), ["a", "b"]);
    }

    #[test]
    fn names_may_be_keys_or_in_a_file() {
        let names = |text: &str| yaml(text).unwrap().names;
        let expected = Some(vec!["cat".to_string(), "1".to_string()]);
        for map in ["{cat: 0, 1: 1}", "{1: 1, cat: 0}", "{0: cat, 1: 1}"] {
            assert_eq!(names(&format!("names: {map}\nnc: 2\n")), expected, "{map}");
        }
        for empty in ["[]", "{}", "", "null"] {
            let description = yaml(&format!("names: {empty}\nnc: 2\n")).unwrap();
            assert_eq!((description.names, description.classes), (None, Some(2)));
        }
        for file in ["classes.txt", "../a/obj.names"] {
            let description = yaml(&format!("names: {file}\n")).unwrap();
            assert_eq!(description.names_file.as_deref(), Some(file));
            assert!(description.is_about_data() && description.names.is_none());
        }
    }

    #[test]
    fn splits_have_one_or_several_places_or_none() {
        let description =
            yaml("train: [a, b]\nvalidation: c\ntest: # none\nnc: 2\nkpt_shape: [17, 3]\n")
                .unwrap();
        let train = ("train".to_string(), vec!["a".to_string(), "b".to_string()]);
        let val = ("val".to_string(), vec!["c".to_string()]);
        assert_eq!(description.splits, [train, val]);
        assert_eq!(
            (description.classes, description.keypoints),
            (Some(2), Some([17, 3]))
        );
    }

    #[test]
    fn other_keys_with_places_are_kept() {
        let description = yaml(
            "train: a\nval: b\nvalid: c\nminival: d\nnames: {0: x}\nroboflow: {version: 1}\nnone:\nnc: 1\n",
        );
        let others = description.unwrap().others;
        let [valid, minival] = &others[..] else {
            panic!("{others:?}")
        };
        assert_eq!((valid.0.as_str(), minival.0.as_str()), ("valid", "minival"));
    }

    #[test]
    fn malformed_files_name_the_cause() {
        for (text, cause) in [
            (
                "names: {0: a, 2: b}",
                "the keys of 'names' are not 0, 1, 2, …",
            ),
            ("names: {a: b}", "the key 'a' of 'names' is not an index"),
            (
                "names: {a: b, c: d}",
                "the key 'a' of 'names' is not an index",
            ),
            (
                "names: {a: 0, b: 1, c: 1}",
                "the values of 'names' have the index 1 twice",
            ),
            (
                "names: {a: 1, b: 2}",
                "the values of 'names' are not 0, 1, 2, …",
            ),
            (
                "names:\n  0: a\n  00: b\n",
                "the keys of 'names' have the index 0 twice",
            ),
            ("names: cat", "a list or a map of class names"),
            ("names: 7", "a list or a map of class names"),
            ("train: {a: b}", "a path or a list of paths"),
        ] {
            let error = yaml(text).unwrap_err();
            assert!(error.contains(cause) && !error.contains('\n'), "{error}");
        }
    }
}
