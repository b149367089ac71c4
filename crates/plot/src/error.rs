//! Errors of charts and pictures.

use std::{io, path::PathBuf};

/// Why a chart or a picture was not saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// A chart could not be drawn, or a picture not encoded or written.
    #[error("cannot draw {}: {cause}", path.display())]
    Draw {
        /// The file to be written.
        path: PathBuf,
        /// The message of the font, of plotters or of the encoder.
        cause: String,
    },
    /// The file of a chart could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
