//! JSON files of many records: one record to a line, floating-point numbers with six significant
//! digits.

use std::{
    io::{self, Write},
    path::Path,
};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

use crate::Error;
use fcos_burn::model::file::write_whole;

/// Writes `value` as JSON. Arrays and objects within more than `depth` others are written on one line.
///
/// # Errors
///
/// Names the file that cannot be written.
pub fn write_records(path: &Path, value: &impl Serialize, depth: usize) -> Result<(), Error> {
    let mut text = Vec::new();
    let formatter = Records {
        depth,
        open: 0,
        has_items: false,
    };
    value
        .serialize(&mut Serializer::with_formatter(&mut text, formatter))
        .map_err(fcos_burn::detect::Error::json(path))?;
    text.push(b'\n');
    write_whole(path, &text).map_err(Error::io(path))
}

struct Records {
    depth: usize,
    /// The number of arrays and objects around what is written next.
    open: usize,
    /// Whether something was written in the innermost of them.
    has_items: bool,
}

impl Records {
    fn begin<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.open += 1;
        self.has_items = false;
        writer.write_all(bracket)
    }

    fn begin_item<W: ?Sized + Write>(&self, writer: &mut W, first: bool) -> io::Result<()> {
        let on_one_line = self.open > self.depth;
        match (on_one_line, first) {
            (true, true) => Ok(()),
            (true, false) => writer.write_all(b", "),
            (false, true) => self.new_line(writer),
            (false, false) => {
                writer.write_all(b",")?;
                self.new_line(writer)
            }
        }
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, bracket: &[u8]) -> io::Result<()> {
        let on_one_line = self.open > self.depth;
        self.open -= 1;
        if self.has_items && !on_one_line {
            self.new_line(writer)?;
        }
        writer.write_all(bracket)
    }

    fn new_line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b"\n")?;
        (0..self.open).try_for_each(|_| writer.write_all(b"  "))
    }
}

impl Formatter for Records {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        let rounded = format!("{value:.5e}").parse().unwrap_or(value);
        CompactFormatter.write_f64(writer, rounded)
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.begin_item(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.begin(writer, b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.begin_item(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.has_items = true;
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b"}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn each_record_has_a_line_and_every_value_is_kept() {
        let value = json!({
            "title": "a",
            "none": [],
            "rows": [{"a": [1, 2.5], "b": {}}, {"a": [], "b": {"c": 0.1234567, "d": 1.0e-8}}],
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rows.json");
        write_records(&path, &value, 2).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("\n    {\"a\": [1, 2.5], \"b\": {}},\n"),
            "{text}"
        );
        let mut rounded = value;
        rounded["rows"][1]["b"]["c"] = json!(0.123457);
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), rounded);
    }
}
