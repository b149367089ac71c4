//! Parity with the code of the authors of losses that compare the scores of several locations.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fcos_burn::loss::{
    AssociationLoss, BoxLoss, ClassificationLoss, Correlation, FcosObjective, FcosObjectiveConfig,
    Predictions, Targets,
};

use crate::fixture::Fixture;

const ROWS: usize = 80;
const CLASSES: usize = 5;

fn device() -> Device {
    Device::flex().autodiff()
}

fn assert_close(name: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (found, expected) in found.iter().zip(expected) {
        let error = (found - expected).abs();
        assert!(error < tolerance, "{name}: {found} instead of {expected}");
    }
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec::<f32>().unwrap()
}

#[test]
fn correlation_losses_match_the_code_of_their_authors() {
    let fixture = Fixture::open("correlation");
    for count in [2, 7, 60] {
        let array = |name: &str| fixture.floats(&format!("{count}.{name}"));
        let tensor = |name: &str| Tensor::<1>::from_floats(array(name).as_slice(), &device());
        let evaluate = |coefficient| {
            let scores = tensor("scores").require_grad();
            let loss = AssociationLoss::Correlation {
                beta: 1.0,
                coefficient,
                by_level: false,
            };
            let value = loss.forward(scores.clone(), tensor("ious")).mean();
            let gradients = value.backward();
            (floats(value), floats(scores.grad(&gradients).unwrap()))
        };
        // Their ranks are 1, 2, … instead of 1/n, 2/n, …
        let spearman = |epsilon: f64| Correlation::Spearman {
            epsilon: epsilon * count as f64,
        };
        for (name, coefficient) in [
            ("concordance", Correlation::Concordance),
            ("pearson", Correlation::Pearson),
            ("spearman-1", spearman(1.0)),
            ("spearman-0.02", spearman(0.02)),
        ] {
            let (value, gradient) = evaluate(coefficient);
            let expected = array(&format!("{name}.value"));
            assert_close(name, &value, &expected, 2e-6);
            let expected = array(&format!("{name}.gradient"));
            assert_close(name, &gradient, &expected, 2e-5);
        }
        // They divide variances by n − 1.
        let (value, _) = evaluate(Correlation::Concordance);
        let sample = array("sample-concordance.value");
        assert_close("sample moments", &value, &sample, 0.1 / count as f32);
    }
}

/// The mean of a ranking loss over the positive locations, and its gradient.
fn rank(fixture: &Fixture, loss: ClassificationLoss) -> (Vec<f32>, Vec<f32>) {
    let labels = fixture.integers("labels");
    let positives = labels.iter().filter(|label| **label >= 0).count() as f32;
    let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [ROWS]), &device());
    let ious = Tensor::<1>::from_floats(fixture.floats("ious").as_slice(), &device());
    let logits = TensorData::new(fixture.floats("logits"), [ROWS, CLASSES]);
    let logits = Tensor::<2>::from_data(logits, &device()).require_grad();
    let value = loss.forward(logits.clone(), labels, ious).sum() / positives;
    let gradients = value.backward();
    (floats(value), floats(logits.grad(&gradients).unwrap()))
}

#[test]
fn ranking_losses_match_the_code_of_their_authors() {
    let fixture = Fixture::open("ranking");
    for (name, loss) in [
        ("rank-sort.0.0", ClassificationLoss::RankSort { delta: 0.0 }),
        ("rank-sort.0.5", ClassificationLoss::RankSort { delta: 0.5 }),
        // Buckets change nothing without a ramp.
        (
            "bucketed-rank-sort.0.0",
            ClassificationLoss::RankSort { delta: 0.0 },
        ),
        ("alrp.0.5", ClassificationLoss::Alrp { delta: 0.5 }),
        ("alrp.1.0", ClassificationLoss::Alrp { delta: 1.0 }),
    ] {
        let (value, gradient) = rank(&fixture, loss);
        let expected = fixture.floats(&format!("{name}.value")).iter().sum();
        assert_close(name, &value, &[expected], 2e-6);
        let expected = fixture.floats(&format!("{name}.gradient"));
        assert_close(name, &gradient, &expected, 2e-6);
    }
}

/// Bucketed ranking, whose buckets end at the logits of the positives, approximates the ramp.
#[test]
fn bucketed_ranking_is_near() {
    let fixture = Fixture::open("ranking");
    let (_, exact) = rank(&fixture, ClassificationLoss::RANK_SORT);
    let bucketed = fixture.floats("bucketed-rank-sort.0.5.gradient");
    let norm = |values: &[f32]| values.iter().map(|value| value.powi(2)).sum::<f32>().sqrt();
    let difference: Vec<f32> = exact.iter().zip(&bucketed).map(|(a, b)| a - b).collect();
    let relative = norm(&difference) / norm(&exact);
    assert!((0.0135..0.0145).contains(&relative), "{relative}");
}

/// The weights of the boxes are the gradients of the localization loss for the box losses, up to the
/// balance of the two tasks.
#[test]
fn ranks_weight_boxes_as_in_the_code_of_their_authors() {
    let fixture = Fixture::open("ranking");
    let labels = fixture.integers("labels");
    let (rows, _): (Vec<usize>, Vec<i32>) = (labels.iter().enumerate())
        .filter(|(_, label)| **label >= 0)
        .unzip();
    for delta in ["0.5", "1.0"] {
        let loss = ClassificationLoss::Alrp {
            delta: delta.parse().unwrap(),
        };
        // Boxes of 100 × 1 px, shifted by a pixel, so that the slope of their loss is known.
        let target = [0.0, 0.0, 100.0, 1.0];
        let logits = TensorData::new(fixture.floats("logits"), [ROWS, CLASSES]);
        let boxes =
            Tensor::<2>::from_floats([[0.0, 0.0, 99.0, 1.0]; ROWS], &device()).require_grad();
        let objective = FcosObjectiveConfig::new()
            .with_classification(loss)
            .with_box_loss(BoxLoss::LinearIou)
            .init()
            .unwrap();
        let output = objective.forward(
            Predictions::new(Tensor::from_data(logits, &device()), boxes.clone()),
            Targets::new(
                Tensor::<1, Int>::from_data(TensorData::new(labels.clone(), [ROWS]), &device()),
                Tensor::from_floats([target; ROWS], &device()),
            ),
        );
        let localization = output.term(FcosObjective::LOCALIZATION).unwrap();
        let slopes = floats(boxes.grad(&localization.backward()).unwrap());
        let found: Vec<f32> = rows.iter().map(|row| -slopes[4 * row + 2]).collect();
        let expected = fixture.floats(&format!("alrp.{delta}.box-weights"));
        // The third and the fourth positive have the same logit. There, the order of a sort decides.
        let relative = |values: &[f32]| -> Vec<f32> {
            let of_one = values[0];
            let equal = 2..4;
            let others = values
                .iter()
                .enumerate()
                .filter(|(place, _)| !equal.contains(place));
            others.map(|(_, value)| value / of_one).collect()
        };
        assert_close(delta, &relative(&found), &relative(&expected), 2e-5);
    }
}
