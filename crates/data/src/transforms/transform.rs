//! Steps in configuration files.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    Augmentation, ColorJitter, HorizontalFlip, RandomCrop, Resize, ScaleJitter, VerticalFlip,
};
use crate::DataError;

/// A step of a [`Pipeline`](super::Pipeline) in a configuration file: an object whose only key is the name of the step
/// and whose value is its options.
///
/// Any name that is not a step of this crate is a [`Custom`](Self::Custom) step. Whether it is registered is checked
/// when the pipeline is built.
///
/// ```
/// use fcos_burn_data::serde_json::{self, json};
/// use fcos_burn_data::transforms::{HorizontalFlip, Transform};
///
/// let flip: Transform = serde_json::from_str(r#"{"horizontal_flip": {"probability": 0.5}}"#)?;
/// assert_eq!(flip, Transform::HorizontalFlip(HorizontalFlip::default()));
///
/// let custom: Transform = serde_json::from_str(r#"{"random_gray": {"probability": 0.1}}"#)?;
/// let options = json!({"probability": 0.1});
/// assert_eq!(custom, Transform::Custom { name: "random_gray".into(), options });
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Transform {
    /// See [`Resize`]. Interpolates with antialiasing.
    Resize(Resize),
    /// See [`ScaleJitter`].
    ScaleJitter(ScaleJitter),
    /// See [`RandomCrop`].
    RandomCrop(RandomCrop),
    /// See [`HorizontalFlip`].
    HorizontalFlip(HorizontalFlip),
    /// See [`VerticalFlip`].
    VerticalFlip(VerticalFlip),
    /// See [`ColorJitter`].
    ColorJitter(ColorJitter),
    /// A step registered in [`Augmentations`](super::Augmentations).
    Custom {
        /// The name under which it is registered.
        name: String,
        /// Its options.
        options: Value,
    },
}

impl Transform {
    /// The names of this crate's steps.
    pub(super) const NAMES: [&str; 6] = [
        "resize",
        "scale_jitter",
        "random_crop",
        "horizontal_flip",
        "vertical_flip",
        "color_jitter",
    ];

    /// The name of the step.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Resize(_) => "resize",
            Self::ScaleJitter(_) => "scale_jitter",
            Self::RandomCrop(_) => "random_crop",
            Self::HorizontalFlip(_) => "horizontal_flip",
            Self::VerticalFlip(_) => "vertical_flip",
            Self::ColorJitter(_) => "color_jitter",
            Self::Custom { name, .. } => name,
        }
    }

    /// The step itself. `custom` makes a custom step from its name and options.
    pub(super) fn step(
        &self,
        custom: impl FnOnce(&str, &Value) -> Result<Arc<dyn Augmentation>, DataError>,
    ) -> Result<Arc<dyn Augmentation>, DataError> {
        Ok(match self {
            Self::Resize(step) => Arc::new(*step),
            Self::ScaleJitter(step) => Arc::new(*step),
            Self::RandomCrop(step) => Arc::new(*step),
            Self::HorizontalFlip(step) => Arc::new(*step),
            Self::VerticalFlip(step) => Arc::new(*step),
            Self::ColorJitter(step) => Arc::new(*step),
            Self::Custom { name, options } => custom(name, options)?,
        })
    }
}

impl Serialize for Transform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = self.name();
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::Resize(step) => map.serialize_entry(name, step),
            Self::ScaleJitter(step) => map.serialize_entry(name, step),
            Self::RandomCrop(step) => map.serialize_entry(name, step),
            Self::HorizontalFlip(step) => map.serialize_entry(name, step),
            Self::VerticalFlip(step) => map.serialize_entry(name, step),
            Self::ColorJitter(step) => map.serialize_entry(name, step),
            Self::Custom { options, .. } => map.serialize_entry(name, options),
        }?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Transform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Transform;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with the name of a step as its only key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Transform, A::Error> {
        let invalid_length = |length| A::Error::invalid_length(length, &self);
        let name: String = map.next_key()?.ok_or_else(|| invalid_length(0))?;
        let step = match name.as_str() {
            "resize" => Transform::Resize(map.next_value()?),
            "scale_jitter" => Transform::ScaleJitter(map.next_value()?),
            "random_crop" => Transform::RandomCrop(map.next_value()?),
            "horizontal_flip" => Transform::HorizontalFlip(map.next_value()?),
            "vertical_flip" => Transform::VerticalFlip(map.next_value()?),
            "color_jitter" => Transform::ColorJitter(map.next_value()?),
            _ => Transform::Custom {
                options: map.next_value()?,
                name,
            },
        };
        match map.next_key::<IgnoredAny>()? {
            None => Ok(step),
            Some(_) => Err(invalid_length(2)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn read(json: &str) -> Result<Transform, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn every_step_round_trips_under_its_name() {
        let steps = [
            Transform::Resize(Resize::ShortSide {
                short: 800,
                long: 1333,
            }),
            Transform::ScaleJitter(ScaleJitter::default()),
            Transform::RandomCrop(RandomCrop::default()),
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::VerticalFlip(VerticalFlip::default()),
            Transform::ColorJitter(ColorJitter::default()),
        ];
        assert_eq!(steps.each_ref().map(Transform::name), Transform::NAMES);
        let custom = Transform::Custom {
            name: "mosaic".into(),
            options: serde_json::json!({"images": [4, 9], "fill": null}),
        };
        for step in steps.into_iter().chain([custom]) {
            let json = serde_json::to_value(&step).unwrap();
            assert!(json.as_object().unwrap().contains_key(step.name()));
            assert_eq!(serde_json::from_value::<Transform>(json).unwrap(), step);
        }
        let resize = r#"{"resize":{"short_side":{"short":800,"long":1333}}}"#;
        assert_eq!(
            serde_json::to_string(&read(resize).unwrap()).unwrap(),
            resize
        );
    }

    #[test]
    fn malformed_steps_are_errors() {
        let message = |json| read(json).unwrap_err().to_string();
        let missing = message(r#"{"horizontal_flip": {}}"#);
        assert!(
            missing.starts_with("missing field `probability`"),
            "{missing}"
        );
        let one_key = "expected an object with the name of a step as its only key";
        for json in ["{}", r#"{"a": 1, "b": 2}"#, "[]", r#""resize""#] {
            let error = message(json);
            assert!(error.contains(one_key), "{error}");
        }
    }
}
