//! The tensors of a file in any of the formats that weights come in.

use std::{collections::BTreeMap, fs::File, io::Read, path::Path};

use burn::store::{
    BurnpackStore, ModuleStore, PytorchStore, SafetensorsStore,
    burn_pack::{MAGIC_NUMBER, Tensor},
};

use super::WeightsError;

/// Tensors by name, their data read when asked for.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Burnpack,
    Safetensors,
    Pytorch,
}

impl Format {
    fn of(head: &[u8], file_len: u64) -> Option<Self> {
        let number = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0_u64, |n, b| n << 8 | u64::from(*b))
        };
        let magic = number(head.get(..4)?);
        if magic == u64::from(MAGIC_NUMBER) {
            return Some(Self::Burnpack);
        }
        // A ZIP archive, or a pickle of protocol 2 to 5.
        if head.starts_with(b"PK\x03\x04") || matches!(head, [0x80, 2..=5, ..]) {
            return Some(Self::Pytorch);
        }
        // The length of a JSON object, and its start.
        let header = number(head.get(..8)?);
        (head.get(8) == Some(&b'{') && header <= file_len.saturating_sub(8))
            .then_some(Self::Safetensors)
    }
}

/// Reads the names, shapes and places of the tensors in the file at `path`.
pub(super) fn read(path: &Path) -> Result<Tensors, WeightsError> {
    let unreadable = |cause: String| WeightsError::Read {
        path: path.to_owned(),
        cause,
    };
    let (head, file_len) = head(path).map_err(|error| unreadable(error.to_string()))?;
    let format = Format::of(&head, file_len).ok_or_else(|| {
        unreadable("it is no weights file: neither burnpack, safetensors nor PyTorch".to_owned())
    })?;
    let tensors = match format {
        Format::Burnpack => all(BurnpackStore::from_file(path).auto_extension(false)),
        Format::Safetensors => all(SafetensorsStore::from_file(path).map_indices_contiguous(false)),
        Format::Pytorch => all(PytorchStore::from_file(path).map_indices_contiguous(false)),
    }
    .map_err(|cause| unreadable(format!("it is no whole {format:?} file: {cause}")))?;
    // What a tensor claims is allocated when it is read.
    match tensors
        .values()
        .find(|tensor| tensor.byte_len() as u64 > file_len)
    {
        Some(tensor) => Err(unreadable(format!(
            "its tensor {} claims {} bytes, more than the file has",
            tensor.name,
            tensor.byte_len()
        ))),
        None => Ok(tensors),
    }
}

fn head(path: &Path) -> std::io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut head = Vec::new();
    file.take(16).read_to_end(&mut head)?;
    Ok((head, len))
}

fn all<S: ModuleStore>(mut store: S) -> Result<Tensors, String> {
    store
        .get_all_tensors()
        .cloned()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_go_by_their_first_bytes() {
        let safetensors = [40, 0, 0, 0, 0, 0, 0, 0, b'{'];
        assert_eq!(Format::of(&safetensors, 100), Some(Format::Safetensors));
        // A header longer than the file.
        assert_eq!(Format::of(&safetensors, 47), None);
        assert_eq!(Format::of(b"PK\x03\x04....", 100), Some(Format::Pytorch));
        assert_eq!(Format::of(&[0x80, 2, 0, 0], 100), Some(Format::Pytorch));
        assert_eq!(Format::of(b"NRUB\x01\0\0\0", 100), Some(Format::Burnpack));
        assert_eq!(Format::of(b"", 0), None);
        assert_eq!(Format::of(b"a photograph", 12), None);
    }
}
