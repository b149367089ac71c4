//! Two custom assignment rules: one uses only the objects, the other also the predictions of the
//! step.

use std::sync::Arc;

use fcos_burn::{
    boxes::{LabeledBox, iou},
    model::{
        ImagePredictions,
        assignment::{Assignment, AssignmentRule, PredictionAssignmentRule},
        locations::Locations,
    },
    prelude::*,
};

/// Assigns to each object the locations inside its box that are nearest to its center.
#[derive(Debug)]
struct Nearest {
    count: usize,
}

impl AssignmentRule for Nearest {
    fn assign(&self, objects: &[LabeledBox], locations: &Locations) -> Assignment {
        let mut assignment = Assignment::background(locations.len());
        for object in objects {
            let [x1, y1, x2, y2] = object.bbox;
            let distance = |[x, y]: [f32; 2]| (x - (x1 + x2) / 2.0).hypot(y - (y1 + y2) / 2.0);
            assign_best(
                self.count,
                object,
                locations,
                &mut assignment,
                |_, location| -distance(location),
            );
        }
        assignment
    }
}

/// Assigns to each object the locations inside its box with the best-aligned predictions: the score
/// of its class times the IoU to the sixth power, as in TOOD (Feng et al., 2021).
#[derive(Debug)]
struct TaskAligned {
    count: usize,
}

impl PredictionAssignmentRule for TaskAligned {
    fn assign(
        &self,
        objects: &[LabeledBox],
        locations: &Locations,
        predictions: &ImagePredictions<'_>,
    ) -> Assignment {
        let mut assignment = Assignment::background(locations.len());
        for object in objects {
            let alignment = |index: usize, _| {
                let logit = predictions.class_logits(index)[object.label];
                let score = 1.0 / (1.0 + (-logit).exp());
                score * iou(&predictions.boxes()[index], &object.bbox).powi(6)
            };
            assign_best(self.count, object, locations, &mut assignment, alignment);
        }
        assignment
    }
}

/// Assigns to `object` the locations inside its box with the highest `value`.
fn assign_best(
    count: usize,
    object: &LabeledBox,
    locations: &Locations,
    assignment: &mut Assignment,
    value: impl Fn(usize, [f32; 2]) -> f32,
) {
    let [x1, y1, x2, y2] = object.bbox;
    let inside = |[x, y]: [f32; 2]| x1 < x && x < x2 && y1 < y && y < y2;
    let candidates = locations
        .iter()
        .enumerate()
        .filter(|(_, location)| inside(*location));
    let mut ranked: Vec<(f32, usize)> = candidates
        .map(|(index, location)| (value(index, location), index))
        .collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, index) in ranked.into_iter().take(count) {
        assignment.set(index, object);
    }
}

fn main() -> Result<(), fcos_burn::train::Error> {
    let nearest = Trainer::new().with_assignment(Arc::new(Nearest { count: 9 }));
    nearest.train(RunConfig::small(), "runs/nearest")?;
    let aligned = Trainer::new().with_prediction_assignment(Arc::new(TaskAligned { count: 9 }));
    aligned.train(RunConfig::small(), "runs/task-aligned")?;
    Ok(())
}

#[cfg(test)]
mod tests;
