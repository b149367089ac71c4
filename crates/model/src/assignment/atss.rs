//! Adaptive training sample selection.

use std::ops::Range;

use fcos_burn_boxes::{LabeledBox, iou};
use fcos_burn_loss::ConfigError;
use serde::{Deserialize, Serialize};

use super::{
    geometry::{center, is_inside, with_area},
    rule::{Assignment, AssignmentRule},
};
use crate::locations::{LevelGrid, Locations};

/// IoUs that are equal but for rounding reach their mean.
const TOLERANCE: f64 = 1e-6;

/// ATSS ([Zhang et al., 2020](https://arxiv.org/abs/1912.02424), algorithm 1), which has no ranges
/// of sizes.
///
/// The candidates of an object are the `top_k` locations of each level that are closest to its
/// center. With a square anchor around every location, whose side is `anchor_scale` strides, the
/// object is assigned the candidates inside its box whose anchor has an IoU with it of at least the
/// mean plus the standard deviation over all candidates. A location that several objects claim goes
/// to the one with the highest IoU, and to the first among equals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AtssConfig {
    /// Candidates per level, at least 1; 9 in the paper.
    pub top_k: usize,
    /// Side of an anchor in strides; 8 in the paper.
    pub anchor_scale: f32,
}

impl Default for AtssConfig {
    fn default() -> Self {
        Self {
            top_k: 9,
            anchor_scale: 8.0,
        }
    }
}

impl AtssConfig {
    /// Sets [`top_k`](Self::top_k).
    #[must_use]
    pub fn with_top_k(self, top_k: usize) -> Self {
        Self { top_k, ..self }
    }

    /// Sets [`anchor_scale`](Self::anchor_scale).
    #[must_use]
    pub fn with_anchor_scale(self, anchor_scale: f32) -> Self {
        Self {
            anchor_scale,
            ..self
        }
    }

    /// Checks the values.
    ///
    /// # Errors
    ///
    /// The first invalid field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(self.top_k > 0, "top_k", self.top_k, "at least 1")?;
        let scale = self.anchor_scale;
        let holds = scale.is_finite() && scale > 0.0;
        ConfigError::ensure(holds, "anchor_scale", scale, "positive and finite")
    }

    /// The candidates of an object.
    fn candidates(&self, object: &LabeledBox, locations: &Locations) -> Vec<Candidate> {
        let center = center(object.bbox);
        let mut candidates = Vec::new();
        let mut first = 0;
        for grid in locations.levels() {
            let half = self.anchor_scale * grid.stride as f32 / 2.0;
            candidates.extend(nearest(grid, center, self.top_k).map(|index| {
                let [x, y] = grid.location(index);
                let anchor = [x - half, y - half, x + half, y + half];
                Candidate {
                    location: first + index,
                    inside: is_inside([x, y], object.bbox),
                    iou: iou(&anchor, &object.bbox),
                }
            }));
            first += grid.len();
        }
        candidates
    }
}

struct Candidate {
    location: usize,
    /// Whether it lies inside the object's box.
    inside: bool,
    /// The IoU of its anchor and the object's box.
    iou: f32,
}

/// The mean of the candidates' IoUs plus their standard deviation, that of a sample.
fn threshold(candidates: &[Candidate]) -> f64 {
    let ious = || candidates.iter().map(|candidate| f64::from(candidate.iou));
    let count = candidates.len() as f64;
    let mean = ious().sum::<f64>() / count;
    let squares: f64 = ious().map(|iou| (iou - mean).powi(2)).sum();
    mean + (squares / (count - 1.0).max(1.0)).sqrt()
}

impl AssignmentRule for AtssConfig {
    fn assign(&self, objects: &[LabeledBox], locations: &Locations) -> Assignment {
        let mut assignment = Assignment::background(locations.len());
        let mut highest = vec![f32::NEG_INFINITY; locations.len()];
        for (_, object) in with_area(objects) {
            let candidates = self.candidates(object, locations);
            let threshold = threshold(&candidates) - TOLERANCE;
            for Candidate {
                location,
                inside,
                iou,
            } in candidates
            {
                if inside && f64::from(iou) >= threshold && iou > highest[location] {
                    highest[location] = iou;
                    assignment.set(location, object);
                }
            }
        }
        assignment
    }
}

/// The `k` cells of `grid` whose locations are closest to `center`, and the first among equals.
fn nearest(grid: &LevelGrid, [x, y]: [f32; 2], k: usize) -> impl Iterator<Item = usize> {
    // They are among the k closest columns of the k closest rows.
    let columns = closest(x, grid.width, k, |index| grid.column(index));
    let rows = closest(y, grid.height, k, |index| grid.row(index));
    let square = |a: f32, b: f32| (f64::from(a) - f64::from(b)).powi(2);
    let mut cells: Vec<(f64, usize)> = rows
        .flat_map(|row| columns.clone().map(move |column| (row, column)))
        .map(|(row, column)| {
            let distance = square(grid.column(column), x) + square(grid.row(row), y);
            (distance, row * grid.width + column)
        })
        .collect();
    cells.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    cells.into_iter().take(k).map(|(_, index)| index)
}

/// The `k` indices below `count` whose ascending positions are closest to `target`, and the first
/// among equals.
fn closest(target: f32, count: usize, k: usize, position: impl Fn(usize) -> f32) -> Range<usize> {
    let distance = |index: usize| (position(index) - target).abs();
    let mut end = count;
    let mut start = 0;
    // The window shrinks from the side that is farther away.
    while end - start > k {
        match distance(start) > distance(end - 1) {
            true => start += 1,
            false => end -= 1,
        }
    }
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locations::LocationRule;

    #[test]
    fn the_nearest_cells_are_those_of_a_full_search() {
        for (size, rule) in [
            ([40, 72], LocationRule::HalfStride),
            ([37, 50], LocationRule::Torchvision),
            ([8, 8], LocationRule::HalfStride),
        ] {
            let locations = Locations::new(size, &[8], rule);
            let grid = &locations.levels()[0];
            // Between locations, on a location, and outside.
            for center in [[20.0, 16.0], [12.0, 20.0], [33.3, 7.1], [-50.0, 90.0]] {
                for k in [1, 4, 9, 1000] {
                    let distance = |index: &usize| {
                        let [x, y] = grid.location(*index);
                        (x - center[0]).powi(2) + (y - center[1]).powi(2)
                    };
                    let mut all: Vec<usize> = (0..grid.len()).collect();
                    all.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
                    all.truncate(k);
                    let found: Vec<usize> = nearest(grid, center, k).collect();
                    assert_eq!(found, all, "{size:?} {center:?} {k}");
                }
            }
        }
    }

    #[test]
    fn candidates_of_equal_iou_are_all_assigned() {
        // The object lies in the anchors of all nine locations, and three of these are inside it.
        let locations = Locations::new([24, 24], &[8], LocationRule::HalfStride);
        let object = LabeledBox {
            bbox: [2.1, 3.3, 20.7, 4.9],
            label: 0,
        };
        let assignment = AtssConfig::default().assign(&[object], &locations);
        assert_eq!(assignment.labels, [0, 0, 0, -1, -1, -1, -1, -1, -1]);
    }
}
