//! Presets of training configurations.

use clap::ValueEnum;
use fcos_burn::train::RunConfig;

/// A configuration to start from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Preset {
    /// Trains on a CPU in minutes.
    Small,
    /// As small, with another rule that assigns locations to objects, for ten times as long.
    Accurate,
    /// The settings of the paper.
    Paper,
}

impl Preset {
    /// The configuration.
    pub fn config(self) -> RunConfig {
        match self {
            Self::Small => RunConfig::small(),
            Self::Accurate => RunConfig::accurate(),
            Self::Paper => RunConfig::paper(),
        }
    }
}
