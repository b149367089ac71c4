//! The published formulas in scalar `f64` form, which tests compare tensors with.

use core::f64::consts::PI;

pub(crate) type Box4 = [f64; 4];

fn area(b: Box4) -> f64 {
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

/// The trade-off `α` of CIoU, which its gradient treats as a constant.
pub(crate) fn ciou_weight(p: Box4, t: Box4) -> f64 {
    let v = aspect(p, t);
    v / (1.0 - iou(p, t) + v)
}

/// The box loss that is called `name`, for boxes that are not degenerate. `ciou_weight` is an
/// argument so that finite differences can hold it fixed.
pub(crate) fn box_loss(name: &str, p: Box4, t: Box4, ciou_weight: f64) -> f64 {
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
    match name {
        "iou" => -(i / u).ln(),
        "iou-plus-one" => -((i + 1.0) / (u + 1.0)).ln(),
        "linear-iou" => 1.0 - i / u,
        "giou" => 1.0 - (i / u - (area(c) - u) / area(c)),
        "diou" => 1.0 - i / u + distance,
        "ciou" => 1.0 - i / u + distance + ciou_weight * aspect(p, t),
        other => unimplemented!("{other}"),
    }
}

pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Eq. (4), written with probabilities as in the paper.
pub(crate) fn focal(logit: f64, positive: bool, alpha: f64, gamma: f64) -> f64 {
    let p = sigmoid(logit);
    if positive {
        -alpha * (1.0 - p).powf(gamma) * p.ln()
    } else {
        (alpha - 1.0) * p.powf(gamma) * (1.0 - p).ln()
    }
}
