use burn::tensor::{Int, Tensor};

/// The pyramid level of each location.
#[derive(Clone, Debug)]
pub struct Levels {
    /// `[num_locations]`: the level of each location, in `0..count`.
    pub indices: Tensor<1, Int>,
    /// Number of levels.
    pub count: usize,
}
