//! Class labels as targets of every class.

use burn::tensor::{Bool, Int, Shape, Tensor};

/// Whether each element is a positive location's own class; `shape` is
/// `[num_locations, num_classes]`.
///
/// `Tensor::one_hot` reads the labels back to the host and rejects negative ones.
pub(crate) fn own_class(labels: Tensor<1, Int>, shape: Shape) -> Tensor<2, Bool> {
    let classes = Tensor::<1, Int>::arange(0..shape[1] as i64, &labels.device());
    labels
        .unsqueeze_dim::<2>(1)
        .expand::<2, _>(shape.clone())
        .equal(classes.expand::<2, _>(shape))
}

/// The IoU of each positive location at its own class, as a constant; 0 elsewhere, whatever the
/// IoU of background is.
pub(crate) fn soft_labels(labels: Tensor<1, Int>, ious: Tensor<1>, shape: Shape) -> Tensor<2> {
    let others = own_class(labels, shape.clone()).bool_not();
    let ious = ious.detach().unsqueeze_dim::<2>(1).expand::<2, _>(shape);
    ious.mask_fill(others, 0.0)
}
