//! The choice of vector instructions.

use std::{error::Error, fmt};

use crate::simd::{SUPPORTED, choose, current};

/// The vector instructions that the kernels of this crate use: `avx512`, `avx2`, `sse4.2` or `scalar` on
/// x86-64, and `native` or `scalar` on other processors.
///
/// They are those of [`set_instructions`], or else the best that the processor has, and stay the same from
/// this call, or from the first operation, to the end of the process.
pub fn instructions() -> &'static str {
    current().name()
}

/// Chooses the vector instructions of this crate's kernels for the whole process, by one of the names that
/// [`instructions`] returns. With those of an older processor, they compute what they would compute there,
/// which differs in rounding without AVX2. Operations of Burn are not affected.
///
/// # Errors
///
/// Fails if this processor does not support these instructions or if others are already in use: call it
/// before the first operation.
///
/// ```
/// fcos_burn_cpu::set_instructions("scalar")?;
/// assert_eq!(fcos_burn_cpu::instructions(), "scalar");
/// # Ok::<(), fcos_burn_cpu::InstructionsError>(())
/// ```
pub fn set_instructions(name: &str) -> Result<(), InstructionsError> {
    let Some(level) = SUPPORTED.iter().find(|level| level.name() == name) else {
        return Err(InstructionsError::Unsupported {
            name: name.to_owned(),
            supported: SUPPORTED.iter().map(|level| level.name()).collect(),
        });
    };
    let in_use = choose(*level).name();
    match in_use == name {
        true => Ok(()),
        false => Err(InstructionsError::InUse(in_use)),
    }
}

/// Why [`set_instructions`] failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InstructionsError {
    /// This processor does not support the instructions.
    Unsupported {
        /// The name that was given.
        name: String,
        /// The names of those that it supports.
        supported: Vec<&'static str>,
    },
    /// Kernels already use others.
    InUse(&'static str),
}

impl fmt::Display for InstructionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { name, supported } => {
                let supported = supported.join(", ");
                write!(
                    f,
                    "this processor does not support {name:?}, only {supported}"
                )
            }
            Self::InUse(name) => write!(f, "the kernels already use {name}"),
        }
    }
}

impl Error for InstructionsError {}
