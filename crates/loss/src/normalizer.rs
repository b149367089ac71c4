use burn::tensor::{Device, Tensor};

/// What losses are divided by: sums over a whole batch, over all devices that share it.
///
/// [`FcosObjective::forward`](crate::FcosObjective::forward) computes it from its own rows. If a
/// batch is computed in parts, on several devices or one after another, [`join`](Self::join) the
/// normalizers of all parts and call
/// [`FcosObjective::forward_normalized`](crate::FcosObjective::forward_normalized) for each part;
/// the gradients of the parts then add up to those of the batch. If the gradients are averaged
/// rather than summed, divide both numbers by the number of parts first.
#[derive(Clone, Debug)]
pub struct Normalizer {
    /// `N_pos`, the number of positive locations, one element. Values below 1 count as 1.
    pub num_positives: Tensor<1>,
    /// Sum of the center-ness targets of positive locations, one element; for a detector that
    /// predicts center-ness.
    pub centerness_sum: Option<Tensor<1>>,
}

impl Normalizer {
    /// The normalizer of two parts of a batch together, on the device of `self`. It has a
    /// center-ness sum if both parts have one.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let device = self.num_positives.device();
        let other = other.to_device(&device);
        Self {
            num_positives: self.num_positives + other.num_positives,
            centerness_sum: match (self.centerness_sum, other.centerness_sum) {
                (Some(sum), Some(other)) => Some(sum + other),
                _ => None,
            },
        }
    }

    /// Moves it to another device.
    #[must_use]
    pub fn to_device(self, device: &Device) -> Self {
        Self {
            num_positives: self.num_positives.to_device(device),
            centerness_sum: self.centerness_sum.map(|sum| sum.to_device(device)),
        }
    }
}
