//! Class names in JSON.

use serde::Deserialize;

/// The name of a class, trimmed. Some tools write a name that looks like a number as a number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(from = "Scalar")]
pub(super) struct ClassName(pub String);

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Text(String),
    Number(serde_json::Number),
}

impl From<Scalar> for ClassName {
    fn from(scalar: Scalar) -> Self {
        Self(match scalar {
            Scalar::Text(name) => name.trim().to_string(),
            Scalar::Number(number) => number.to_string(),
        })
    }
}
