//! The error for a bad value of a configuration, and the range checks that return it.

use std::borrow::Cow;

/// A value of a configuration that is not allowed.
///
/// ```
/// use fcos_burn_loss::FcosObjectiveConfig;
///
/// let error = FcosObjectiveConfig::new().with_lambda(-1.0).init().unwrap_err();
/// assert_eq!(error.field, "lambda");
/// assert_eq!(
///     error.within("objective").to_string(),
///     "objective.lambda is -1, but must be finite and at least 0"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but must be {requirement}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Path of the field in the configuration, such as `association.pse.beta`.
    pub field: Cow<'static, str>,
    /// The rejected value.
    pub value: String,
    /// What the field accepts, as the end of the sentence "must be …".
    pub requirement: Cow<'static, str>,
}

impl ConfigError {
    /// The error for a `field` whose `value` does not meet the `requirement`.
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

    /// Checks a `field`: `Ok` if the requirement `holds`.
    ///
    /// # Errors
    ///
    /// The error of [`new`](Self::new) otherwise.
    pub fn ensure(
        holds: bool,
        field: impl Into<Cow<'static, str>>,
        value: impl ToString,
        requirement: impl Into<Cow<'static, str>>,
    ) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(Self::new(field, value, requirement))
        }
    }

    /// The same error seen from the configuration that contains this one in its field `parent`:
    /// the path `lambda` becomes `parent.lambda`.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        Self {
            field: format!("{parent}.{}", self.field).into(),
            ..self
        }
    }
}

/// Requires a finite number that is at least 0.
pub(crate) fn non_negative(field: &'static str, value: f64) -> Result<(), ConfigError> {
    let holds = value.is_finite() && value >= 0.0;
    ConfigError::ensure(holds, field, value, "finite and at least 0")
}

/// Requires a finite number above 0.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), ConfigError> {
    let holds = value.is_finite() && value > 0.0;
    ConfigError::ensure(holds, field, value, "finite and greater than 0")
}

/// Requires a number in `[0, 1]`.
pub(crate) fn fraction(field: &'static str, value: f64) -> Result<(), ConfigError> {
    let holds = (0.0..=1.0).contains(&value);
    ConfigError::ensure(holds, field, value, "between 0 and 1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_include_and_exclude_their_bounds() {
        type Check = fn(&'static str, f64) -> Result<(), ConfigError>;
        let cases: [(Check, &[f64], &[f64]); 3] = [
            (non_negative, &[0.0, 1e300], &[-1e-300, f64::INFINITY]),
            (positive, &[1e-300, 2.0], &[0.0, -1.0, f64::INFINITY]),
            (fraction, &[0.0, 0.5, 1.0], &[-0.1, 1.1, f64::INFINITY]),
        ];
        for (check, allowed, rejected) in cases {
            for &value in allowed {
                assert_eq!(check("x", value), Ok(()));
            }
            for &value in rejected.iter().chain(&[f64::NAN]) {
                let error = check("x", value).map_err(|error| (error.field, error.value));
                assert_eq!(error, Err(("x".into(), value.to_string())));
            }
        }
    }

    #[test]
    fn paths_are_joined_from_the_inside_out() {
        let error = ConfigError::new("beta", -1.5, "at least 0")
            .within("pse")
            .within("association");
        assert_eq!(
            error.to_string(),
            "association.pse.beta is -1.5, but must be at least 0"
        );
    }
}
