//! Presets of a training's configuration.

use clap::ValueEnum;
use fcos_burn::train::RunConfig;

/// A configuration to start from.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Preset {
    /// Trains from scratch on a CPU in minutes.
    Small,
    /// Detects more accurately than small after the same time, and by default trains ten times as long.
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
