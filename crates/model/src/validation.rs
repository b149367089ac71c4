//! Errors of invalid configurations.

use std::borrow::Cow;

/// A configuration value that a detector cannot be built with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but must be {requirement}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Path of the field in the configuration.
    pub field: Cow<'static, str>,
    /// The invalid value.
    pub value: String,
    /// The values that are allowed.
    pub requirement: Cow<'static, str>,
}

impl ConfigError {
    /// Creates the error of `field`, whose `value` does not meet the `requirement`.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        value: impl ToString,
        requirement: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field: field.into(),
            value: value.to_string(),
            requirement: requirement.into(),
        }
    }

    /// The same error with the field's path prefixed by that of the configuration which
    /// contains it: `width` within `backbone` is `backbone.width`.
    #[must_use]
    pub fn within(self, prefix: &str) -> Self {
        Self {
            field: format!("{prefix}.{}", self.field).into(),
            ..self
        }
    }
}

/// An error of `field` unless the requirement holds.
pub(crate) fn ensure(
    holds: bool,
    field: &'static str,
    value: impl ToString,
    requirement: &'static str,
) -> Result<(), ConfigError> {
    match holds {
        true => Ok(()),
        false => Err(ConfigError::new(field, value, requirement)),
    }
}
