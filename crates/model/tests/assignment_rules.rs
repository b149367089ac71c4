//! The built-in assignment rules: parity with their reference implementations, and what holds for
//! any objects and predictions.
#![allow(clippy::unwrap_used)]

use fcos_burn_boxes::LabeledBox;
use fcos_burn_model::{
    FcosConfig, ImagePredictions,
    assignment::{
        Assigner, AssignerConfig, Assignment, AtssConfig, BACKGROUND, DwConfig, SimOtaConfig,
        TalConfig,
    },
    locations::{LocationRule, Locations},
};
use proptest::prelude::*;
use serde::Deserialize;

/// What `study/scripts/assignment_rules.py` writes.
#[derive(Deserialize)]
struct Fixture {
    strides: Vec<usize>,
    classes: usize,
    scenes: Vec<Scene>,
}

#[derive(Deserialize)]
struct Scene {
    /// Height and width of the image.
    size: [usize; 2],
    /// In eighths of a pixel, as the predicted boxes.
    boxes: Vec<i32>,
    labels: Vec<usize>,
    predicted: Vec<i32>,
    /// In sixty-fourths.
    logits: Vec<i32>,
    atss: Owners,
    tal: Owners,
    simota: Owners,
    dw: Owners,
}

/// The object of each location, −1 for background, and values of the positive locations in their
/// order.
#[derive(Deserialize)]
struct Owners {
    owners: Vec<i32>,
    #[serde(default)]
    quality: Vec<f64>,
    #[serde(default)]
    positive: Vec<f64>,
    #[serde(default)]
    negative: Vec<f64>,
}

fn boxes(eighths: &[i32]) -> Vec<[f32; 4]> {
    let (boxes, _) = eighths.as_chunks::<4>();
    boxes
        .iter()
        .map(|bbox| bbox.map(|side| side as f32 / 8.0))
        .collect()
}

/// The positive values in the order of the locations.
fn at_positives(assignment: &Assignment, values: &[f32]) -> Vec<f64> {
    let labels = assignment.labels.iter().zip(values);
    labels
        .filter(|(label, _)| **label >= 0)
        .map(|(_, value)| f64::from(*value))
        .collect()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!(
            (found - expected).abs() <= 1e-5,
            "{index}: {found}, not {expected}"
        );
    }
}

/// Calls `check` with the assignment of every scene, after it was compared with its owners.
fn each_scene(
    config: AssignerConfig,
    expected: impl Fn(&Scene) -> &Owners,
    check: impl Fn(&Assignment, &Owners, usize),
) {
    let text = include_str!("fixtures/assignment_rules.json");
    let fixture: Fixture = serde_json::from_str(text).unwrap();
    let mut positives = 0;
    for (index, scene) in fixture.scenes.iter().enumerate() {
        let locations = Locations::new(scene.size, &fixture.strides, LocationRule::HalfStride);
        let objects: Vec<LabeledBox> = (boxes(&scene.boxes).into_iter().zip(&scene.labels))
            .map(|(bbox, &label)| LabeledBox { bbox, label })
            .collect();
        let predicted = boxes(&scene.predicted);
        let logits: Vec<f32> = scene
            .logits
            .iter()
            .map(|&logit| logit as f32 / 64.0)
            .collect();
        let predictions = ImagePredictions::new(fixture.classes, &logits, &predicted);
        let assignment = assign(&config, &objects, &locations, &predictions);
        let expected = expected(scene);
        for (location, owner) in expected.owners.iter().enumerate() {
            let object = usize::try_from(*owner).ok().map(|owner| objects[owner]);
            let (label, bbox) = object.map_or((BACKGROUND, [0.0; 4]), |object| {
                (object.label as i32, object.bbox)
            });
            let found = (assignment.labels[location], assignment.boxes[location]);
            assert_eq!(found, (label, bbox), "scene {index}, location {location}");
        }
        positives += assignment
            .labels
            .iter()
            .filter(|label| **label >= 0)
            .count();
        check(&assignment, expected, objects.len());
    }
    assert!(positives > 100, "{positives}");
}

fn assign(
    config: &AssignerConfig,
    objects: &[LabeledBox],
    locations: &Locations,
    predictions: &ImagePredictions<'_>,
) -> Assignment {
    let config = FcosConfig::small(predictions.num_classes()).with_assigner(config.clone());
    match config.assignment_rule().unwrap() {
        Assigner::Static(rule) => rule.assign(objects, locations),
        Assigner::ByPrediction(rule) => rule.assign(objects, locations, predictions),
    }
}

#[test]
fn atss_is_that_of_mmdetection() {
    let rule = AssignerConfig::Atss(AtssConfig::default());
    each_scene(
        rule,
        |scene| &scene.atss,
        |assignment, _, _| {
            assert!(assignment.quality.is_none() && assignment.weights.is_none());
        },
    );
}

#[test]
fn simota_is_that_of_mmdetection_inside_boxes() {
    let rule = AssignerConfig::SimOta(SimOtaConfig::default());
    each_scene(
        rule,
        |scene| &scene.simota,
        |assignment, _, _| {
            assert!(assignment.quality.is_none() && assignment.weights.is_none());
        },
    );
}

#[test]
fn task_alignment_is_that_of_mmdetection() {
    let rule = AssignerConfig::Tal(TalConfig::default());
    each_scene(
        rule,
        |scene| &scene.tal,
        |assignment, expected, _| {
            let quality = assignment.quality.as_ref().unwrap();
            assert_close(&at_positives(assignment, quality), &expected.quality);
            let weights = assignment.weights.as_ref().unwrap();
            assert_eq!(weights.boxes, *quality);
            let sum: f64 = expected.quality.iter().sum();
            assert_close(
                &[weights.positive_divisor, weights.negative_divisor].map(f64::from),
                &[sum; 2],
            );
            assert!(
                at_positives(assignment, &weights.positive)
                    .iter()
                    .all(|w| *w == 1.0)
            );
            assert!(weights.negative.iter().all(|w| *w == 0.0));
        },
    );
    let hard = AssignerConfig::Tal(TalConfig::default().with_soft_targets(false));
    each_scene(
        hard,
        |scene| &scene.tal,
        |assignment, _, _| {
            assert!(assignment.quality.is_none() && assignment.weights.is_none());
        },
    );
}

#[test]
fn dual_weighting_is_that_of_its_authors() {
    let rule = AssignerConfig::Dw(DwConfig::default());
    each_scene(
        rule,
        |scene| &scene.dw,
        |assignment, expected, objects| {
            let weights = assignment.weights.as_ref().unwrap();
            let quarter: Vec<f64> = expected.positive.iter().map(|w| w / 4.0).collect();
            assert_close(&at_positives(assignment, &weights.positive), &quarter);
            assert_close(
                &at_positives(assignment, &weights.boxes),
                &expected.positive,
            );
            assert_close(
                &at_positives(assignment, &weights.negative),
                &expected.negative,
            );
            assert_eq!(weights.positive_divisor, objects as f32);
            let sum: f64 = expected.negative.iter().map(|w| 1.0 - w).sum();
            assert!((f64::from(weights.negative_divisor) - sum).abs() < 1e-4);
            let quality = at_positives(assignment, assignment.quality.as_ref().unwrap());
            assert!(quality.iter().all(|q| *q == 1.0));
        },
    );
}

const SIZE: [usize; 2] = [48, 64];
const CLASSES: usize = 3;

fn rules() -> [AssignerConfig; 5] {
    [
        AssignerConfig::Fcos,
        AssignerConfig::Atss(AtssConfig::default()),
        AssignerConfig::Tal(TalConfig::default()),
        AssignerConfig::SimOta(SimOtaConfig::default()),
        AssignerConfig::Dw(DwConfig::default()),
    ]
}

fn locations() -> Locations {
    let strides = FcosConfig::small(CLASSES).strides();
    Locations::new(SIZE, &strides, LocationRule::HalfStride)
}

/// Mostly ordinary numbers, but also infinite ones and NaN.
fn any_number(range: std::ops::Range<f32>) -> impl Strategy<Value = f32> {
    prop_oneof![
        30 => range,
        1 => Just(f32::NAN),
        1 => Just(f32::INFINITY),
        1 => Just(f32::NEG_INFINITY),
        1 => Just(0.0),
        1 => Just(3e38),
    ]
}

fn objects(
    side: impl Fn() -> BoxedStrategy<f32>,
    count: usize,
) -> impl Strategy<Value = Vec<LabeledBox>> {
    let bbox = (side(), side(), side(), side());
    let object = (bbox, 0..CLASSES).prop_map(|((x, y, width, height), label)| LabeledBox {
        bbox: [x, y, x + width, y + height],
        label,
    });
    proptest::collection::vec(object, 0..count)
}

fn values(
    number: impl Fn(std::ops::Range<f32>) -> BoxedStrategy<f32>,
) -> impl Strategy<Value = (Vec<f32>, Vec<f32>)> {
    let count = locations().len();
    (
        proptest::collection::vec(number(-8.0..4.0), count * CLASSES),
        proptest::collection::vec(number(0.5..40.0), count * 4),
    )
}

/// Boxes around the locations with these distances to their sides.
fn around(distances: &[f32]) -> Vec<[f32; 4]> {
    let (distances, _) = distances.as_chunks::<4>();
    let locations = locations();
    let boxes = locations.iter().zip(distances);
    boxes
        .map(|([x, y], [l, t, r, b])| [x - l, y - t, x + r, y + b])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Even for degenerate objects and predictions of any value, and for more objects than
    /// locations.
    #[test]
    fn positives_lie_inside_an_object_of_their_label(
        objects in objects(|| any_number(-20.0..60.0).boxed(), 150),
        (logits, distances) in values(|range| any_number(range).boxed()),
    ) {
        let (locations, predicted) = (locations(), around(&distances));
        let predictions = ImagePredictions::new(CLASSES, &logits, &predicted);
        for rule in rules() {
            let assignment = assign(&rule, &objects, &locations, &predictions);
            let checked = assignment.check(&rule, &objects, locations.len());
            prop_assert_eq!(checked.map_err(|error| error.to_string()), Ok(()));
            for (location, [x, y]) in locations.iter().enumerate() {
                let [x1, y1, x2, y2] = assignment.boxes[location];
                if assignment.labels[location] < 0 {
                    prop_assert_eq!([x1, y1, x2, y2], [0.0; 4]);
                    continue;
                }
                prop_assert!(x1 < x && x < x2 && y1 < y && y < y2, "{:?}", rule);
                let owner = objects.iter().find(|object| {
                    object.bbox == [x1, y1, x2, y2]
                        && object.label as i32 == assignment.labels[location]
                });
                prop_assert!(owner.is_some(), "{:?}", rule);
            }
        }
    }

    #[test]
    fn the_order_of_objects_does_not_matter(
        (objects, shuffled) in objects(|| (0.1_f32..50.0).boxed(), 12)
            .prop_flat_map(|objects| (Just(objects.clone()), Just(objects).prop_shuffle())),
        (logits, distances) in values(|range| range.boxed()),
    ) {
        let (locations, predicted) = (locations(), around(&distances));
        let predictions = ImagePredictions::new(CLASSES, &logits, &predicted);
        for rule in rules() {
            let found = assign(&rule, &objects, &locations, &predictions);
            let other = assign(&rule, &shuffled, &locations, &predictions);
            prop_assert_eq!(&found.labels, &other.labels, "{:?}", &rule);
            prop_assert_eq!(&found.boxes, &other.boxes, "{:?}", &rule);
            prop_assert_eq!(&found.quality, &other.quality, "{:?}", &rule);
            let columns = |assignment: &Assignment| {
                let weights = assignment.weights.clone();
                weights.map(|it| (it.positive, it.negative, it.boxes))
            };
            prop_assert_eq!(columns(&found), columns(&other), "{:?}", &rule);
        }
    }

    #[test]
    fn an_object_has_at_most_its_number_of_candidates(
        object in objects(|| (0.1_f32..50.0).boxed(), 2),
        (logits, distances) in values(|range| range.boxed()),
    ) {
        let (locations, predicted) = (locations(), around(&distances));
        let predictions = ImagePredictions::new(CLASSES, &logits, &predicted);
        let levels = locations.levels().len();
        for (rule, bound) in [
            (AssignerConfig::Atss(AtssConfig::default().with_top_k(2)), 2 * levels),
            (AssignerConfig::Tal(TalConfig::default().with_top_k(3)), 3),
            (AssignerConfig::SimOta(SimOtaConfig::default().with_candidates(4)), 4),
        ] {
            let assignment = assign(&rule, &object, &locations, &predictions);
            let count = assignment.labels.iter().filter(|label| **label >= 0).count();
            prop_assert!(count <= bound, "{rule:?}: {count}");
        }
    }
}

#[test]
fn the_quality_of_the_best_aligned_location_is_the_highest_iou() {
    let locations = Locations::new([16, 16], &[8], LocationRule::HalfStride);
    let object = LabeledBox {
        bbox: [0.0, 0.0, 16.0, 16.0],
        label: 0,
    };
    // IoUs of 1, 3/4, 1/2 and 0.
    let boxes = [16.0, 12.0, 8.0, -8.0].map(|y2| [0.0, 0.0, 16.0, y2]);
    // The second location has a far higher score and therefore the highest alignment.
    let predictions = ImagePredictions::new(1, &[-6.0, 6.0, 0.0, 9.0], &boxes);
    let rule = AssignerConfig::Tal(TalConfig::default());
    let assignment = assign(&rule, &[object], &locations, &predictions);
    assert_eq!(assignment.labels, [0, 0, 0, -1]);
    let alignments = [(-6.0_f64, 1.0_f64), (6.0, 0.75), (0.0, 0.5)]
        .map(|(logit, iou)| iou.powi(6) / (1.0 + (-logit).exp()));
    let expected = alignments.map(|alignment| alignment / alignments[1]);
    let quality = assignment.quality.unwrap();
    let found = [quality[0], quality[1], quality[2]].map(f64::from);
    assert_close(&found, &expected);
}
