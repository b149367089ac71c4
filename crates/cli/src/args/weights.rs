//! Arguments for the detector.

use std::path::PathBuf;

use clap::Args;
use fcos_burn::detect::DetectorFile;

use super::{NamedWeightsArgs, is_builtin};
use crate::Error;

/// The detector to use.
#[derive(Args, Clone, Debug)]
pub struct WeightsArgs {
    /// Load a run folder, its model.bpk, a .pth or .safetensors file of torchvision's FCOS or the
    /// original FCOS code, or pretrained weights by name: torchvision/fcos_resnet50_fpn
    #[arg(long, value_name = "RUN|FILE|NAME")]
    pub weights: PathBuf,
    #[command(flatten)]
    named: NamedWeightsArgs,
    /// Treat the weights as an improved (imprv) model of the original FCOS code, which cannot be
    /// recognized by its file
    #[arg(long)]
    pub improved_fcos: bool,
}

impl WeightsArgs {
    /// Opens the detector. Weights with a name are fetched.
    ///
    /// # Errors
    ///
    /// Fails if the weights cannot be read or fetched, or are not those of such a detector.
    pub fn open(&self) -> Result<DetectorFile, Error> {
        if is_builtin(&self.weights) {
            return Err(Error::OnlyInitial);
        }
        let file = DetectorFile::open(&self.named.detector_path(&self.weights)?)?;
        Ok(match self.improved_fcos {
            true => file.improved_fcos()?,
            false => file,
        })
    }
}
