//! The error for a name that stands for nothing, and the search that returns it.

use core::fmt;

/// A name that is none of the known ones.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} `{name}`, expected {}", .known.join(", "))]
#[non_exhaustive]
pub struct UnknownName {
    /// What the name should stand for, such as "box loss".
    pub kind: &'static str,
    /// The unknown name.
    pub name: String,
    /// The known names.
    pub known: Vec<String>,
}

/// The one of `choices` that is displayed as `name`.
pub(crate) fn find<T: Copy + fmt::Display>(
    kind: &'static str,
    name: &str,
    choices: &[T],
) -> Result<T, UnknownName> {
    choices
        .iter()
        .find(|choice| choice.to_string() == name)
        .copied()
        .ok_or_else(|| UnknownName {
            kind,
            name: name.to_owned(),
            known: choices.iter().map(T::to_string).collect(),
        })
}
