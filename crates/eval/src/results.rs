//! Conversion of detections from and to the COCO results format.

use std::collections::{BTreeMap, HashMap};

pub use fcos_burn_boxes::CocoResult;

use fcos_burn_boxes::{BoundingBox, Detection};
use fcos_burn_data::{Category, DetectionDataset};

use crate::EvaluationError;

/// Converts detections to the COCO results format. `detections` pairs the index of an image in
/// `dataset` with the detections in it, whose boxes are in pixels of the original image.
///
/// # Errors
///
/// Fails if an image index or a label is out of range.
pub fn results(
    dataset: &DetectionDataset,
    detections: &[(usize, Vec<Detection>)],
) -> Result<Vec<CocoResult>, EvaluationError> {
    let mut results = Vec::new();
    for (image, detections) in detections {
        let image_id = dataset.record(*image)?.id;
        for detection in detections {
            results.push(CocoResult {
                image_id,
                category_id: category(dataset, detection.label)?.id,
                bbox: BoundingBox::from_xyxy(detection.bbox).to_xywh(),
                score: detection.score.into(),
            });
        }
    }
    Ok(results)
}

/// The category of a label.
pub(crate) fn category(
    dataset: &DetectionDataset,
    label: usize,
) -> Result<&Category, EvaluationError> {
    let categories = dataset.categories();
    categories
        .get(label)
        .ok_or_else(|| EvaluationError::UnknownLabel {
            label,
            dataset: dataset.name().to_owned(),
            classes: categories.len(),
        })
}

/// The inverse of [`results()`]: pairs the index of an image in `dataset` with the detections in
/// it, by ascending index. Images without results are left out.
///
/// # Errors
///
/// Fails if the id of an image or a category is not in the data set.
pub fn detections(
    dataset: &DetectionDataset,
    results: &[CocoResult],
) -> Result<Vec<(usize, Vec<Detection>)>, EvaluationError> {
    let ids = dataset.images().iter().map(|image| image.id);
    let places: HashMap<u64, usize> = ids.zip(0..).collect();
    let categories = dataset.categories().iter().map(|category| category.id);
    let labels: HashMap<u64, usize> = categories.zip(0..).collect();
    let unknown = |kind, id| EvaluationError::UnknownId {
        kind,
        id,
        dataset: dataset.name().to_owned(),
    };
    let mut found = BTreeMap::<usize, Vec<Detection>>::new();
    for result in results {
        let place = places.get(&result.image_id);
        let place = place.ok_or_else(|| unknown("image", result.image_id))?;
        let label = labels.get(&result.category_id);
        let label = label.ok_or_else(|| unknown("category", result.category_id))?;
        found.entry(*place).or_default().push(Detection {
            bbox: BoundingBox::from_xywh(result.bbox).to_xyxy(),
            label: *label,
            score: result.score as f32,
        });
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};

    use super::*;

    #[test]
    fn results_and_detections_convert_both_ways() {
        let shapes = ShapesConfig::default().with_val_images(2);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let found = vec![(
            1,
            vec![Detection {
                bbox: [1.0, 2.0, 5.5, 8.0],
                label: 3,
                score: 0.25,
            }],
        )];
        let written = results(&dataset, &found).unwrap();
        assert_eq!(detections(&dataset, &written).unwrap(), found);
        let of_unknown_category = CocoResult {
            category_id: 99,
            ..written[0].clone()
        };
        let error = detections(&dataset, &[of_unknown_category]).unwrap_err();
        assert!(error.to_string().contains("category id 99"), "{error}");
    }
}
