//! Parity with the operating points of pycocotools and numpy, the confusion matrix of supervision and the errors of
//! tidecv.

use fcos_burn::eval::{
    Analysis, AnalysisConfig, ClassPoints, CocoMetric, Evaluation,
    error_cost::ErrorKind,
    matching::{Matching, Outcome},
    operating_point::OperatingPoint,
};
use serde_json::Value;

use crate::evaluation::{json, read};

/// Calls `check` with the analysis and the expected numbers for each IoU threshold.
fn for_each_iou(check: impl Fn(&Analysis, &Value)) {
    let (dataset, detections) = read("operating-point");
    let expected = json("operating-point", "expected.json");
    let expected = expected.as_array().unwrap();
    assert_eq!(expected.len(), 2);
    for expected in expected {
        let iou = expected["iou_threshold"].as_f64().unwrap();
        let config = AnalysisConfig::default().with_iou_threshold(iou);
        check(
            &Analysis::new(&dataset, &detections, &config).unwrap(),
            expected,
        );
    }
}

fn assert_close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-9,
        "{what}: {found}, not {expected}"
    );
}

fn assert_point(found: Option<OperatingPoint>, expected: &Value, what: &str) {
    let Some(found) = found else {
        assert!(expected.is_null(), "{what} is missing");
        return;
    };
    let [low, high] = [0, 1].map(|end| expected["thresholds"][end].as_f64().unwrap());
    let threshold = f64::from(found.threshold);
    assert!(low < threshold && threshold <= high, "{what}: {threshold}");
    for (name, count) in [
        ("true_positives", found.true_positives),
        ("false_positives", found.false_positives),
        ("false_negatives", found.false_negatives),
    ] {
        assert_eq!(expected[name], count, "{what}: {name}");
    }
    for (name, value) in [
        ("precision", found.precision),
        ("recall", found.recall),
        ("f1", found.f1),
    ] {
        assert_close(value.unwrap(), &expected[name], what);
    }
}

#[test]
fn operating_points_match_pycocotools() {
    for_each_iou(|analysis, expected| {
        let expected = &expected["operating_points"];
        let check = |points: &ClassPoints, name: &str| {
            let expected = &expected[name];
            assert_eq!(expected["objects"], points.objects, "{name}");
            assert_point(points.best_f1, &expected["best_f1"], name);
            assert_point(
                points.at_target_precision,
                &expected["at_target_precision"],
                name,
            );
        };
        check(&analysis.operating_points.all, "all");
        let classes = &analysis.operating_points.classes;
        assert_eq!(classes.len(), 6);
        for points in classes {
            check(points, points.class.as_deref().unwrap());
        }
    });
}

#[test]
fn the_confusion_matrix_matches_supervision() {
    for_each_iou(|analysis, expected| {
        let matrix = &analysis.confusion_matrix;
        let names: Vec<Option<&str>> = (matrix.classes.iter().map(|name| Some(name.as_str())))
            .chain([None])
            .collect();
        for (object, row) in names
            .iter()
            .zip(expected["confusion_matrix"].as_array().unwrap())
        {
            for (detected, count) in names.iter().zip(row.as_array().unwrap()) {
                let found = matrix.count(*object, *detected);
                assert_eq!(*count, found, "{object:?} detected as {detected:?}");
            }
        }
        let total: usize = matrix.counts.iter().map(|cell| cell.count).sum();
        let rows = expected["confusion_matrix"].as_array().unwrap().iter();
        let expected = rows.flat_map(|row| row.as_array().unwrap());
        assert_eq!(
            total as u64,
            expected.filter_map(Value::as_u64).sum::<u64>()
        );
    });
}

/// Every row adds up to the objects of a class, every column to its detections, and the diagonal has its true
/// positives.
#[test]
fn the_confusion_matrix_agrees_with_the_operating_point() {
    for_each_iou(|analysis, _| {
        let matrix = &analysis.confusion_matrix;
        for points in &analysis.operating_points.classes {
            let class = points.class.as_deref();
            let point = points.at_score_threshold;
            let sum = |is_counted: &dyn Fn([Option<&str>; 2]) -> bool| -> usize {
                let cells = matrix
                    .counts
                    .iter()
                    .filter(|cell| is_counted([cell.object.as_deref(), cell.detected.as_deref()]));
                cells.map(|cell| cell.count).sum()
            };
            assert_eq!(matrix.count(class, class), point.true_positives);
            assert_eq!(sum(&|[object, _]| object == class), points.objects);
            assert_eq!(
                sum(&|[_, detected]| detected == class),
                point.true_positives + point.false_positives
            );
        }
    });
}

#[test]
fn errors_match_tidecv() {
    for_each_iou(|analysis, expected| {
        let found = &analysis.errors;
        let at_threshold = &expected["errors_at_threshold"];
        let expected = &expected["errors"];
        assert_close(found.ap, &expected["ap"], "AP");
        assert_eq!(found.kinds.len(), 6);
        for (kind, name) in [
            (ErrorKind::Classification, "classification"),
            (ErrorKind::Localization, "localization"),
            (ErrorKind::Both, "both"),
            (ErrorKind::Duplicate, "duplicate"),
            (ErrorKind::Background, "background"),
            (ErrorKind::Missed, "missed"),
        ] {
            let found = found.kinds[&kind];
            assert_eq!(expected["kinds"][name]["count"], found.count, "{name}");
            assert_eq!(
                at_threshold[name]["count"], found.count_at_threshold,
                "{name}"
            );
            assert_close(found.ap_cost, &expected["kinds"][name]["ap_cost"], name);
        }
        for (found, name) in [
            (found.false_positives, "false_positives"),
            (found.false_negatives, "false_negatives"),
        ] {
            assert_close(found.ap_cost, &expected[name], name);
        }
    });
}

#[test]
fn detections_of_crowds_are_ignored() {
    let (dataset, detections) = read("operating-point");
    for expected in json("operating-point", "expected.json").as_array().unwrap() {
        let iou = expected["iou_threshold"].as_f64().unwrap();
        let matching = Matching::new(&dataset, &detections, iou).unwrap();
        let outcomes = matching.images().iter().flat_map(|image| &image.outcomes);
        let ignored = outcomes
            .filter(|outcome| **outcome == Outcome::Ignored)
            .count();
        assert_eq!(expected["ignored"], ignored);
    }
}

/// On detections of this project: the AP of the error analysis is COCO's AP50.
#[test]
fn the_ap_is_that_of_coco() {
    let (dataset, detections) = read("evaluation");
    let analysis = Analysis::new(&dataset, &detections, &AnalysisConfig::default()).unwrap();
    let evaluation = Evaluation::new(&dataset, &detections).unwrap();
    let expected = evaluation.metric(CocoMetric::AP50).unwrap();
    assert!((analysis.errors.ap - expected).abs() < 1e-9);
}
