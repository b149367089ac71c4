use core::fmt;

/// A loss configuration that describes no loss.
#[derive(Clone, Debug, PartialEq)]
pub enum LossConfigError {
    /// A number lies outside the range in which the loss is defined.
    OutOfRange {
        /// Name of the configuration field.
        field: &'static str,
        /// The rejected value.
        value: f64,
        /// What the field accepts, as the end of "must be …".
        expected: &'static str,
    },
    /// A name stands for none of the known choices.
    UnknownName {
        /// What was to be named.
        kind: &'static str,
        /// The rejected name.
        name: String,
        /// The known names.
        known: Vec<String>,
    },
}

impl LossConfigError {
    /// The error for a `name` that is none of the `known` choices.
    pub(crate) fn unknown_name<T: fmt::Display>(
        kind: &'static str,
        name: &str,
        known: &[T],
    ) -> Self {
        Self::UnknownName {
            kind,
            name: name.to_owned(),
            known: known.iter().map(T::to_string).collect(),
        }
    }
}

impl fmt::Display for LossConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange {
                field,
                value,
                expected,
            } => write!(f, "`{field}` is {value}, but must be {expected}"),
            Self::UnknownName { kind, name, known } => {
                write!(f, "unknown {kind} `{name}`, expected {}", known.join(", "))
            }
        }
    }
}

impl core::error::Error for LossConfigError {}

/// Accepts finite numbers `≥ 0`.
pub(crate) fn non_negative(field: &'static str, value: f64) -> Result<(), LossConfigError> {
    let valid = value.is_finite() && value >= 0.0;
    in_range(valid, field, value, "finite and at least 0")
}

/// Accepts finite numbers `> 0`.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), LossConfigError> {
    let valid = value.is_finite() && value > 0.0;
    in_range(valid, field, value, "finite and greater than 0")
}

/// Accepts numbers in `[0, 1]`.
pub(crate) fn fraction(field: &'static str, value: f64) -> Result<(), LossConfigError> {
    let valid = (0.0..=1.0).contains(&value);
    in_range(valid, field, value, "between 0 and 1")
}

fn in_range(
    valid: bool,
    field: &'static str,
    value: f64,
    expected: &'static str,
) -> Result<(), LossConfigError> {
    if valid {
        Ok(())
    } else {
        Err(LossConfigError::OutOfRange {
            field,
            value,
            expected,
        })
    }
}
