//! Folders and text files.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::DataError;

/// The largest text file in bytes. Larger files are rejected, since files may be untrusted.
const MAX_TEXT: u64 = 256 << 20;

/// Opens a regular file. Opening a pipe would block until somebody writes to it.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::other("not a regular file")),
    }
}

/// The content of a text file without its byte-order mark. Supports UTF-8, UTF-16, and the encoding that an XML file
/// declares.
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
    let bytes = without_mark(bytes);
    String::from_utf8(bytes).or_else(|error| {
        let bytes = error.into_bytes();
        declared(&bytes).ok_or_else(|| malformed(not_utf8(&bytes)))
    })
}

/// Removes the byte-order mark and converts UTF-16 to UTF-8. Anything else is unchanged.
pub(crate) fn without_mark(mut bytes: Vec<u8>) -> Vec<u8> {
    let utf16 = match Encoding::for_bom(&bytes) {
        Some((encoding, mark)) if encoding == UTF_8 => return bytes.split_off(mark),
        Some((encoding, _)) => Some(encoding),
        // Without a mark, the first character shows it: annotations start with ASCII, and a text has no zero bytes.
        None => match *bytes {
            [1..=127, 0, ..] => Some(UTF_16LE),
            [0, 1..=127, ..] => Some(UTF_16BE),
            _ => None,
        },
    };
    match utf16 {
        Some(encoding) => encoding.decode(&bytes).0.into_owned().into_bytes(),
        None => bytes,
    }
}

/// XML decoded from the encoding that its first line declares. `None` if there is no valid declaration or decoding
/// fails.
fn declared(bytes: &[u8]) -> Option<String> {
    let declaration = bytes.strip_prefix(b"<?xml")?;
    let end = declaration.iter().position(|byte| *byte == b'>')?;
    let declaration = std::str::from_utf8(&declaration[..end]).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let label = value.split(['"', '\'']).nth(1)?;
    let (text, _, has_errors) = Encoding::for_label(label.as_bytes())?.decode(bytes);
    (!has_errors).then(|| text.into_owned())
}

/// The cause of an error for bytes that are not UTF-8, with the first offending line.
pub(crate) fn not_utf8(bytes: &[u8]) -> String {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => bytes.len(),
        Err(error) => error.valid_up_to(),
    };
    let line = 1 + bytes[..valid].iter().filter(|byte| **byte == b'\n').count();
    format!("line {line} is not valid UTF-8; save the file as UTF-8")
}

/// The start of a text file, enough to recognize its kind; empty if it cannot be read.
pub(crate) fn start_of(path: &Path) -> String {
    let mut bytes = Vec::new();
    match open(path).and_then(|file| file.take(16 << 10).read_to_end(&mut bytes)) {
        // The cut may be inside a character.
        Ok(_) => String::from_utf8_lossy(&without_mark(bytes)).into_owned(),
        Err(_) => String::new(),
    }
}

/// The lines of a text that are not blank, trimmed, with their numbers from 1.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = (1..).zip(text.lines().map(str::trim));
    lines.filter(|(_, line)| !line.is_empty())
}

/// The entries of `folder` sorted by name; empty if the folder does not exist.
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

/// The last component of a path in an annotation file, separated by slashes or backslashes.
pub(crate) fn last_part(name: &str) -> &str {
    name.rsplit(['/', '\\']).next().unwrap_or(name)
}

/// The last component of a path.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// The last component of a path, without its extension.
pub(crate) fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// A text of a file for messages: short and on one line.
pub(crate) fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let chars = text.chars().take(LONGEST);
    let mut shown: String = chars
        .map(|char| if char.is_control() { ' ' } else { char })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        shown.push('…');
    }
    shown
}

/// Whether a file has this extension, ignoring case.
pub(crate) fn has_extension(path: &Path, extension: &str) -> bool {
    let found = path.extension();
    found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
}
