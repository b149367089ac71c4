//! JSON files.

use std::{fs, io, path::Path};

use encoding_rs::UTF_8;
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
    // UTF-8 unless there is a mark.
    let (text, _, is_malformed) = UTF_8.decode(&bytes);
    if is_malformed {
        let cause = "the text is neither UTF-8 nor UTF-16";
        let error = io::Error::new(io::ErrorKind::InvalidData, cause);
        return Err(Error::io(path)(error));
    }
    serde_json::from_str(&text).map_err(Error::json(path))
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
