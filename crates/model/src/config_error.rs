//! The error of invalid configurations.

use std::borrow::Cow;

/// A configuration value that a detector cannot be built with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but must be {requirement}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Path of the field in the configuration.
    pub field: Cow<'static, str>,
    /// The rejected value.
    pub value: String,
    /// The values that are allowed.
    pub requirement: Cow<'static, str>,
}

impl ConfigError {
    /// Creates the error of a `field` whose `value` does not meet the `requirement`.
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

    /// Checks a `field`.
    ///
    /// # Errors
    ///
    /// The error of [`new`](Self::new) unless the requirement `holds`.
    pub fn ensure(
        holds: bool,
        field: impl Into<Cow<'static, str>>,
        value: impl ToString,
        requirement: impl Into<Cow<'static, str>>,
    ) -> Result<(), Self> {
        match holds {
            true => Ok(()),
            false => Err(Self::new(field, value, requirement)),
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
