use core::f64::consts::PI;
use core::fmt;
use core::str::FromStr;

use burn::serde::{Deserialize, Serialize};
use burn::tensor::Tensor;

use crate::columns::both_columns;
use crate::corners::{Corners, EPSILON, Overlap, ratio};
use crate::unknown_name::{self, UnknownName};

/// The least IoU in the logarithm of [`BoxLoss::Iou`].
const IOU_FLOOR: f64 = 1e-6;

/// A localization loss on pairs of boxes.
///
/// `I` and `U` are the areas of their intersection and union, and `C` is the area of the smallest
/// box around both.
///
/// Each loss is displayed, parsed and serialized by its name in kebab case:
///
/// ```
/// use fcos_burn_loss::BoxLoss;
///
/// assert_eq!("iou-plus-one".parse(), Ok(BoxLoss::IouPlusOne));
/// assert_eq!(BoxLoss::Giou.to_string(), "giou");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(crate = "burn::serde", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BoxLoss {
    /// `−ln(max(I / U, 10⁻⁶))`, the loss in eq. (6), from
    /// [UnitBox](https://arxiv.org/abs/1608.01471). At most 13.8, without a gradient, for boxes that
    /// do not overlap.
    Iou,
    /// `−ln((I + 1) / (U + 1))` with areas in px², as in the public code of
    /// [FCOS](https://arxiv.org/abs/1904.01355). Defined for every pair of boxes.
    #[default]
    IouPlusOne,
    /// `1 − I / U`.
    LinearIou,
    /// `1 − I / U + (C − U) / C`, from [Generalized IoU](https://arxiv.org/abs/1902.09630).
    Giou,
    /// `1 − I / U + ρ² / c²`, where `ρ` is the distance between the centers and `c` the diagonal of
    /// the smallest box around both, from [Distance-IoU](https://arxiv.org/abs/1911.08287).
    Diou,
    /// DIoU plus `α v`, where `v = 4/π² (arctan(w/h) − arctan(ŵ/ĥ))²` compares the aspect ratios
    /// and the trade-off `α = v / (1 − I/U + v)` is treated as a constant by the gradient, from
    /// [Distance-IoU](https://arxiv.org/abs/1911.08287).
    Ciou,
}

impl BoxLoss {
    /// Every box loss.
    pub const ALL: &'static [Self] = &[
        Self::Iou,
        Self::IouPlusOne,
        Self::LinearIou,
        Self::Giou,
        Self::Diou,
        Self::Ciou,
    ];

    /// The loss of each predicted box against its target, unreduced.
    ///
    /// Value and gradient are finite for degenerate boxes too. Empty and inverted boxes have no
    /// area.
    ///
    /// # Shapes
    ///
    /// - predicted, target: `[num_boxes, 4]`, `xyxy` in pixels
    /// - output: `[num_boxes]`
    pub fn forward(&self, predicted: Tensor<2>, target: Tensor<2>) -> Tensor<1> {
        let predicted = Corners::split(predicted);
        let target = Corners::split(target);
        let overlap = Overlap::between(predicted.clone(), target.clone());

        let loss = match self {
            Self::Iou => overlap.iou().clamp_min(IOU_FLOOR).log().neg(),
            Self::IouPlusOne => (overlap.intersection.add_scalar(1.0)
                / overlap.union.add_scalar(1.0))
            .log()
            .neg(),
            Self::LinearIou => one_minus(overlap.iou()),
            Self::Giou => {
                let enclosure = predicted.enclosure(target).area();
                let gap = enclosure.clone() - overlap.union.clone();
                one_minus(overlap.iou()) + ratio(gap, enclosure)
            }
            Self::Diou => one_minus(overlap.iou()) + center_distance(predicted, target),
            Self::Ciou => {
                let linear_iou = one_minus(overlap.iou());
                let aspect = aspect_distance(predicted.clone(), target.clone());
                let weight = ratio(aspect.clone(), linear_iou.clone() + aspect.clone()).detach();
                linear_iou + center_distance(predicted, target) + weight * aspect
            }
        };
        loss.squeeze_dim(1)
    }
}

impl fmt::Display for BoxLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for BoxLoss {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        unknown_name::find("box loss", name, Self::ALL)
    }
}

fn one_minus(x: Tensor<2>) -> Tensor<2> {
    x.neg().add_scalar(1.0)
}

/// Squared distance between the centers over the squared diagonal of the smallest box around both.
fn center_distance(predicted: Corners, target: Corners) -> Tensor<2> {
    let distance = predicted.clone().center() - target.clone().center();
    let diagonal = predicted.enclosure(target).sides();
    ratio(distance.square().sum_dim(1), diagonal.square().sum_dim(1))
}

/// `v` of CIoU, the difference of the aspect ratios, in `[0, 1]`.
fn aspect_distance(predicted: Corners, target: Corners) -> Tensor<2> {
    (aspect_angle(target) - aspect_angle(predicted))
        .square()
        .mul_scalar(4.0 / (PI * PI))
}

fn aspect_angle(boxes: Corners) -> Tensor<2> {
    // The floor defines the angle of an empty box. The gradient of a clamped side is 0.
    let [width, height] = both_columns(boxes.sides().clamp_min(EPSILON));
    (width / height).atan()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use burn::tensor::Device;

    use super::*;
    use crate::closed_forms::{self, Box4, ciou_weight};
    use crate::test_tensors::{assert_close, assert_finite, gradient, tensor2, values};

    const TARGET: Box4 = [10.0, 20.0, 50.0, 44.0];
    /// Boxes that overlap `TARGET`: shifted, inside, around, across twice, at a corner.
    const PREDICTED: [Box4; 6] = [
        [13.0, 17.0, 56.0, 40.0],
        [22.0, 25.0, 31.0, 41.0],
        [2.0, 5.0, 71.0, 60.0],
        [25.0, 3.0, 33.0, 70.0],
        [3.0, 29.0, 64.0, 33.5],
        [49.5, 43.75, 90.0, 99.0],
    ];

    fn targets(count: usize, device: &Device) -> Tensor<2> {
        tensor2(&vec![TARGET; count], device)
    }

    #[test]
    fn values_match_the_published_formulas() {
        let device = Device::flex();
        for loss in BoxLoss::ALL {
            let name = loss.to_string();
            let actual = loss.forward(tensor2(&PREDICTED, &device), targets(6, &device));
            let expected =
                PREDICTED.map(|p| closed_forms::box_loss(&name, p, TARGET, ciou_weight(p, TARGET)));
            assert_close(&values(actual), &expected, 2e-6);
        }
    }

    #[test]
    fn gradients_match_the_slopes_of_the_published_formulas() {
        let device = Device::flex();
        for loss in BoxLoss::ALL {
            let name = loss.to_string();
            let actual = gradient(tensor2(&PREDICTED, &device), |predicted| {
                loss.forward(predicted, targets(6, &device))
            });
            let h = 1e-5;
            let mut expected = Vec::new();
            for p in PREDICTED {
                let weight = ciou_weight(p, TARGET);
                for side in 0..4 {
                    let at = |offset: f64| {
                        let mut moved = p;
                        moved[side] += offset;
                        closed_forms::box_loss(&name, moved, TARGET, weight)
                    };
                    expected.push((at(h) - at(-h)) / (2.0 * h));
                }
            }
            assert_close(&actual, &expected, 2e-6);
        }
    }

    #[test]
    fn a_perfect_box_has_no_loss() {
        let device = Device::flex();
        for loss in BoxLoss::ALL {
            let boxes = targets(1, &device);
            assert_close(&values(loss.forward(boxes.clone(), boxes)), &[0.0], 1e-6);
        }
    }

    #[test]
    fn only_plain_iou_losses_have_no_gradient_without_overlap() {
        let device = Device::flex();
        let apart = [[60.0, 50.0, 80.0, 70.0]];
        for loss in BoxLoss::ALL {
            let slope = gradient(tensor2(&apart, &device), |predicted| {
                loss.forward(predicted, targets(1, &device))
            });
            let has_gradient = slope.iter().any(|&s| s.abs() > 1e-6);
            // `IouPlusOne` still has a gradient through the union.
            let expected = !matches!(loss, BoxLoss::Iou | BoxLoss::LinearIou);
            assert_eq!(has_gradient, expected, "{loss}: {slope:?}");
        }
        let iou = BoxLoss::Iou.forward(tensor2(&apart, &device), targets(1, &device));
        assert_close(&values(iou), &[-IOU_FLOOR.ln()], 1e-6);
    }

    #[test]
    fn degenerate_and_huge_boxes_give_finite_values_and_gradients() {
        let device = Device::flex();
        let boxes: [Box4; 11] = [
            [0.0, 0.0, 0.0, 0.0],
            [7.0, 7.0, 7.0, 7.0],
            [0.0, 0.0, 10.0, 0.0],
            [0.0, 0.0, 0.0, 10.0],
            [9.0, 9.0, 1.0, 1.0],
            [9.0, 1.0, 1.0, 9.0],
            [0.0, 0.0, 1e-5, 1e-5],
            [0.0, 0.0, 10.0, 10.0],
            [-1e6, -1e6, 1e6, 1e6],
            [1e6, 1e6, 1e6 + 1.0, 1e6 + 1.0],
            [-1e6, 3.0, 1e6, 3.5],
        ];
        let pairs: Vec<[Box4; 2]> = boxes.iter().flat_map(|&a| boxes.map(|b| [a, b])).collect();
        let predicted: Vec<Box4> = pairs.iter().map(|&[a, _]| a).collect();
        let target: Vec<Box4> = pairs.iter().map(|&[_, b]| b).collect();
        for loss in BoxLoss::ALL {
            let forward = |p| loss.forward(p, tensor2(&target, &device));
            let value = values(forward(tensor2(&predicted, &device)));
            assert_finite(&value);
            assert!(value.iter().all(|&v| v > -1e-5), "{loss}: {value:?}");
            assert_finite(&gradient(tensor2(&predicted, &device), forward));
        }
    }

    #[test]
    fn no_boxes_give_an_empty_loss() {
        let device = Device::flex();
        for loss in BoxLoss::ALL {
            let none = || Tensor::<2>::zeros([0, 4], &device);
            assert_eq!(loss.forward(none(), none()).dims(), [0]);
            assert!(gradient(none(), |p| loss.forward(p, none())).is_empty());
        }
    }

    #[test]
    fn every_loss_is_parsed_from_its_name() {
        for loss in BoxLoss::ALL {
            assert_eq!(loss.to_string().parse(), Ok(*loss));
        }
        assert_eq!(
            "l1".parse::<BoxLoss>().unwrap_err().to_string(),
            "unknown box loss `l1`, expected iou, iou-plus-one, linear-iou, giou, diou, ciou"
        );
    }
}
