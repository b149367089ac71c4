//! Weights for others.

use std::{collections::HashMap, path::Path};

use burn::{
    module::Module,
    store::{ModuleSnapshot, bridge},
    tensor::DType,
};
use safetensors::{Dtype, tensor::TensorView};

use super::{WeightsError, layout::Layout};
use crate::{Fcos, file::write_whole};

/// A tensor as bytes.
struct Entry {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Fcos {
    /// Writes all weights and running statistics to a safetensors file, under the names
    /// of torchvision's `FCOS` with the same ResNet: its `load_state_dict` takes them,
    /// and it then computes what this detector does.
    ///
    /// # Errors
    ///
    /// [`WeightsError::NotTorchvision`] if torchvision's detector cannot compute what
    /// this one does, which one built from
    /// [`FcosConfig::torchvision`](crate::FcosConfig::torchvision) never causes;
    /// [`WeightsError::Write`] if the file cannot be written.
    pub fn export_torchvision(&self, path: &Path) -> Result<(), WeightsError> {
        let differences = self.unlike_torchvision();
        if !differences.is_empty() {
            return Err(WeightsError::NotTorchvision {
                differences: differences.join(", "),
            });
        }
        let failed = |cause: String| WeightsError::Write {
            path: path.to_owned(),
            cause,
        };
        let mut entries = Vec::new();
        // The last training step's running statistics are pending until then.
        for tensor in self.valid().collect(None, None, true) {
            let Some(name) = Layout::Torchvision.name(&tensor.name) else {
                continue;
            };
            let data = bridge::into_data(tensor).map_err(|error| failed(error.to_string()))?;
            if let Some(norm) = name.strip_suffix("running_var") {
                entries.push(Entry {
                    name: format!("{norm}num_batches_tracked"),
                    dtype: Dtype::I64,
                    shape: Vec::new(),
                    bytes: vec![0; 8],
                });
            }
            let shape = data.shape().as_slice().to_vec();
            let data = data.convert_dtype(DType::F32);
            entries.push(Entry {
                name,
                dtype: Dtype::F32,
                shape,
                bytes: data.as_bytes().to_vec(),
            });
        }
        let views = entries
            .iter()
            .map(|entry| {
                let view = TensorView::new(entry.dtype, entry.shape.clone(), &entry.bytes)?;
                Ok((&entry.name, view))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| failed(error.to_string()))?;
        // The reader of Hugging Face's libraries asks for it.
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        let bytes = safetensors::serialize(views, Some(metadata))
            .map_err(|error| failed(error.to_string()))?;
        write_whole(path, &bytes).map_err(|error| failed(error.to_string()))
    }
}
