//! Folders and text files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::DataError;

/// The longest text file in bytes. Others are refused: a file of any size may come from anywhere.
const MAX_TEXT: u64 = 256 << 20;

/// Opens a regular file. Opening a pipe would block until somebody writes to it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// The content of a text file in UTF-8, or in UTF-16 with a byte-order mark, without the mark.
pub(crate) fn read_text(path: &Path) -> Result<String, DataError> {
    let mut bytes = Vec::new();
    let read = open(path).and_then(|file| file.take(MAX_TEXT + 1).read_to_end(&mut bytes));
    let malformed = |cause: String| DataError::Annotations {
        path: path.to_path_buf(),
        cause,
    };
    if read.map_err(DataError::io(path))? as u64 > MAX_TEXT {
        let limit = MAX_TEXT >> 20;
        return Err(malformed(format!("the file is larger than {limit} MiB")));
    }
    text(bytes).ok_or_else(|| malformed("the file is not text in UTF-8".into()))
}

fn text(mut bytes: Vec<u8>) -> Option<String> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..]
            .chunks_exact(2)
            .map(|pair| unit([pair[0], pair[1]]));
        String::from_utf16(&units.collect::<Vec<_>>()).ok()
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, ..] => String::from_utf8(bytes.split_off(3)).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// The start of a text file, enough to recognize its format; empty if it cannot be read.
pub(crate) fn start_of(path: &Path) -> String {
    let mut bytes = Vec::new();
    match open(path).and_then(|file| file.take(16 << 10).read_to_end(&mut bytes)) {
        // The end may be inside a character.
        Ok(_) if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) => {
            text(bytes).unwrap_or_default()
        }
        Ok(_) => String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes))
            .into_owned(),
        Err(_) => String::new(),
    }
}

/// The lines of a text that are not blank, trimmed, with their numbers from 1.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty())
}

/// The entries of `folder` sorted by name; none if there is no such folder.
pub(crate) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let read = || -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect()
    };
    let mut paths = read().map_err(DataError::io(folder))?;
    paths.sort();
    Ok(paths)
}

/// The last part of a path.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The last part of a path, without its extension.
pub(crate) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// Whether a file has that extension, whatever its case.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    let found = path.extension();
    found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// Whether a file could not be found.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}
