//! Parity with torchvision's `batched_nms`.

use fcos_burn::boxes::{Detection, batched_nms};

use crate::fixture::{Fixture, groups};

#[test]
fn suppression_keeps_the_same_boxes_as_torchvision() {
    let fixture = Fixture::open("nms");
    let counts = fixture.integers("counts");
    let (boxes, scores) = (fixture.boxes("boxes"), fixture.floats("scores"));
    let (labels, kept) = (fixture.integers("labels"), fixture.integers("kept"));
    let (boxes, scores) = (groups(&boxes, &counts), groups(&scores, &counts));
    let labels = groups(&labels, &counts);
    let kept = groups(&kept, &fixture.integers("kept_counts")).into_iter();
    let thresholds = fixture.floats("thresholds");
    assert_eq!(counts.len(), 1000);
    for (case, kept) in kept.enumerate() {
        let detections: Vec<Detection> = (0..boxes[case].len())
            .map(|index| Detection {
                bbox: boxes[case][index],
                label: labels[case][index] as usize,
                score: scores[case][index],
            })
            .collect();
        let expected: Vec<Detection> = kept.iter().map(|&i| detections[i as usize]).collect();
        let found: Vec<Detection> = batched_nms(detections, thresholds[case]).collect();
        assert_eq!(
            found, expected,
            "case {case}, threshold {}",
            thresholds[case]
        );
    }
}
