//! Burn's records of this crate's detectors, read whatever names they were written with.

use burn::{
    store::{
        ModuleRecord, RecordError,
        burn_pack::{Reader, Writer},
    },
    tensor::Bytes,
};

use super::naming::current_path;

/// Reads a record of a detector, with its parameter ids, from the bytes of a burnpack file.
///
/// Unlike [`ModuleRecord::from_bytes`], it renames parameters that had other paths in
/// earlier versions of this crate. Use it for training checkpoints, whose optimizer state
/// refers to parameter ids; [`WeightsFile`](super::WeightsFile) is for weights alone.
///
/// # Errors
///
/// Fails if the bytes are not a burnpack file.
pub fn read_record(bytes: Bytes) -> Result<ModuleRecord, RecordError> {
    let mut tensors = Reader::from_bytes(bytes)?.into_tensors()?;
    for tensor in &mut tensors {
        if let Some(path) = current_path(&tensor.name) {
            tensor.name = path;
        }
    }
    ModuleRecord::from_bytes(Writer::new(tensors).into_bytes()?)
}
