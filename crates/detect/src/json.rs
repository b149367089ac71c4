//! JSON files.

use std::{fs, io, path::Path};

use fcos_burn_model::file::write_whole;
use serde::{Serialize, de::DeserializeOwned};

use crate::Error;

/// Reads a JSON file in UTF-8 or, if it begins with a byte-order mark, UTF-16, as shells and editors of Windows write
/// it.
///
/// # Errors
///
/// Names the file, and the line that is malformed.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let text = decoded(&bytes).map_err(|cause| Error::io(path)(cause))?;
    serde_json::from_str(&text).map_err(Error::json(path))
}

/// Text without its byte-order mark.
fn decoded(bytes: &[u8]) -> io::Result<String> {
    let utf_16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().copied().map(unit).collect();
        (rest.is_empty()).then(|| String::from_utf16(&units).ok())?
    };
    let text = match bytes {
        [0xFF, 0xFE, text @ ..] => utf_16(text, u16::from_le_bytes),
        [0xFE, 0xFF, text @ ..] => utf_16(text, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, text @ ..] | text => String::from_utf8(text.to_vec()).ok(),
    };
    text.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            "the text is neither UTF-8 nor UTF-16",
        )
    })
}

/// Writes a JSON file atomically: a reader sees the old file or the new one, never a partial one.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write_json<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).map_err(Error::json(path))?;
    text.push(b'\n');
    write_whole(path, &text).map_err(Error::io(path))
}

/// A line of a [JSON Lines](https://jsonlines.org) file, with its line break. `path` names the file in errors.
///
/// # Errors
///
/// Fails if the value cannot be written as JSON.
pub fn json_line<T: Serialize + ?Sized>(path: &Path, value: &T) -> Result<String, Error> {
    let line = serde_json::to_string(value).map_err(Error::json(path))?;
    Ok(line + "\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn byte_order_marks_are_no_part_of_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = r#"["ä"]"#;
        let units = || "\u{feff}".encode_utf16().chain(text.encode_utf16());
        let forms = [
            text.as_bytes().to_vec(),
            format!("\u{feff}{text}").into_bytes(),
            units().flat_map(u16::to_le_bytes).collect(),
            units().flat_map(u16::to_be_bytes).collect(),
        ];
        for form in forms {
            fs::write(&path, form).unwrap();
            assert_eq!(read_json::<[String; 1]>(&path).unwrap(), ["ä"]);
        }
        for broken in [b"\xff\xfe[".as_slice(), b"\xff\xfe\x00\xd8", b"\x80"] {
            fs::write(&path, broken).unwrap();
            let error = read_json::<Vec<u8>>(&path).unwrap_err().to_string();
            assert!(
                error.ends_with("config.json: the text is neither UTF-8 nor UTF-16"),
                "{error}"
            );
        }
    }
}
