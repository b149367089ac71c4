//! The detector.

use std::path::PathBuf;

use clap::Args;
use fcos_burn::detect::{DetectorFile, Error};

/// Which detector.
#[derive(Args, Clone, Debug)]
pub struct WeightsArgs {
    /// A run's folder or its model.bpk, or a file of torchvision's FCOS or the original
    /// FCOS code, .pth or .safetensors
    #[arg(long, value_name = "RUN|FILE")]
    pub weights: PathBuf,
    /// The weights are of an improved (imprv) model of the original FCOS code, whose
    /// files look like the others'
    #[arg(long)]
    pub improved_fcos: bool,
}

impl WeightsArgs {
    /// Finds out what the weights are of.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read, or are of something else than said.
    pub fn open(&self) -> Result<DetectorFile, Error> {
        let file = DetectorFile::open(&self.weights)?;
        match self.improved_fcos {
            true => file.improved_fcos(),
            false => Ok(file),
        }
    }
}
