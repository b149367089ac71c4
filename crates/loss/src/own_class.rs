//! The labeled class of each location: its element among all classes, its logit, its soft label.

use burn::tensor::{Bool, Int, Shape, Tensor};

/// Whether each element is the labeled class of its location; `shape` is
/// `[num_locations, num_classes]`. All false for background.
///
/// `Tensor::one_hot` reads the labels back to the host and rejects negative ones.
pub(crate) fn own_class(labels: Tensor<1, Int>, shape: Shape) -> Tensor<2, Bool> {
    let classes = Tensor::<1, Int>::arange(0..shape[1] as i64, &labels.device());
    labels
        .unsqueeze_dim::<2>(1)
        .expand::<2, _>(shape.clone())
        .equal(classes.expand::<2, _>(shape))
}

/// The IoU of each positive location at its labeled class, detached; 0 elsewhere, even where the
/// IoU of a background location is NaN.
pub(crate) fn soft_labels(labels: Tensor<1, Int>, ious: Tensor<1>, shape: Shape) -> Tensor<2> {
    let others = own_class(labels, shape.clone()).bool_not();
    let ious = ious.detach().unsqueeze_dim::<2>(1).expand::<2, _>(shape);
    ious.mask_fill(others, 0.0)
}

/// The logit of each location's labeled class, `[num_locations, 1]`; that of class 0 for
/// background.
pub(crate) fn own_logits(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<2> {
    logits.gather(1, labels.clamp_min(0).unsqueeze_dim(1))
}

/// Whether no class of a location has a higher logit than its labeled one, `[num_locations]`;
/// meaningless for background.
pub(crate) fn class_is_correct(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1, Bool> {
    let highest = logits.clone().max_dim(1);
    own_logits(logits, labels)
        .greater_equal(highest)
        .squeeze_dim(1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::test_tensors::tensor2;

    #[test]
    fn a_class_is_correct_if_no_logit_is_higher() {
        let device = Device::flex();
        let logits = tensor2(
            &[[1.0, 3.0, -2.0], [0.5, -1.0, 0.0], [2.0, 2.0, 0.0]],
            &device,
        );
        let correct = |labels: [i64; 3]| {
            let labels = Tensor::from_ints(labels, &device);
            let correct = class_is_correct(logits.clone(), labels).into_data();
            correct.iter::<bool>().collect::<Vec<_>>()
        };
        assert_eq!(correct([1, 0, 1]), [true, true, true]);
        assert_eq!(correct([2, 1, 2]), [false, false, false]);
    }
}
