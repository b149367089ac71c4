//! Writing weights, for this crate and for other programs.

use std::{collections::HashMap, path::Path};

use burn::{
    module::Module,
    store::{ModuleSnapshot, bridge},
    tensor::{DType, TensorData},
};
use safetensors::{Dtype, tensor::TensorView};

use super::{error::WeightsError, naming::TensorNaming};
use crate::{backbone::Backbone, fcos::Fcos, file::write_whole};

impl<B: Backbone> Fcos<B> {
    /// Saves all weights and running statistics to a burnpack file.
    ///
    /// The file is written atomically (see [`write_whole`]).
    ///
    /// # Errors
    ///
    /// [`WeightsError::Write`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), WeightsError> {
        let path = path.as_ref();
        // `valid` applies the pending updates of the running statistics.
        let bytes = self.valid().into_record().into_bytes();
        let bytes = bytes.map_err(|error| error.to_string());
        bytes
            .and_then(|bytes| write_whole(path, &bytes).map_err(|error| error.to_string()))
            .map_err(write_error(path))
    }

    /// Writes all weights and running statistics to a safetensors file, under this crate's
    /// names: the paths of the modules. [`WeightsFile`](super::WeightsFile) reads it.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Write`] if the file cannot be written.
    pub fn export_safetensors(&self, path: impl AsRef<Path>) -> Result<(), WeightsError> {
        let path = path.as_ref();
        self.write_own_names(path, |_| DType::F32)
    }

    /// Like [`export_safetensors`](Self::export_safetensors), with the weights of convolutions
    /// rounded to 16 bits, for a file of half the size. Vectors, such as running statistics, keep
    /// 32 bits.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Write`] if a weight is too large for 16 bits, or the file cannot be written.
    pub fn export_half_safetensors(&self, path: impl AsRef<Path>) -> Result<(), WeightsError> {
        let path = path.as_ref();
        self.write_own_names(path, |shape| match shape.len() {
            0 | 1 => DType::F32,
            _ => DType::F16,
        })
    }

    fn write_own_names(
        &self,
        path: &Path,
        dtype: impl Fn(&[usize]) -> DType,
    ) -> Result<(), WeightsError> {
        let naming = TensorNaming::FcosBurn;
        let entries = self.entries(|path| Some(naming.current_name(path)), dtype);
        entries
            .and_then(|entries| write_safetensors(path, &entries))
            .map_err(write_error(path))
    }

    /// Writes all weights and running statistics to a safetensors file, under the names of
    /// torchvision's `FCOS` with the same ResNet: its `load_state_dict` accepts them, and
    /// it then computes what this detector computes. It must have as many channels in its pyramid
    /// and layers in its towers (`out_channels`, 256 by default, and `num_convs`, 4).
    ///
    /// # Errors
    ///
    /// [`WeightsError::NotTorchvision`] if torchvision's FCOS cannot compute what this
    /// detector computes, which is never the case for one built from
    /// [`FcosConfig::torchvision`](crate::FcosConfig::torchvision);
    /// [`WeightsError::Write`] if the file cannot be written.
    pub fn export_torchvision(&self, path: impl AsRef<Path>) -> Result<(), WeightsError> {
        let path = path.as_ref();
        let differences = self.differences_from_torchvision();
        if !differences.is_empty() {
            return Err(WeightsError::NotTorchvision {
                differences: differences.join(", "),
            });
        }
        let name = |path: &str| TensorNaming::Torchvision.name(path);
        let entries = self.entries(name, |_| DType::F32);
        entries
            .and_then(|mut entries| {
                entries.extend(batch_counters(&entries));
                write_safetensors(path, &entries)
            })
            .map_err(write_error(path))
    }

    /// All weights and running statistics, by the name that each path has, in the number format
    /// that each shape has.
    fn entries(
        &self,
        name: impl Fn(&str) -> Option<String>,
        dtype: impl Fn(&[usize]) -> DType,
    ) -> Result<Vec<Entry>, String> {
        let mut entries = Vec::new();
        // `valid` applies the pending updates of the running statistics.
        for tensor in self.valid().collect(None, None, true) {
            let Some(name) = name(&tensor.name) else {
                continue;
            };
            let data = bridge::into_data(tensor).map_err(|error| error.to_string())?;
            let shape = data.shape().as_slice().to_vec();
            let is_finite = |data: &TensorData| data.iter::<f32>().all(f32::is_finite);
            let was_finite = is_finite(&data);
            let (data, dtype) = match dtype(&shape) {
                DType::F16 => (data.convert_dtype(DType::F16), Dtype::F16),
                _ => (data.convert_dtype(DType::F32), Dtype::F32),
            };
            if was_finite && !is_finite(&data) {
                return Err(format!("{name} has weights that are too large for 16 bits"));
            }
            entries.push(Entry {
                name,
                dtype,
                shape,
                bytes: data.as_bytes().to_vec(),
            });
        }
        Ok(entries)
    }
}

/// A tensor as bytes.
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// PyTorch's counters of the batches that each batch norm has seen, which are not used.
fn batch_counters(entries: &[Entry]) -> Vec<Entry> {
    let norms = entries
        .iter()
        .filter_map(|entry| entry.name.strip_suffix("running_var"));
    norms
        .map(|norm| Entry {
            name: format!("{norm}num_batches_tracked"),
            dtype: Dtype::I64,
            shape: Vec::new(),
            bytes: vec![0; 8],
        })
        .collect()
}

fn write_safetensors(path: &Path, entries: &[Entry]) -> Result<(), String> {
    let views = entries
        .iter()
        .map(|entry| {
            let view = TensorView::new(entry.dtype, entry.shape.clone(), &entry.bytes)?;
            Ok((&entry.name, view))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| error.to_string())?;
    // Hugging Face's libraries expect it.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())?;
    write_whole(path, &bytes).map_err(|error| error.to_string())
}

fn write_error(path: &Path) -> impl FnOnce(String) -> WeightsError + use<'_> {
    |cause| WeightsError::Write {
        path: path.to_owned(),
        cause,
    }
}
