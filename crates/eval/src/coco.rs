//! COCO metrics computed by hotcoco.

use std::collections::{HashMap, HashSet};

use hotcoco::{COCO, COCOeval, EvalReport, params::IouType};

use crate::{CocoMetric, CocoMetrics, CocoResult, EvaluationError};

/// Evaluates `results` against the ground truth.
pub(crate) fn coco_report(
    mut truth: hotcoco::Dataset,
    results: &[CocoResult],
) -> Result<EvalReport, EvaluationError> {
    // A NaN is an error even in a class that is not evaluated.
    if let Some(result) = results.iter().find(|result| result.score.is_nan()) {
        return Err(EvaluationError::NotANumber {
            image_id: result.image_id,
        });
    }
    // Before classes are left out, so that a class has the same name everywhere.
    let categories = truth.categories.iter();
    let names = unique_names(categories.map(|category| (category.id, category.name.as_str())));
    for (category, name) in truth.categories.iter_mut().zip(names) {
        category.name = name;
    }
    // Classes without objects do not affect the metrics, but hotcoco allocates memory for them.
    let objects = truth.annotations.iter();
    let occurring: HashSet<u64> = objects.map(|object| object.category_id).collect();
    if occurring.is_empty() {
        truth.categories.truncate(1);
    } else {
        truth
            .categories
            .retain(|category| occurring.contains(&category.id));
    }
    let evaluated: HashSet<u64> = truth
        .categories
        .iter()
        .map(|category| category.id)
        .collect();
    let truth = COCO::from_dataset(truth);
    let results = (results.iter()).filter(|result| evaluated.contains(&result.category_id));
    let annotations = results.map(|result| hotcoco::Annotation {
        image_id: result.image_id,
        category_id: result.category_id,
        bbox: Some(result.bbox),
        score: Some(result.score),
        ..Default::default()
    });
    let results = truth
        .load_res_anns(annotations.collect())
        .map_err(evaluator_error)?;
    let mut evaluator = COCOeval::new(truth, results, IouType::Bbox);
    evaluator.evaluate().map_err(evaluator_error)?;
    evaluator.accumulate();
    // The report needs the summary. `summarize` would also print it.
    evaluator.summarize_lines();
    evaluator.report().map_err(evaluator_error)
}

fn evaluator_error(error: hotcoco::Error) -> EvaluationError {
    EvaluationError::Evaluator(error.into())
}

/// The names of categories. The id is appended to names that are empty or shared by several categories, because metrics
/// are reported by name; if that is the name of another one, or if ids are shared, the place in the list, too.
pub(crate) fn unique_names<'a>(
    categories: impl IntoIterator<Item = (u64, &'a str)>,
) -> Vec<String> {
    let (mut suffixes, mut names): (Vec<u64>, Vec<String>) = categories
        .into_iter()
        .map(|(id, name)| (id, name.to_owned()))
        .unzip();
    loop {
        let mut count = HashMap::<String, usize>::new();
        for name in &names {
            *count.entry(name.clone()).or_default() += 1;
        }
        let is_unique = |name: &String| !name.is_empty() && count[name] == 1;
        if names.iter().all(is_unique) {
            return names;
        }
        for (suffix, name) in suffixes.iter().zip(&mut names) {
            if !is_unique(name) {
                *name = format!("{name} ({suffix})").trim_start().to_owned();
            }
        }
        suffixes = (0..names.len() as u64).collect();
    }
}

/// All COCO metrics of a report. hotcoco marks undefined ones by −1.
pub(crate) fn metrics(report: &EvalReport) -> CocoMetrics {
    let defined = |value: f64| (value >= 0.0).then_some(value);
    let ap90 = curve(report, "0.90")
        .map(|precision| precision.iter().sum::<f64>() / precision.len() as f64)
        .and_then(defined);
    CocoMetric::ALL
        .iter()
        .map(|&metric| {
            let value = match metric.key() {
                Some(key) => report.metrics.get(key).copied().and_then(defined),
                None => ap90,
            };
            (metric, value)
        })
        .collect()
}

/// Precision by recall at an IoU threshold such as `0.50`.
pub(crate) fn curve<'a>(report: &'a EvalReport, threshold: &str) -> Option<&'a Vec<f64>> {
    report.curves.get(&format!("pr@{threshold}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{
        DetectionDataset,
        shapes::{ShapesConfig, ShapesSplit},
    };

    use super::*;

    #[test]
    fn names_are_unique_even_if_one_looks_like_another_with_its_id() {
        let names = unique_names([(1, "cup"), (3, "cup"), (4, "cup (3)"), (5, ""), (6, "pen")]);
        let expected = ["cup (1)", "cup (3) (1)", "cup (3) (2)", "(5)", "pen"];
        assert_eq!(names, expected);
        let of_one_id = unique_names([(1, "cup"), (1, "cup")]);
        assert_eq!(of_one_id, ["cup (1) (0)", "cup (1) (1)"]);
        assert!(unique_names([]).is_empty());
    }

    #[test]
    fn shared_class_names_get_the_id_and_classes_without_objects_are_left_out() {
        let shapes = ShapesConfig::default().with_val_images(4);
        let dataset = DetectionDataset::shapes(&shapes, ShapesSplit::Val).unwrap();
        let mut truth = dataset.to_coco();
        let results: Vec<CocoResult> = (truth.annotations.iter())
            .map(|annotation| CocoResult {
                image_id: annotation.image_id,
                category_id: annotation.category_id,
                bbox: annotation.bbox.unwrap(),
                score: 0.9,
            })
            .collect();
        let occurring: HashSet<u64> = (results.iter()).map(|result| result.category_id).collect();
        for category in &mut truth.categories {
            category.name = "thing".to_owned();
        }
        // Evaluating all of these would run out of memory.
        truth
            .categories
            .extend((100..200_000).map(|id| hotcoco::Category {
                id,
                name: format!("class {id}"),
                ..Default::default()
            }));
        let report = coco_report(truth, &results).unwrap();
        let names: HashSet<String> = report.per_class.keys().cloned().collect();
        let expected = occurring.iter().map(|id| format!("thing ({id})"));
        assert_eq!(names, expected.collect());
        assert!((metrics(&report)[&CocoMetric::AP].unwrap() - 1.0).abs() < 1e-6);
    }
}
