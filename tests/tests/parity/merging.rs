//! Parity with the package `ensemble_boxes`: Soft-NMS and weighted boxes fusion.

use fcos_burn::boxes::{Detection, Nms, NmsMethod, WeightedBoxesFusion};

use crate::fixture::{Fixture, groups};

/// The detections of each group in the arrays with this prefix.
fn detections(fixture: &Fixture, prefix: &str, counts: &[i32]) -> Vec<Vec<Detection>> {
    let name = |part: &str| format!("{prefix}{part}");
    let boxes = fixture.boxes(&name("boxes"));
    let scores = fixture.floats(&name("scores"));
    let labels = fixture.integers(&name("labels"));
    let all: Vec<Detection> = (boxes.iter().zip(&scores).zip(&labels))
        .map(|((&bbox, &score), &label)| Detection {
            bbox,
            label: label as usize,
            score,
        })
        .collect();
    let groups = groups(&all, counts).into_iter();
    groups.map(<[Detection]>::to_vec).collect()
}

#[test]
fn soft_nms_gives_the_same_scores() {
    let fixture = Fixture::open("soft_nms");
    let counts = fixture.integers("counts");
    let cases = detections(&fixture, "", &counts);
    let (thresholds, sigmas) = (fixture.floats("thresholds"), fixture.floats("sigmas"));
    let (linear, gaussian) = (fixture.floats("linear"), fixture.floats("gaussian"));
    let (linear, gaussian) = (groups(&linear, &counts), groups(&gaussian, &counts));
    assert_eq!(cases.len(), 300);
    for (case, detections) in cases.iter().enumerate() {
        let gaussian_of = NmsMethod::SoftGaussian {
            sigma: sigmas[case],
        };
        for (method, decayed) in [
            (NmsMethod::SoftLinear, linear[case]),
            (gaussian_of, gaussian[case]),
        ] {
            let nms = Nms::new(thresholds[case]).with_method(method);
            let found = nms.apply(detections.clone(), usize::MAX);
            let mut expected: Vec<Detection> = (detections.iter().zip(decayed))
                .filter(|(_, score)| **score > 0.0)
                .map(|(detection, &score)| Detection {
                    score,
                    ..*detection
                })
                .collect();
            expected.sort_by(|a, b| b.score.total_cmp(&a.score));
            assert_close(&format!("case {case}, {method:?}"), &found, &expected, 0.0);
        }
    }
}

#[test]
fn boxes_are_fused_in_the_same_way() {
    // A power of two: the algorithm does not depend on the size of the image.
    const SIDE: f32 = 256.0;
    let fixture = Fixture::open("fusion");
    let scaled = |groups: Vec<Vec<Detection>>| -> Vec<Vec<Detection>> {
        let scale = |detection: Detection| Detection {
            bbox: detection.bbox.map(|edge| edge * SIDE),
            ..detection
        };
        let scale = |group: Vec<Detection>| group.into_iter().map(scale).collect();
        groups.into_iter().map(scale).collect()
    };
    let sources = scaled(detections(&fixture, "", &fixture.integers("counts")));
    let fused_counts = fixture.integers("fused_counts");
    let expected = scaled(detections(&fixture, "fused_", &fused_counts));
    let (thresholds, weights) = (fixture.floats("thresholds"), fixture.floats("weights"));
    let mut merged = 0;
    for (case, expected) in expected.into_iter().enumerate() {
        let models: Vec<(f32, &[Detection])> = (3 * case..3 * case + 3)
            .map(|model| (weights[model], sources[model].as_slice()))
            .collect();
        let fusion = WeightedBoxesFusion::default().with_iou_threshold(thresholds[case]);
        let found = fusion.fuse(&models);
        let count: usize = models.iter().map(|(_, detections)| detections.len()).sum();
        merged += count - found.len();
        let at_most_one = |detection: Detection| Detection {
            score: detection.score.min(1.0),
            ..detection
        };
        let expected: Vec<Detection> = expected.into_iter().map(at_most_one).collect();
        assert_close(&format!("case {case}"), &found, &expected, 1e-3);
    }
    assert!(merged > 1000, "{merged}");
}

/// Compares detections with boxes that differ by at most `pixels`.
fn assert_close(case: &str, found: &[Detection], expected: &[Detection], pixels: f32) {
    assert_eq!(found.len(), expected.len(), "{case}");
    // Nearly equal scores may be ordered differently.
    for (one, best) in found.iter().zip(expected) {
        assert!(
            (one.score - best.score).abs() < 1e-5,
            "{case}: {one:?} {best:?}"
        );
        let is_same = |other: &&Detection| {
            one.label == other.label
                && (one.score - other.score).abs() < 1e-5
                && (one.bbox.iter().zip(other.bbox)).all(|(a, b)| (a - b).abs() <= pixels)
        };
        assert!(
            expected.iter().any(|other| is_same(&other)),
            "{case}: {one:?}"
        );
    }
}
