//! What can go wrong with a chart or a picture.

use std::{io, path::PathBuf};

/// Why a chart or a picture was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The chart could not be drawn, or the picture not encoded.
    #[error("cannot draw {}: {cause}", path.display())]
    Draw {
        /// The file that was to be written.
        path: PathBuf,
        /// The message of the font, of plotters or of the encoder.
        cause: String,
    },
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
