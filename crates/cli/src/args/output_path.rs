//! Arguments for output files and folders.

use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Parses the path of an output. `-` is refused: other programs take it for standard output, where results of this one go
/// anyway.
pub fn output_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.as_os_str() == "-" {
        true => Err("expected a file or folder, not standard output; ./- is one of this name"),
        false => Ok(path),
    })
}
