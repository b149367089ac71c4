#![doc = include_str!("../README.md")]

/// The weights as a safetensors file: those of convolutions in 16 bits, vectors in 32.
pub const WEIGHTS: &[u8] = include_bytes!("../assets/model.safetensors");

/// The configuration of the run that trained them, as JSON.
pub const CONFIG: &str = include_str!("../assets/config.json");
