//! Parity with the target assignment of the original FCOS code.

use fcos_burn::{
    boxes::LabeledBox,
    model::assignment::{AssignmentConfig, AssignmentRule, BACKGROUND},
    model::locations::{LocationRule, Locations},
};

use crate::fixture::{Fixture, groups};

#[test]
fn targets_match_the_original_code() {
    let fixture = Fixture::open("assignment");
    let boxes = fixture.boxes("boxes");
    let scenes = groups(&boxes, &fixture.integers("counts"));
    let sizes = fixture.integers("sizes");
    let sizes: Vec<[usize; 2]> = sizes
        .as_chunks()
        .0
        .iter()
        .map(|s| s.map(|n| n as usize))
        .collect();
    assert_eq!(scenes.len(), 1000);
    for (rule, center_sampling_radius) in [("plain", None), ("radius", Some(1.5))] {
        let expected = fixture.integers(rule);
        let mut expected = expected.as_slice();
        let config = AssignmentConfig::new(vec![64.0, 128.0, 256.0, 512.0])
            .with_center_sampling_radius(center_sampling_radius);
        let mut by_level = [0; 5];
        for (index, (boxes, size)) in scenes.iter().zip(&sizes).enumerate() {
            let locations = Locations::new(*size, &[8, 16, 32, 64, 128], LocationRule::HalfStride);
            // The label is the index of the box.
            let objects: Vec<LabeledBox> = (boxes.iter().zip(0..))
                .map(|(&bbox, label)| LabeledBox { bbox, label })
                .collect();
            let assignment = config.assign(&objects, &locations);
            let scene;
            (scene, expected) = expected.split_at(locations.len());
            assert_eq!(assignment.labels, scene, "{rule}, scene {index}");
            for (label, found) in assignment.labels.iter().zip(&assignment.boxes) {
                if *label != BACKGROUND {
                    assert_eq!(*found, boxes[*label as usize]);
                }
            }
            let mut labels = assignment.labels.as_slice();
            for (count, grid) in by_level.iter_mut().zip(locations.levels()) {
                let level;
                (level, labels) = labels.split_at(grid.len());
                *count += level.iter().filter(|label| **label != BACKGROUND).count();
            }
        }
        assert!(expected.is_empty());
        assert!(by_level.iter().all(|count| *count > 50), "{by_level:?}");
    }
}
