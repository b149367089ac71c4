//! Reading the tensors of a file in any supported format.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use burn::{
    store::{
        BurnpackStore, ModuleStore, PytorchStore, SafetensorsStore,
        burn_pack::{MAGIC_NUMBER, Tensor},
    },
    tensor::Bytes,
};

use super::{error::WeightsError, pickle};

/// Tensors by name. Their data is that of the file when it was opened, even if the file is
/// replaced afterwards.
pub(super) type Tensors = BTreeMap<String, Tensor>;

/// The largest ratio of the bytes of a file's tensors to those of the file.
const MAX_SHARING: u64 = 16;

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Burnpack,
    Safetensors,
    Pytorch,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Burnpack => "burnpack",
            Self::Safetensors => "safetensors",
            Self::Pytorch => "PyTorch",
        })
    }
}

impl Format {
    /// Recognizes a format by the first bytes of a file.
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
        // The length of a JSON object, and its first byte. Before pickles, since a length may begin like one. In these
        // bytes, no pickle has a number that is less than the length of its file.
        if let [length @ .., b'{'] = head.get(..9).unwrap_or_default()
            && number(length) <= file_len.saturating_sub(8)
        {
            return Some(Self::Safetensors);
        }
        // A ZIP archive, or a pickle of protocol 2 to 5.
        let is_pytorch = head.starts_with(b"PK\x03\x04") || matches!(head, [0x80, 2..=5, ..]);
        is_pytorch.then_some(Self::Pytorch)
    }
}

/// Reads the tensors in the file at `path`.
pub(super) fn read(path: &Path) -> Result<Tensors, WeightsError> {
    let unreadable = unreadable(path);
    let (format, file) = open(path).map_err(|error| unreadable(error.to_string()))?;
    let format = format.ok_or_else(|| {
        unreadable("it is not a burnpack, safetensors or PyTorch file".to_owned())
    })?;
    let file_len = file.metadata().map_or(0, |metadata| metadata.len());
    let tensors = match format {
        Format::Burnpack | Format::Safetensors => {
            read_all(file).and_then(|bytes| decode(format, bytes))
        }
        // Burn's reader opens the file itself.
        Format::Pytorch => {
            pickle::check(file).map_err(|error| unreadable(error.to_string()))?;
            all_tensors(PytorchStore::from_file(path).map_indices_contiguous(false))
        }
    };
    checked(tensors, format, file_len).map_err(unreadable)
}

/// Reads the tensors in the bytes of a burnpack or safetensors file. Errors name `path`.
pub(super) fn read_bytes(bytes: Vec<u8>, path: &Path) -> Result<Tensors, WeightsError> {
    let unreadable = unreadable(path);
    let len = bytes.len() as u64;
    let format = Format::of(&bytes, len)
        .ok_or_else(|| unreadable("it is not a burnpack or safetensors file".to_owned()))?;
    checked(decode(format, bytes), format, len).map_err(unreadable)
}

fn unreadable(path: &Path) -> impl Fn(String) -> WeightsError + Copy + use<'_> {
    |cause| WeightsError::Read {
        path: path.to_owned(),
        cause,
    }
}

/// The tensors in the bytes of a file. The error is the cause.
fn decode(format: Format, bytes: Vec<u8>) -> Result<Tensors, String> {
    match format {
        Format::Burnpack => {
            let bytes = Bytes::from_bytes_vec(bytes);
            all_tensors(BurnpackStore::from_bytes(Some(bytes)))
        }
        Format::Safetensors => {
            all_tensors(SafetensorsStore::from_bytes(Some(bytes)).map_indices_contiguous(false))
        }
        Format::Pytorch => Err("it can only be read from a file".to_owned()),
    }
}

/// The tensors of a file of this length, if it can have them. The error is the cause.
fn checked(
    tensors: Result<Tensors, String>,
    format: Format,
    file_len: u64,
) -> Result<Tensors, String> {
    let tensors = tensors.map_err(|cause| format!("malformed {format} file: {}", short(&cause)))?;
    // The claimed size is allocated when a tensor is read.
    if let Some(tensor) = tensors
        .values()
        .find(|tensor| tensor.byte_len() as u64 > file_len)
    {
        return Err(format!(
            "the tensor {} claims {} bytes, more than the file has",
            short(&tensor.name),
            tensor.byte_len()
        ));
    }
    // Tensors may share storage, as averaged weights do with the weights that they start as.
    let claimed = tensors.values().map(|tensor| tensor.byte_len() as u64);
    let claimed = claimed.fold(0, u64::saturating_add);
    if claimed > file_len.saturating_mul(MAX_SHARING) {
        return Err(format!(
            "the tensors claim {claimed} bytes, more than {MAX_SHARING} times those of the file"
        ));
    }
    Ok(tensors)
}

/// The start of a text from a file, for an error message.
pub(super) fn short(text: &str) -> String {
    const SHOWN: usize = 200;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Opens a file and recognizes its format.
fn open(path: &Path) -> io::Result<(Option<Format>, File)> {
    // Opening a pipe would block until somebody writes to it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut file = File::open(path)?;
    let mut head = Vec::new();
    (&mut file).take(16).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok((Format::of(&head, file.metadata()?.len()), file))
}

fn read_all(mut file: File) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = file.read_to_end(&mut bytes);
    read.map(|_| bytes).map_err(|error| error.to_string())
}

fn all_tensors<S: ModuleStore>(mut store: S) -> Result<Tensors, String> {
    store
        .get_all_tensors()
        .cloned()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// `torch.save` of a hundred tensors `torch.zeros(1).expand(5000)`.
    const EXPANDED: &[u8] = include_bytes!("fixtures/expanded.pth");

    #[test]
    fn tensors_that_claim_many_times_the_file_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("expanded.pth");
        fs::write(&path, EXPANDED).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(
            error.contains("the tensors claim 2000000 bytes, more than 16 times"),
            "{error}"
        );
    }

    #[test]
    fn formats_are_recognized_by_the_first_bytes() {
        let safetensors = [40, 0, 0, 0, 0, 0, 0, 0, b'{'];
        assert_eq!(Format::of(&safetensors, 100), Some(Format::Safetensors));
        // A length that begins like a pickle.
        let like_a_pickle = [0x80, 2, 0, 0, 0, 0, 0, 0, b'{'];
        assert_eq!(Format::of(&like_a_pickle, 999), Some(Format::Safetensors));
        // A header longer than the file.
        assert_eq!(Format::of(&safetensors, 47), None);
        assert_eq!(Format::of(b"PK\x03\x04....", 100), Some(Format::Pytorch));
        assert_eq!(Format::of(&[0x80, 2, 0, 0], 100), Some(Format::Pytorch));
        assert_eq!(Format::of(b"NRUB\x01\0\0\0", 100), Some(Format::Burnpack));
        assert_eq!(Format::of(b"", 0), None);
        assert_eq!(Format::of(b"a photograph", 12), None);
    }
}
