//! The rule of FCOS.

use fcos_burn_boxes::LabeledBox;
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use super::{
    geometry::{cells_inside, center_region},
    rule::{Assignment, AssignmentRule},
};
use crate::locations::Locations;

/// FCOS's rule (Tian et al., 2019, section 3.1, and center sampling of the original code).
///
/// A location is a candidate for an object if it lies strictly inside the object's box
/// (with center sampling: also strictly inside the center region) and if the largest of
/// its four distances to the sides is in the range of its level. Of several candidates, the
/// object of the smallest area is chosen, and the first among equal areas. As in the
/// original code, the sides that make up an area are a pixel longer than the box's; this
/// breaks ties between boxes of equal area in favor of the one closer to a square. Boxes
/// without a positive, finite area are not assigned.
///
/// ```
/// use fcos_burn_boxes::LabeledBox;
/// use fcos_burn_model::{
///     assignment::{AssignmentConfig, AssignmentRule},
///     locations::{LocationRule, Locations},
/// };
///
/// let locations = Locations::new([64, 64], &[8, 16], LocationRule::HalfStride);
/// let rule = AssignmentConfig::new(vec![64.0]);
/// let object = LabeledBox { bbox: [2.0, 2.0, 14.0, 9.0], label: 3 };
/// let assignment = rule.assign(&[object], &locations);
/// // Only the locations (4, 4) and (12, 4) of the finer level lie inside.
/// assert_eq!(assignment.labels[..2], [3, 3]);
/// assert_eq!(assignment.labels.iter().filter(|&&label| label >= 0).count(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AssignmentConfig {
    /// Bounds in pixels between the ranges of max(l, t, r, b) of successive levels,
    /// ascending: one less than there are levels. Both ends of a range are inclusive; the
    /// finest level has no lower bound, the coarsest no upper one.
    pub range_bounds: Vec<f32>,
    /// Center sampling: only locations within this many strides of the object's center,
    /// in each direction, are candidates. With `None`, the whole box is.
    pub center_sampling_radius: Option<f32>,
}

impl AssignmentConfig {
    /// FCOS's rule with ranges between these bounds, without center sampling.
    pub fn new(range_bounds: Vec<f32>) -> Self {
        Self {
            range_bounds,
            center_sampling_radius: None,
        }
    }

    /// Sets [`range_bounds`](Self::range_bounds).
    #[must_use]
    pub fn with_range_bounds(self, range_bounds: Vec<f32>) -> Self {
        Self {
            range_bounds,
            ..self
        }
    }

    /// Sets [`center_sampling_radius`](Self::center_sampling_radius).
    #[must_use]
    pub fn with_center_sampling_radius(self, center_sampling_radius: Option<f32>) -> Self {
        Self {
            center_sampling_radius,
            ..self
        }
    }

    /// Checks the values for a detector with this many levels.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self, levels: usize) -> Result<(), ConfigError> {
        let bounds = &self.range_bounds;
        if bounds.len() + 1 != levels {
            return Err(ConfigError::new(
                "range_bounds",
                format!("{bounds:?}"),
                format!("one bound less than the {levels} levels"),
            ));
        }
        ConfigError::ensure(
            bounds.first().is_none_or(|first| *first > 0.0)
                && bounds.is_sorted_by(|a, b| a < b)
                && bounds.iter().all(|bound| bound.is_finite()),
            "range_bounds",
            format!("{bounds:?}"),
            "positive, finite and ascending",
        )?;
        match self.center_sampling_radius {
            Some(radius) => ConfigError::ensure(
                radius.is_finite() && radius > 0.0,
                "center_sampling_radius",
                radius,
                "positive and finite",
            ),
            None => Ok(()),
        }
    }

    /// The range of a level. Levels for which there are no bounds have an empty one.
    fn range(&self, level: usize) -> [f32; 2] {
        let bound = |index: usize| self.range_bounds.get(index).copied();
        let lower = match level {
            0 => -1.0,
            _ => bound(level - 1).unwrap_or(f32::INFINITY),
        };
        [lower, bound(level).unwrap_or(f32::INFINITY)]
    }
}

impl AssignmentRule for AssignmentConfig {
    fn assign(&self, objects: &[LabeledBox], locations: &Locations) -> Assignment {
        let count = locations.len();
        let mut assignment = Assignment::background(count);
        let mut smallest_area = vec![f32::INFINITY; count];
        for object in objects {
            let [x1, y1, x2, y2] = object.bbox;
            let area = (x2 - x1 + 1.0) * (y2 - y1 + 1.0);
            if !(area.is_finite() && x2 > x1 && y2 > y1) {
                continue;
            }
            let mut first = 0;
            for (level, grid) in locations.levels().iter().enumerate() {
                let region = match self.center_sampling_radius {
                    Some(radius) => center_region(object.bbox, radius * grid.stride as f32),
                    None => object.bbox,
                };
                let range = self.range(level);
                for index in cells_inside(grid, region) {
                    let [x, y] = grid.location(index);
                    let distances = [x - x1, y - y1, x2 - x, y2 - y];
                    let largest = distances.into_iter().fold(f32::MIN, f32::max);
                    let location = first + index;
                    if (range[0]..=range[1]).contains(&largest) && area < smallest_area[location] {
                        smallest_area[location] = area;
                        assignment.set(location, object);
                    }
                }
                first += grid.len();
            }
        }
        assignment
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locations::LocationRule;

    fn rule() -> AssignmentConfig {
        AssignmentConfig::new(vec![64.0, 128.0, 256.0, 512.0])
    }

    fn locations(height: usize, width: usize) -> Locations {
        Locations::new(
            [height, width],
            &[8, 16, 32, 64, 128],
            LocationRule::HalfStride,
        )
    }

    fn object(bbox: [f32; 4], label: usize) -> LabeledBox {
        LabeledBox { bbox, label }
    }

    /// The locations with this label, as `(level stride, [x, y])`.
    fn positives(
        assignment: &Assignment,
        locations: &Locations,
        label: i32,
    ) -> Vec<(usize, [f32; 2])> {
        locations
            .levels()
            .iter()
            .flat_map(|grid| (0..grid.len()).map(|index| (grid.stride, grid.location(index))))
            .zip(&assignment.labels)
            .filter(|(_, found)| **found == label)
            .map(|(place, _)| place)
            .collect()
    }

    #[test]
    fn locations_on_the_edge_of_a_box_are_outside() {
        let locations = locations(32, 32);
        let assignment = rule().assign(&[object([4.0, 4.0, 20.0, 12.5], 0)], &locations);
        // Columns 4 and 20 are on the sides of the box, row 4 on its top; 12 remains.
        assert_eq!(positives(&assignment, &locations, 0), [(8, [12.0, 12.0])]);
    }

    #[test]
    fn the_smallest_object_wins_and_the_first_of_equal_ones() {
        let locations = locations(32, 32);
        let large = object([0.0, 0.0, 30.0, 30.0], 0);
        let small = object([0.0, 0.0, 10.0, 10.0], 1);
        let twin = object([0.0, 0.0, 10.0, 10.0], 2);
        let assignment = rule().assign(&[large, small, twin], &locations);
        assert_eq!(positives(&assignment, &locations, 1), [(8, [4.0, 4.0])]);
        assert!(positives(&assignment, &locations, 2).is_empty());
        assert_eq!(positives(&assignment, &locations, 0).len(), 15);
    }

    #[test]
    fn ranges_include_both_ends() {
        let locations = locations(128, 256);
        // At (100, 4) on P3 the largest distance is exactly 64; at (104, 8) on P4
        // it is 68. The box is 8 pixels high, so that only rows 4 and 8 are inside.
        let bbox = [36.0, 0.5, 164.0, 8.5];
        let assignment = rule().assign(&[object(bbox, 0)], &locations);
        assert_eq!(
            positives(&assignment, &locations, 0),
            [
                (8, [100.0, 4.0]),
                (16, [40.0, 8.0]),
                (16, [56.0, 8.0]),
                (16, [72.0, 8.0]),
                (16, [88.0, 8.0]),
                (16, [104.0, 8.0]),
                (16, [120.0, 8.0]),
                (16, [136.0, 8.0]),
                (16, [152.0, 8.0]),
            ]
        );
        // One pixel wider on each side, and the largest distance at (100, 4) is 65.
        let assignment = rule().assign(&[object([35.0, 0.5, 165.0, 8.5], 0)], &locations);
        let positives = positives(&assignment, &locations, 0);
        assert!(!positives.is_empty());
        assert!(positives.iter().all(|(stride, _)| *stride == 16));
    }

    #[test]
    fn center_sampling_keeps_the_middle() {
        let locations = locations(64, 64);
        let bbox = [0.0, 0.0, 60.0, 20.0];
        let assignment = rule()
            .with_center_sampling_radius(Some(1.5))
            .assign(&[object(bbox, 0)], &locations);
        // A reach of 12 px around (30, 10): x in (18, 42), y in (0, 20) after clipping.
        let expected: Vec<_> = [4.0, 12.0]
            .into_iter()
            .flat_map(|y| [20.0, 28.0, 36.0].map(|x| (8, [x, y])))
            .collect();
        assert_eq!(positives(&assignment, &locations, 0), expected);
    }

    #[test]
    fn degenerate_boxes_and_empty_images_are_background() {
        let locations = locations(32, 32);
        let degenerate = [
            object([4.0, 4.0, 4.0, 20.0], 0),
            object([20.0, 4.0, 4.0, 20.0], 0),
            object([f32::NAN, 4.0, 14.0, 20.0], 0),
            object([f32::NEG_INFINITY, 0.0, f32::INFINITY, 20.0], 0),
        ];
        for objects in [&degenerate[..], &[]] {
            let assignment = rule().assign(objects, &locations);
            assert_eq!(assignment, Assignment::background(locations.len()));
        }
    }

    #[test]
    fn boxes_beyond_the_image_are_not_clipped() {
        let locations = locations(32, 32);
        let bbox = [-100.0, -100.0, 10.0, 10.0];
        let assignment = rule().assign(&[object(bbox, 5)], &locations);
        // The largest distance at (4, 4), 104 px, is in the range of P4, where it is 108
        // at the first location, (8, 8).
        assert_eq!(positives(&assignment, &locations, 5), [(16, [8.0, 8.0])]);
        assert_eq!(assignment.boxes[16], bbox);
    }

    #[test]
    fn bounds_are_one_less_than_levels_and_ascend() {
        assert_eq!(rule().validate(5), Ok(()));
        assert_eq!(AssignmentConfig::new(Vec::new()).validate(1), Ok(()));
        let error = rule().validate(4).map_err(|error| error.to_string());
        assert_eq!(
            error,
            Err(
                "range_bounds is [64.0, 128.0, 256.0, 512.0], but must be one bound less than \
                 the 4 levels"
                    .into()
            )
        );
        for bounds in [
            [0.0, 8.0],
            [8.0, 8.0],
            [8.0, f32::INFINITY],
            [f32::NAN, 8.0],
        ] {
            let rule = AssignmentConfig::new(bounds.to_vec());
            assert!(rule.validate(3).is_err(), "{bounds:?}");
        }
    }
}
