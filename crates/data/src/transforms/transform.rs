//! Steps in configuration files.

use std::fmt;
use std::sync::Arc;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::{
    Augmentation, ColorJitter, CopyPaste, GaussianBlur, GaussianNoise, HorizontalFlip, HsvJitter,
    JpegArtifacts, Mixup, Mosaic, RandomAffine, RandomCrop, RandomErasing, Resize, ScaleJitter,
    VerticalFlip,
};
use crate::DataError;

/// Defines [`Transform`] by the steps of this crate, each with its name.
macro_rules! transform {
    ($(#[$attribute:meta])* $($step:ident: $name:literal,)+) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        pub enum Transform {
            $(
                #[doc = concat!("See [`", stringify!($step), "`].")]
                $step($step),
            )+
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
            pub(super) const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name of the step.
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$step(_) => $name,)+
                    Self::Custom { name, .. } => name,
                }
            }

            /// The step itself. `custom` makes a custom step from its name and options.
            pub(super) fn step(
                &self,
                custom: impl FnOnce(&str, &Value) -> Result<Arc<dyn Augmentation>, DataError>,
            ) -> Result<Arc<dyn Augmentation>, DataError> {
                Ok(match self {
                    $(Self::$step(step) => Arc::new(*step),)+
                    Self::Custom { name, options } => custom(name, options)?,
                })
            }

            fn serialize_options<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$step(step) => map.serialize_entry($name, step),)+
                    Self::Custom { name, options } => map.serialize_entry(name, options),
                }
            }

            fn deserialize_options<'de, A: MapAccess<'de>>(
                name: String,
                map: &mut A,
            ) -> Result<Self, A::Error> {
                Ok(match name.as_str() {
                    $($name => Self::$step(map.next_value()?),)+
                    _ => Self::Custom { options: map.next_value()?, name },
                })
            }
        }
    };
}

transform! {
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
    Resize: "resize",
    ScaleJitter: "scale_jitter",
    RandomCrop: "random_crop",
    RandomAffine: "random_affine",
    HorizontalFlip: "horizontal_flip",
    VerticalFlip: "vertical_flip",
    ColorJitter: "color_jitter",
    HsvJitter: "hsv_jitter",
    GaussianBlur: "gaussian_blur",
    GaussianNoise: "gaussian_noise",
    JpegArtifacts: "jpeg_artifacts",
    RandomErasing: "random_erasing",
    Mosaic: "mosaic",
    Mixup: "mixup",
    CopyPaste: "copy_paste",
}

impl Serialize for Transform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        self.serialize_options(&mut map)?;
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
        let step = Transform::deserialize_options(name, &mut map)?;
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
            Transform::RandomAffine(RandomAffine::default()),
            Transform::HorizontalFlip(HorizontalFlip::default()),
            Transform::VerticalFlip(VerticalFlip::default()),
            Transform::ColorJitter(ColorJitter::default()),
            Transform::HsvJitter(HsvJitter::default()),
            Transform::GaussianBlur(GaussianBlur::default()),
            Transform::GaussianNoise(GaussianNoise::default()),
            Transform::JpegArtifacts(JpegArtifacts::default()),
            Transform::RandomErasing(RandomErasing::default()),
            Transform::Mosaic(Mosaic::default()),
            Transform::Mixup(Mixup::default()),
            Transform::CopyPaste(CopyPaste::default()),
        ];
        assert_eq!(steps.each_ref().map(Transform::name), Transform::NAMES);
        let custom = Transform::Custom {
            name: "collage".into(),
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
