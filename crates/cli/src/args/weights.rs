//! Arguments for the detector.

use std::path::PathBuf;

use clap::Args;
use fcos_burn::detect::{DetectorFile, Error};

/// The detector to use.
#[derive(Args, Clone, Debug)]
pub struct WeightsArgs {
    /// Load a run folder, its model.bpk, or a .pth or .safetensors file of torchvision's FCOS or
    /// the original FCOS code
    #[arg(long, value_name = "RUN|FILE")]
    pub weights: PathBuf,
    /// Treat the weights as an improved (imprv) model of the original FCOS code, which cannot be
    /// recognized by its file
    #[arg(long)]
    pub improved_fcos: bool,
}

impl WeightsArgs {
    /// Opens the detector.
    ///
    /// # Errors
    ///
    /// Fails if the weights cannot be read, or are not those of such a detector.
    pub fn open(&self) -> Result<DetectorFile, Error> {
        let file = DetectorFile::open(&self.weights)?;
        match self.improved_fcos {
            true => file.improved_fcos(),
            false => Ok(file),
        }
    }
}
