//! PSE in another detector, with only the loss crate of this project: it trains the scores of
//! positives toward the IoU of their boxes.

use burn::{
    module::{Module, Param},
    optim::{GradientsParams, SgdConfig},
    tensor::{Device, Int, Tensor},
};
use fcos_burn_loss::{AssociationLoss, AssociationScore, aligned_iou};

/// A stand-in for a detector: the class logits of three positives.
#[derive(Module, Debug)]
struct Detector {
    logits: Param<Tensor<2>>,
}

/// Trains for some steps. Returns the probability of each positive's class, and the IoU of its box.
fn run(steps: usize) -> [Tensor<1>; 2] {
    let device = Device::flex().autodiff();
    let mut model = Detector {
        logits: Param::from_tensor(Tensor::zeros([3, 2], &device)),
    };
    let labels = Tensor::<1, Int>::from_ints([0, 1, 1], &device);
    let boxes = [[0., 0., 8., 9.], [4., 4., 20., 24.], [0., 0., 4., 4.]];
    let matched = [[0., 0., 9., 9.], [8., 4., 24., 24.], [0., 0., 4., 4.]];
    let ious = aligned_iou(
        Tensor::from_floats(boxes, &device),
        Tensor::from_floats(matched, &device),
    );
    let pse = AssociationLoss::Pse { beta: 1.0, k: 1.0 };
    let scores = |model: &Detector| {
        AssociationScore::GroundTruthClass.scores(model.logits.val(), labels.clone())
    };
    let mut optimizer = SgdConfig::new().init();
    for _ in 0..steps {
        // In a real training loop: (class_loss + box_loss + pse).backward().
        let loss = pse.forward(scores(&model), ious.clone()).sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(2.0, model, gradients);
    }
    [scores(&model), ious]
}

fn main() {
    let [probabilities, ious] = run(500);
    println!(
        "probabilities {}\nIoUs {}",
        probabilities.into_data(),
        ious.into_data()
    );
}

#[test]
fn probabilities_approach_the_ious() {
    let [probabilities, ious] = run(500);
    let difference: f32 = (probabilities - ious).abs().max().into_scalar();
    assert!(difference < 0.05, "{difference}");
}
