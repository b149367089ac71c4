//! Scalar `f64` forms of the published formulas, and what tests need to compare tensors with them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use core::f64::consts::PI;

use burn::tensor::{Device, Tensor};

use crate::BoxLoss;

pub(crate) type Box4 = [f64; 4];

pub(crate) fn area(b: Box4) -> f64 {
    (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0)
}

fn intersection(a: Box4, b: Box4) -> f64 {
    area([
        a[0].max(b[0]),
        a[1].max(b[1]),
        a[2].min(b[2]),
        a[3].min(b[3]),
    ])
}

pub(crate) fn iou(a: Box4, b: Box4) -> f64 {
    let i = intersection(a, b);
    i / (area(a) + area(b) - i)
}

fn aspect(p: Box4, t: Box4) -> f64 {
    let angle = |b: Box4| ((b[2] - b[0]) / (b[3] - b[1])).atan();
    4.0 / (PI * PI) * (angle(t) - angle(p)).powi(2)
}

/// CIoU's trade-off, a constant for its gradient.
pub(crate) fn ciou_weight(p: Box4, t: Box4) -> f64 {
    let v = aspect(p, t);
    v / (1.0 - iou(p, t) + v)
}

/// The loss of a pair of boxes with area, `ciou_weight` given so that it can be held fixed.
pub(crate) fn box_loss(loss: BoxLoss, p: Box4, t: Box4, ciou_weight: f64) -> f64 {
    let i = intersection(p, t);
    let u = area(p) + area(t) - i;
    let c = [
        p[0].min(t[0]),
        p[1].min(t[1]),
        p[2].max(t[2]),
        p[3].max(t[3]),
    ];
    let distance = {
        let center = |b: Box4| ((b[0] + b[2]) / 2.0, (b[1] + b[3]) / 2.0);
        let ((px, py), (tx, ty)) = (center(p), center(t));
        ((px - tx).powi(2) + (py - ty).powi(2)) / ((c[2] - c[0]).powi(2) + (c[3] - c[1]).powi(2))
    };
    match loss {
        BoxLoss::Iou => -(i / u).ln(),
        BoxLoss::IouPlusOne => -((i + 1.0) / (u + 1.0)).ln(),
        BoxLoss::LinearIou => 1.0 - i / u,
        BoxLoss::Giou => 1.0 - (i / u - (area(c) - u) / area(c)),
        BoxLoss::Diou => 1.0 - i / u + distance,
        BoxLoss::Ciou => 1.0 - i / u + distance + ciou_weight * aspect(p, t),
    }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Eq. (4), in probabilities as it is printed.
pub(crate) fn focal(logit: f64, positive: bool, alpha: f64, gamma: f64) -> f64 {
    let p = sigmoid(logit);
    if positive {
        -alpha * (1.0 - p).powf(gamma) * p.ln()
    } else {
        (alpha - 1.0) * p.powf(gamma) * (1.0 - p).ln()
    }
}

pub(crate) fn tensor1(values: &[f64], device: &Device) -> Tensor<1> {
    let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
    Tensor::from_floats(values.as_slice(), device)
}

pub(crate) fn tensor2<const C: usize>(rows: &[[f64; C]], device: &Device) -> Tensor<2> {
    tensor1(rows.as_flattened(), device).reshape([rows.len(), C])
}

pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values = tensor.try_into_vec_as::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// The gradient of the sum of `f(x)` with respect to `x`, row-major.
pub(crate) fn gradient<const D: usize, const E: usize>(
    x: Tensor<D>,
    f: impl FnOnce(Tensor<D>) -> Tensor<E>,
) -> Vec<f64> {
    let x = x.autodiff().require_grad();
    let gradients = f(x.clone()).sum().backward();
    values(x.grad(&gradients).unwrap())
}

#[track_caller]
pub(crate) fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        let bound = tolerance * (1.0 + e.abs());
        assert!(
            (a - e).abs() <= bound,
            "element {index}: {a} is not {e} within {bound}"
        );
    }
}

#[track_caller]
pub(crate) fn assert_finite(values: &[f64]) {
    assert!(values.iter().all(|v| v.is_finite()), "{values:?}");
}
