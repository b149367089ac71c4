//! Fixtures written by `tests/reference/generate.py`.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// The folder of the fixtures.
pub fn folder() -> PathBuf {
    // Cargo runs tests in the root folder of their package.
    Path::new("fixtures").to_owned()
}

/// A file of named arrays.
pub struct Fixture {
    file: &'static str,
    arrays: HashMap<String, Array>,
    /// JSON strings by name.
    pub metadata: HashMap<String, String>,
}

/// A row-major array of any number type.
#[derive(Clone)]
pub struct Array {
    pub shape: Vec<usize>,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Fixture {
    pub fn open(file: &'static str) -> Self {
        let bytes = fs::read(folder().join(file).with_extension("safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let arrays = SafeTensors::deserialize(&bytes)
            .unwrap()
            .iter()
            .map(|(name, view)| {
                let array = Array {
                    shape: view.shape().to_vec(),
                    dtype: view.dtype(),
                    bytes: view.data().to_vec(),
                };
                (name.to_owned(), array)
            })
            .collect();
        Self {
            file,
            arrays,
            metadata: header.metadata().clone().unwrap_or_default(),
        }
    }

    pub fn array(&self, name: &str) -> &Array {
        self.arrays
            .get(name)
            .unwrap_or_else(|| panic!("{} has no {name}", self.file))
    }

    /// Writes the arrays whose names begin with `prefix` to a file, with the prefix removed.
    pub fn write(&self, prefix: &str, path: &Path) {
        let views: HashMap<&str, TensorView<'_>> = self
            .arrays
            .iter()
            .filter_map(|(name, array)| {
                let view = TensorView::new(array.dtype, array.shape.clone(), &array.bytes);
                Some((name.strip_prefix(prefix)?, view.unwrap()))
            })
            .collect();
        safetensors::serialize_to_file(views, None, path).unwrap();
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        let array = self.array(name);
        assert_eq!(array.dtype, Dtype::F32, "{name}");
        let (numbers, _) = array.bytes.as_chunks();
        numbers.iter().map(|n| f32::from_le_bytes(*n)).collect()
    }

    pub fn integers(&self, name: &str) -> Vec<i32> {
        let array = self.array(name);
        match array.dtype {
            Dtype::I8 => array.bytes.iter().map(|b| i32::from(*b as i8)).collect(),
            Dtype::I32 => {
                let (numbers, _) = array.bytes.as_chunks();
                numbers.iter().map(|n| i32::from_le_bytes(*n)).collect()
            }
            other => panic!("{name} holds {other:?}"),
        }
    }

    /// Rows of four numbers.
    pub fn boxes(&self, name: &str) -> Vec<[f32; 4]> {
        let numbers = self.floats(name);
        let (boxes, rest) = numbers.as_chunks();
        assert!(rest.is_empty(), "{name}");
        boxes.to_vec()
    }
}

/// Splits rows into groups of the given sizes.
pub fn groups<'a, T>(rows: &'a [T], counts: &[i32]) -> Vec<&'a [T]> {
    let mut rest = rows;
    let groups = counts
        .iter()
        .map(|count| {
            let (group, after) = rest.split_at(*count as usize);
            rest = after;
            group
        })
        .collect();
    assert!(rest.is_empty());
    groups
}
