use burn::tensor::{Device, Tensor};

use crate::weights::Divisors;

/// What losses are divided by: sums over a whole batch, over all devices that share it.
///
/// [`FcosObjective::forward`](crate::FcosObjective::forward) computes it from its own rows. If a
/// batch is computed in parts, on several devices or one after another, [`join`](Self::join) the
/// normalizers of all parts and call
/// [`FcosObjective::forward_normalized`](crate::FcosObjective::forward_normalized) for each part;
/// the gradients of the parts then add up to those of the batch. If the gradients are averaged
/// rather than summed, multiply the loss of each part by the number of parts.
#[derive(Clone, Debug)]
pub struct Normalizer {
    /// `N_pos`, the number of positive locations, one element. Values below 1 count as 1.
    pub num_positives: Tensor<1>,
    /// Sum of the center-ness targets of positive locations, one element; for a detector that
    /// predicts center-ness.
    pub centerness_sum: Option<Tensor<1>>,
    /// The divisors of targets with weights, in place of `N_pos`.
    pub divisors: Option<Divisors>,
}

impl Normalizer {
    /// The normalizer of two parts of a batch together, on the device of `self`. It has a
    /// center-ness sum if both parts have one. If one part has divisors, the number of positives
    /// of the other is added to both.
    #[must_use]
    pub fn join(self, other: Self) -> Self {
        let device = self.num_positives.device();
        let other = other.to_device(&device);
        let divisors = match (&self.divisors, &other.divisors) {
            (None, None) => None,
            _ => Some(self.own_divisors().join(other.own_divisors())),
        };
        Self {
            divisors,
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
            divisors: self.divisors.map(|divisors| divisors.to_device(device)),
        }
    }

    /// The divisors; without weights, the number of positives.
    pub(crate) fn own_divisors(&self) -> Divisors {
        self.divisors.clone().unwrap_or_else(|| Divisors {
            positive: self.num_positives.clone(),
            negative: self.num_positives.clone(),
        })
    }
}
