//! Parity with values and gradients of the losses in PyTorch and torchvision.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fcos_burn::loss::{
    AssociationLoss, BoxLoss, ClassificationLoss, aligned_iou, centerness_loss,
    distribution_focal_loss,
};

use crate::fixture::Fixture;

const ROWS: usize = 64;
const CLASSES: usize = 4;

fn device() -> Device {
    Device::flex().autodiff()
}

fn tensor<const D: usize>(fixture: &Fixture, name: &str, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(fixture.floats(name), shape), &device())
}

/// The logits of the first class.
fn column(fixture: &Fixture) -> Tensor<1> {
    tensor::<2>(fixture, "logits", [ROWS, CLASSES])
        .narrow(1, 0, 1)
        .reshape([ROWS])
}

fn compare<const D: usize, const E: usize>(
    fixture: &Fixture,
    name: &str,
    argument: Tensor<D>,
    loss: impl Fn(Tensor<D>) -> Tensor<E>,
) {
    let argument = argument.detach().require_grad();
    let value = loss(argument.clone());
    let gradients = value.clone().sum().backward();
    let gradient = argument.grad(&gradients).unwrap();
    for (kind, found) in [
        ("value", value.into_data().try_to_vec::<f32>().unwrap()),
        (
            "gradient",
            gradient.into_data().try_to_vec::<f32>().unwrap(),
        ),
    ] {
        let expected = fixture.floats(&format!("{name}.{kind}"));
        assert_eq!(found.len(), expected.len(), "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            let error = (found - expected).abs() / expected.abs().max(1.0);
            assert!(
                error < 1e-5,
                "{kind} of {name}: {found} instead of {expected}"
            );
        }
    }
}

#[test]
fn classification_losses_match_pytorch() {
    let fixture = Fixture::open("losses");
    let labels = TensorData::new(fixture.integers("labels"), [ROWS]);
    let labels = Tensor::<1, Int>::from_data(labels, &device());
    let ious = tensor::<1>(&fixture, "ious", [ROWS]);
    for (name, loss) in [
        ("focal", ClassificationLoss::default()),
        ("quality-focal", ClassificationLoss::QUALITY_FOCAL),
        ("varifocal", ClassificationLoss::VARIFOCAL),
        ("soft-label-focal", ClassificationLoss::SOFT_LABEL_FOCAL),
    ] {
        let logits = tensor(&fixture, "logits", [ROWS, CLASSES]);
        compare::<2, 2>(&fixture, name, logits, |logits| {
            loss.forward(logits, labels.clone(), ious.clone())
        });
    }
}

#[test]
fn box_losses_match_torchvision() {
    let fixture = Fixture::open("losses");
    let boxes = || tensor::<2>(&fixture, "boxes", [ROWS, 4]);
    let target = || tensor::<2>(&fixture, "target", [ROWS, 4]);
    for (name, loss) in [
        ("iou", BoxLoss::Iou),
        ("iou-plus-one", BoxLoss::IouPlusOne),
        ("linear-iou", BoxLoss::LinearIou),
        ("giou", BoxLoss::Giou),
        ("diou", BoxLoss::Diou),
        ("ciou", BoxLoss::Ciou),
    ] {
        compare(&fixture, name, boxes(), |boxes| {
            loss.forward(boxes, target())
        });
    }
    let found = aligned_iou(boxes(), target()).into_data();
    for (found, expected) in found.iter::<f32>().zip(fixture.floats("ious")) {
        assert!((found - expected).abs() < 1e-6);
    }
}

#[test]
fn centerness_loss_matches_pytorch() {
    let fixture = Fixture::open("losses");
    compare(&fixture, "centerness", column(&fixture), |logits| {
        centerness_loss(logits, tensor(&fixture, "centerness", [ROWS]))
    });
}

#[test]
fn distribution_focal_loss_matches_its_equation_in_pytorch() {
    let fixture = Fixture::open("distribution");
    let logits = tensor::<2>(&fixture, "logits", [40, 17]);
    compare(&fixture, "distribution-focal", logits, |logits| {
        distribution_focal_loss(logits, tensor(&fixture, "targets", [40]))
    });
}

#[test]
fn association_losses_match_their_equations_in_pytorch() {
    let fixture = Fixture::open("losses");
    let sigmoid = burn::tensor::activation::sigmoid::<1>;
    for (name, beta, k) in [("1-1", 1.0, 1.0), ("2-0.9", 2.0, 0.9)] {
        for (kind, loss) in [
            ("pse", AssociationLoss::Pse { beta, k }),
            ("pce", AssociationLoss::Pce { beta, k }),
        ] {
            let ious = || tensor::<1>(&fixture, "ious", [ROWS]);
            compare(&fixture, &format!("{kind}.{name}"), column(&fixture), |x| {
                loss.forward(sigmoid(x), ious())
            });
        }
    }
}
