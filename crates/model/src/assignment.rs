//! Target assignment: which location learns which object (FCOS, section 3.1).
//!
//! Runs on the host, so that a loader's workers can do it off the device's path.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::pyramid::{LEVELS, LevelGrid, Locations};

/// The label of a location that learns no object.
pub const BACKGROUND: i32 = -1;

/// Rules of the assignment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssignmentConfig {
    /// The four bounds in pixels between the five levels' ranges of
    /// max(l, t, r, b), ascending. Both ends of a range are inclusive; the first
    /// range starts below 0 and the last has no end.
    pub range_bounds: [f32; LEVELS - 1],
    /// Centre sampling: only locations within this many strides of the object's
    /// centre, in each direction, are candidates. `None` takes the whole box.
    pub center_sampling_radius: Option<f32>,
}

impl AssignmentConfig {
    fn range(&self, level: usize) -> [f32; 2] {
        let lower = match level {
            0 => -1.0,
            _ => self.range_bounds[level - 1],
        };
        let upper = self
            .range_bounds
            .get(level)
            .copied()
            .unwrap_or(f32::INFINITY);
        [lower, upper]
    }
}

/// What each location learns, in the order of [`Locations`].
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    /// The class of the object, 0-based, or [`BACKGROUND`].
    pub labels: Vec<i32>,
    /// The box of the object, `[x1, y1, x2, y2]` in pixels; zeros for background.
    pub boxes: Vec<[f32; 4]>,
}

/// Assigns `objects`, pairs of a box `[x1, y1, x2, y2]` in pixels and a 0-based
/// class, to `locations`.
///
/// A location is a candidate for an object if it lies strictly inside its box
/// (with centre sampling: also strictly inside the centre region) and if the
/// largest of its four distances falls into its level's range. Of several
/// candidates the object with the smallest area wins, the earlier one where areas
/// are equal. As in the original code, sides are a pixel longer in an area than in a
/// box, which tells apart boxes of one area: the rounder one is smaller. Boxes without
/// a positive, finite area are nobody's.
///
/// ```
/// use fcos_burn_model::{
///     assignment::{AssignmentConfig, assign},
///     pyramid::{LocationRule, Locations},
/// };
///
/// let locations = Locations::new([64, 64], LocationRule::HalfStride);
/// let config = AssignmentConfig {
///     range_bounds: [64.0, 128.0, 256.0, 512.0],
///     center_sampling_radius: None,
/// };
/// let assignment = assign(&[([2.0, 2.0, 14.0, 9.0], 3)], &locations, &config);
/// // Only the locations (4, 4) and (12, 4) of P3 lie inside.
/// assert_eq!(assignment.labels[..2], [3, 3]);
/// assert_eq!(assignment.labels.iter().filter(|&&label| label >= 0).count(), 2);
/// ```
pub fn assign(
    objects: &[([f32; 4], usize)],
    locations: &Locations,
    config: &AssignmentConfig,
) -> Assignment {
    let count = locations.len();
    let mut assignment = Assignment {
        labels: vec![BACKGROUND; count],
        boxes: vec![[0.0; 4]; count],
    };
    let mut smallest_area = vec![f32::INFINITY; count];
    for &(bbox, label) in objects {
        let [x1, y1, x2, y2] = bbox;
        let area = (x2 - x1 + 1.0) * (y2 - y1 + 1.0);
        if !(area.is_finite() && x2 > x1 && y2 > y1) {
            continue;
        }
        let mut first = 0;
        for (level, grid) in locations.levels().iter().enumerate() {
            let region = match config.center_sampling_radius {
                Some(radius) => center_region(bbox, radius * grid.stride as f32),
                None => bbox,
            };
            let range = config.range(level);
            for index in cells_inside(grid, region) {
                let [x, y] = grid.location(index);
                let distances = [x - x1, y - y1, x2 - x, y2 - y];
                let largest = distances.into_iter().fold(f32::MIN, f32::max);
                let slot = first + index;
                if (range[0]..=range[1]).contains(&largest) && area < smallest_area[slot] {
                    smallest_area[slot] = area;
                    assignment.labels[slot] = label as i32;
                    assignment.boxes[slot] = bbox;
                }
            }
            first += grid.len();
        }
    }
    assignment
}

/// The square of half side `reach` around the centre of `bbox`, clipped to `bbox`.
fn center_region([x1, y1, x2, y2]: [f32; 4], reach: f32) -> [f32; 4] {
    let center_x = (x1 + x2) / 2.0;
    let center_y = (y1 + y2) / 2.0;
    [
        (center_x - reach).max(x1),
        (center_y - reach).max(y1),
        (center_x + reach).min(x2),
        (center_y + reach).min(y2),
    ]
}

/// The indices of the cells of `grid` whose location lies strictly inside `region`.
fn cells_inside(
    grid: &LevelGrid,
    [x1, y1, x2, y2]: [f32; 4],
) -> impl Iterator<Item = usize> + use<> {
    let columns = strictly_between(x1, x2, grid.width, |index| grid.column(index));
    let width = grid.width;
    strictly_between(y1, y2, grid.height, |index| grid.row(index))
        .flat_map(move |row| columns.clone().map(move |column| row * width + column))
}

/// The indices below `count` whose ascending positions lie between `low` and `high`.
fn strictly_between(
    low: f32,
    high: f32,
    count: usize,
    position: impl Fn(usize) -> f32,
) -> Range<usize> {
    let start = (0..count).take_while(|&i| position(i) <= low).count();
    let end = (0..count).take_while(|&i| position(i) < high).count();
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pyramid::LocationRule;

    fn config(center_sampling_radius: Option<f32>) -> AssignmentConfig {
        AssignmentConfig {
            range_bounds: [64.0, 128.0, 256.0, 512.0],
            center_sampling_radius,
        }
    }

    fn locations(height: usize, width: usize) -> Locations {
        Locations::new([height, width], LocationRule::HalfStride)
    }

    /// The locations that `label` got, as `(level stride, [x, y])`.
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
    fn a_location_on_the_edge_is_outside() {
        let locations = locations(32, 32);
        let assignment = assign(&[([4.0, 4.0, 20.0, 12.5], 0)], &locations, &config(None));
        // Columns 4 and 20 lie on the box's sides, row 4 on its top; 12 remains.
        assert_eq!(positives(&assignment, &locations, 0), [(8, [12.0, 12.0])]);
    }

    #[test]
    fn the_smaller_object_wins_and_the_first_of_equals() {
        let locations = locations(32, 32);
        let large = ([0.0, 0.0, 30.0, 30.0], 0);
        let small = ([0.0, 0.0, 10.0, 10.0], 1);
        let twin = ([0.0, 0.0, 10.0, 10.0], 2);
        let assignment = assign(&[large, small, twin], &locations, &config(None));
        assert_eq!(positives(&assignment, &locations, 1), [(8, [4.0, 4.0])]);
        assert!(positives(&assignment, &locations, 2).is_empty());
        assert_eq!(positives(&assignment, &locations, 0).len(), 15);
    }

    #[test]
    fn ranges_include_both_ends() {
        let locations = locations(128, 256);
        // At (100, 4) on P3 the largest distance is exactly 64; at (104, 8) on P4
        // it is 68. The box is 8 px high, so that rows 4 and 8 hold all.
        let bbox = [36.0, 0.5, 164.0, 8.5];
        let assignment = assign(&[(bbox, 0)], &locations, &config(None));
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
        // One pixel more to the left, and (100, 4) has 65 as its largest distance.
        let assignment = assign(&[([35.0, 0.5, 165.0, 8.5], 0)], &locations, &config(None));
        assert!(
            positives(&assignment, &locations, 0)
                .iter()
                .all(|(stride, _)| *stride == 16)
        );
    }

    #[test]
    fn centre_sampling_keeps_the_middle() {
        let locations = locations(64, 64);
        let bbox = [0.0, 0.0, 60.0, 20.0];
        let assignment = assign(&[(bbox, 0)], &locations, &config(Some(1.5)));
        // Reach 12 px around (30, 10): x in (18, 42), y in (0, 20) after clipping.
        let expected: Vec<_> = [4.0, 12.0]
            .into_iter()
            .flat_map(|y| [20.0, 28.0, 36.0].map(|x| (8, [x, y])))
            .collect();
        assert_eq!(positives(&assignment, &locations, 0), expected);
    }

    #[test]
    fn boxes_without_area_and_empty_scenes_are_background() {
        let locations = locations(32, 32);
        let scene = [
            ([4.0, 4.0, 4.0, 20.0], 0),
            ([20.0, 4.0, 4.0, 20.0], 0),
            ([f32::NAN, 4.0, 14.0, 20.0], 0),
            ([f32::NEG_INFINITY, 0.0, f32::INFINITY, 20.0], 0),
        ];
        for objects in [&scene[..], &[]] {
            let assignment = assign(objects, &locations, &config(None));
            assert!(assignment.labels.iter().all(|&label| label == BACKGROUND));
            assert_eq!(assignment.labels.len(), locations.len());
        }
    }

    #[test]
    fn boxes_beyond_the_image_are_cut_by_the_grid_only() {
        let locations = locations(32, 32);
        let bbox = [-100.0, -100.0, 10.0, 10.0];
        let assignment = assign(&[(bbox, 5)], &locations, &config(None));
        // The largest distance, 104 px at (4, 4), belongs to P4, whose first
        // location (8, 8) has 108.
        assert_eq!(positives(&assignment, &locations, 5), [(16, [8.0, 8.0])]);
        assert_eq!(assignment.boxes[16], bbox);
    }
}
