//! How runs differ: metrics, classes, configurations, images.

use std::collections::{BTreeMap, BTreeSet};

use fcos_burn_eval::CocoMetric;
use fcos_burn_page::{
    Photos,
    text::{grouped, line},
};
use maud::{Markup, html};
use serde_json::Value;

use super::{
    MAX_CLASSES,
    boxes::{Overlay, Request, limits, read},
    tables::{meaning, percent},
};
use crate::comparison::{Comparison, Examinee};

/// The largest number of images.
const IMAGES: usize = 12;

/// The largest number of differences between configurations.
const MAX_VALUES: usize = 100;

/// The metrics of all runs, with the differences from the first and their intervals.
pub(super) fn metrics(comparison: &Comparison<'_>) -> Markup {
    let runs = &comparison.runs;
    let (first, others) = match runs.split_first() {
        Some(split) => split,
        None => return html! {},
    };
    let value = |run: &Examinee<'_>, metric| run.run.evaluation.metric(metric);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Metrics" { table {
            thead { tr {
                th scope="col" { "Metric" }
                th scope="col" { (line(&first.run.name)) }
                @for run in others {
                    th scope="col" { (line(&run.run.name)) }
                    th.text scope="col" { "difference" }
                }
            } }
            tbody { @for &metric in CocoMetric::ALL { tr title=(meaning(metric)) {
                th scope="row" { (metric.name()) }
                td { (percent(value(first, metric))) }
                @for run in others {
                    td { (percent(value(run, metric))) }
                    td.text { (difference(value(run, metric), value(first, metric), run.intervals.get(&metric))) }
                }
            } } }
        } }
    }
}

/// `+1.2 [0.3, 2.0] better`, in percentage points.
fn difference(value: Option<f64>, base: Option<f64>, interval: Option<&[f64; 2]>) -> Markup {
    let (Some(value), Some(base)) = (value, base) else {
        return html! { "–" };
    };
    let points = |value: f64| format!("{:+.1}", 100.0 * value).replace('-', "−");
    let verdict = match interval {
        Some([low, _]) if *low > 0.0 => "better",
        Some([_, high]) if *high < 0.0 => "worse",
        _ => "",
    };
    html! {
        (points(value - base))
        @if let Some([low, high]) = interval { " [" (points(*low)) ", " (points(*high)) "]" }
        @if !verdict.is_empty() { " " strong class=(verdict) { (verdict) } }
    }
}

/// AP of each class by run.
pub(super) fn classes(comparison: &Comparison<'_>) -> Markup {
    let runs = &comparison.runs;
    let names: BTreeSet<&String> = (runs.iter())
        .flat_map(|run| run.run.evaluation.class_ap.keys())
        .collect();
    html! {
        div.scroll tabindex="0" role="region" aria-label="AP of the classes" { table {
            thead { tr {
                th scope="col" { "Class" }
                @for run in runs { th scope="col" { (line(&run.run.name)) } }
            } }
            tbody { @for name in names.iter().take(MAX_CLASSES) { tr {
                th.name scope="row" { (line(name)) }
                @for run in runs { td { (percent(run.run.evaluation.class_ap.get(*name).copied())) } }
            } } }
        } }
        @if names.len() > MAX_CLASSES { p.quiet { "… " (grouped(names.len() - MAX_CLASSES)) " more" } }
    }
}

/// The values of the configurations that differ.
pub(super) fn configurations(comparison: &Comparison<'_>) -> Markup {
    let runs = &comparison.runs;
    let mut values = BTreeMap::<String, Vec<Option<String>>>::new();
    for (place, run) in runs.iter().enumerate() {
        flatten("", &run.run.config, &mut |path, value| {
            values.entry(path).or_insert_with(|| vec![None; runs.len()])[place] = Some(value);
        });
    }
    values.retain(|_, values| values.iter().any(|value| *value != values[0]));
    html! {
        @if values.is_empty() { p.quiet { "The configurations are equal." } }
        @else { div.scroll tabindex="0" role="region" aria-label="Configurations" { table {
            thead { tr {
                th scope="col" { "Value" }
                @for run in runs { th scope="col" { (line(&run.run.name)) } }
            } }
            tbody { @for (path, values) in values.iter().take(MAX_VALUES) { tr {
                th.name scope="row" { (line(path)) }
                @for value in values { td.value { (value.as_deref().map_or("–".to_owned(), line)) } }
            } } }
        } } }
        @if values.len() > MAX_VALUES { p.quiet { "… " (grouped(values.len() - MAX_VALUES)) " more" } }
    }
}

/// The values of a configuration by path, as in `data.val_split`.
fn flatten(path: &str, value: &Value, add: &mut impl FnMut(String, String)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                flatten(&path, value, add);
            }
        }
        Value::String(text) => add(path.to_owned(), text.clone()),
        value => add(path.to_owned(), value.to_string()),
    }
}

/// The images on which the numbers of errors differ most, with the boxes of each run.
pub(super) fn images(comparison: &Comparison<'_>, photos: &mut Photos) -> Markup {
    let runs = &comparison.runs;
    let Some(first) = runs.first() else {
        return html! {};
    };
    let dataset = first.examined.dataset;
    // Wrong detections and objects that are not found.
    let counts = |image: usize| -> Vec<[usize; 2]> {
        let of_run = |run: &Examinee<'_>| {
            let matches = &run.examined.matching.images()[image];
            let threshold = run.score_threshold();
            [
                matches.wrong(threshold).count(),
                matches.not_found(threshold).count(),
            ]
        };
        runs.iter().map(of_run).collect()
    };
    let spread = |image: usize| {
        let totals = counts(image)
            .into_iter()
            .map(|[wrong, not_found]| wrong + not_found);
        let (low, high) = totals.fold((usize::MAX, 0), |(low, high), total| {
            (low.min(total), high.max(total))
        });
        high.saturating_sub(low)
    };
    let mut images: Vec<(usize, usize)> = (0..dataset.len())
        .map(|image| (spread(image), image))
        .filter(|(spread, _)| *spread > 0)
        .collect();
    images.sort_by_key(|(spread, image)| (std::cmp::Reverse(*spread), *image));
    let differing = images.len();
    images.truncate(IMAGES);
    let requests = images.iter().map(|&(_, image)| Request {
        image,
        around: Vec::new(),
    });
    let pictures = read(dataset, &requests.collect::<Vec<_>>(), photos);
    html! {
        p {
            "The number of errors differs on " (grouped(differing)) " of " (grouped(dataset.len())) " images."
            @if !images.is_empty() { " " (limits()) }
            @if differing > images.len() { " Those with the largest differences:" }
        }
        div.groups { @for ((_, image), picture) in images.iter().zip(&pictures) {
            @let file = line(&dataset.images()[*image].file_name);
            div {
                h3 { (file) }
                div.pictures { @for (place, (run, [wrong, not_found])) in runs.iter().zip(counts(*image)).enumerate() {
                    @let name = line(&run.run.name);
                    @let overlay = Overlay {
                        matches: &run.examined.matching.images()[*image],
                        classes: run.examined.matching.classes(),
                        run: place,
                        threshold: run.score_threshold(),
                        subject: [None; 2],
                    };
                    figure {
                        @match picture {
                            Ok(picture) => (overlay.svg(picture, &format!("{file} with the boxes of {name}"))),
                            Err(cause) => div.gone { (line(cause)) },
                        }
                        figcaption { (name) br; span.quiet { (wrong) " wrong, " (not_found) " not found at its own threshold" } }
                    }
                } }
            }
        } }
    }
}
