//! Tables of metrics, classes, confusions and kinds of errors.

use fcos_burn_eval::{
    Analysis, ClassPoints, CocoMetric, Evaluation,
    confusion_matrix::ConfusionMatrix,
    error_cost::{ErrorCost, ErrorKind},
};
use fcos_burn_page::{
    markup::swatch,
    text::{capitalized, grouped, line},
};
use maud::{Markup, html};

use super::{
    MAX_CLASSES,
    threshold::{COUNTS, Thresholds},
};

/// The largest number of classes of a confusion matrix.
const MAX_MATRIX: usize = 20;

/// The largest number of confusions of a class.
const MAX_CONFUSIONS: usize = 4;

/// COCO's metrics in percent, the correlations and the calibration error.
pub(super) fn metrics(evaluation: &Evaluation) -> Markup {
    let percents = CocoMetric::ALL.iter().map(|&metric| {
        let value = percent(evaluation.metric(metric));
        (metric.name(), meaning(metric), value)
    });
    let correlation = &evaluation.correlation;
    let others = [
        (
            "PCC",
            "Pearson's correlation of score and IoU",
            correlation.pearson,
        ),
        (
            "SCC",
            "Spearman's correlation of score and IoU",
            correlation.spearman,
        ),
        (
            "KCC",
            "Kendall's correlation of score and IoU",
            correlation.kendall,
        ),
        (
            "ECE",
            "calibration error of the scores as predictions of the IoU",
            evaluation.calibration_error,
        ),
    ];
    let others = others.map(|(name, meaning, value)| (name, meaning, decimal(value)));
    html! {
        dl.metrics { @for (name, meaning, value) in percents.chain(others) {
            div title=(meaning) { dt { (name) } dd { (value) } }
        } }
    }
}

/// What a metric measures.
pub(super) fn meaning(metric: CocoMetric) -> &'static str {
    match metric {
        CocoMetric::AP => "average precision at IoU 0.50 to 0.95",
        CocoMetric::AP50 => "average precision at IoU 0.50",
        CocoMetric::AP75 => "average precision at IoU 0.75",
        CocoMetric::AP90 => "average precision at IoU 0.90",
        CocoMetric::APS => "average precision of small objects",
        CocoMetric::APM => "average precision of medium objects",
        CocoMetric::APL => "average precision of large objects",
        CocoMetric::AR1 => "average recall with one detection per image",
        CocoMetric::AR10 => "average recall with 10 detections per image",
        CocoMetric::AR100 => "average recall with 100 detections per image",
        CocoMetric::ARS => "average recall of small objects",
        CocoMetric::ARM => "average recall of medium objects",
        CocoMetric::ARL => "average recall of large objects",
        _ => "",
    }
}

/// The classes of the table, each with its label if it has one. `names` are those of the labels.
pub(super) fn class_rows<'a>(
    analysis: &'a Analysis,
    names: &'a [String],
) -> impl Iterator<Item = (&'a ClassPoints, Option<usize>)> {
    let classes = analysis.operating_points.classes.iter().take(MAX_CLASSES);
    classes.map(|class| {
        let label = names
            .iter()
            .position(|name| Some(name) == class.class.as_ref());
        (class, label)
    })
}

/// The classes: AP, the threshold with the largest F1, what its objects are detected as, and the counts at the slider's
/// threshold. `names` are those of the labels.
pub(super) fn classes(
    evaluation: &Evaluation,
    analysis: &Analysis,
    thresholds: Option<&Thresholds>,
    names: &[String],
) -> Markup {
    let left_out = (analysis.operating_points.classes.len()).saturating_sub(MAX_CLASSES);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Classes" { table {
            thead { tr {
                th scope="col" { "Class" } th scope="col" { "Objects" } th scope="col" { "AP" }
                th scope="col" { "Best score ≥" } th scope="col" { "Best F1" }
                @if thresholds.is_some() { @for count in COUNTS { th scope="col" { (capitalized(count)) } } }
                th.text scope="col" { "Detected as" }
            } }
            tbody { @for (class, label) in class_rows(analysis, names) {
                @let name = class.class.as_deref().unwrap_or_default();
                tr {
                    th.name scope="row" { @if let Some(label) = label { (swatch(label)) } (line(name)) }
                    td { (grouped(class.objects)) }
                    td { (percent(evaluation.class_ap.get(name).copied())) }
                    td { @match class.best_f1 { Some(best) => (best.threshold), None => "–" } }
                    td { (percent(class.best_f1.and_then(|best| best.f1))) }
                    @if let Some(thresholds) = thresholds { (thresholds.cells(label)) }
                    td.text { (row(&analysis.confusion_matrix, name)) }
                }
            } }
        } }
        @if left_out > 0 { p.quiet { "… " (grouped(left_out)) " more" } }
    }
}

/// What the objects of a class are detected as, most frequent first.
fn row(matrix: &ConfusionMatrix, class: &str) -> String {
    let counts = matrix.counts.iter();
    let mut counts: Vec<_> = counts
        .filter(|cell| cell.object.as_deref() == Some(class))
        .collect();
    counts.sort_by_key(|cell| std::cmp::Reverse(cell.count));
    let rest: usize = counts
        .iter()
        .skip(MAX_CONFUSIONS)
        .map(|cell| cell.count)
        .sum();
    let cells = counts.iter().take(MAX_CONFUSIONS).map(|cell| {
        let detected = cell.detected.as_deref().map_or("missed".to_owned(), line);
        format!("{detected} {}", grouped(cell.count))
    });
    let mut cells: Vec<String> = cells.collect();
    if rest > 0 {
        cells.push(format!("others {}", grouped(rest)));
    }
    cells.join(", ")
}

/// The confusion matrix, if it is neither trivial nor too large.
pub(super) fn confusions(analysis: &Analysis) -> Markup {
    let matrix = &analysis.confusion_matrix;
    let classes: Vec<Option<&str>> = matrix
        .classes
        .iter()
        .map(|class| Some(class.as_str()))
        .collect();
    if !(2..=MAX_MATRIX).contains(&classes.len()) {
        return html! {};
    }
    let with_background = || classes.iter().copied().chain([None]);
    let largest = |object: Option<&str>| {
        let cells = with_background().map(|detected| matrix.count(object, detected));
        cells.max().unwrap_or(0).max(1)
    };
    let shade = |object, detected| {
        let share = 100 * matrix.count(object, detected) / largest(object);
        format!("--share:{share}%")
    };
    html! {
        h3 { "Confusion matrix" }
        p.quiet { "Objects by row, detections by column" (at_threshold(analysis)) ". The shade is the share of the row's largest count." }
        div.scroll tabindex="0" role="region" aria-label="Confusion matrix" { table.matrix {
            thead { tr {
                th scope="col" { "Object" }
                @for class in &classes { th scope="col" { (line(class.unwrap_or_default())) } }
                th scope="col" { "missed" }
            } }
            tbody { @for object in with_background() { tr {
                th.name scope="row" { (object.map_or("background".to_owned(), line)) }
                @for detected in with_background() {
                    @if object.is_none() && detected.is_none() { td {} }
                    @else { td.cell style=(shade(object, detected)) { (grouped(matrix.count(object, detected))) } }
                }
            } } }
        } }
    }
}

/// The kinds of errors and what each costs.
pub(super) fn errors(analysis: &Analysis) -> Markup {
    let errors = &analysis.errors;
    let cost = format!("AP{:.0} cost", 100.0 * analysis.iou_threshold);
    let row = |name: &str, error: &ErrorCost| {
        html! {
            tr {
                th scope="row" { (name) }
                td { (grouped(error.count_at_threshold)) }
                td { (grouped(error.count)) }
                td { (percent(Some(error.ap_cost))) }
            }
        }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Errors" { table {
            thead { tr {
                th scope="col" { "Errors" }
                th scope="col" { "Score ≥ " (analysis.score_threshold.unwrap_or(0.0)) }
                th scope="col" { "Any score" }
                th scope="col" { (cost) }
            } }
            tbody {
                @for (kind, error) in &errors.kinds { (row(kind_name(*kind), error)) }
                (row("All false positives", &errors.false_positives))
                (row("All missed objects", &errors.false_negatives))
            }
        } }
    }
}

fn kind_name(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Classification => "Wrong class",
        ErrorKind::Localization => "Badly placed",
        ErrorKind::Both => "Wrong class and badly placed",
        ErrorKind::Duplicate => "Duplicate",
        ErrorKind::Background => "On background",
        ErrorKind::Missed => "Missed, with no detection near",
        _ => "Other",
    }
}

fn at_threshold(analysis: &Analysis) -> String {
    match analysis.score_threshold {
        Some(threshold) => format!(", at a score of at least {threshold}"),
        None => String::new(),
    }
}

/// A fraction in percent, or a dash.
pub(super) fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "–".to_owned(), |value| format!("{:.1}", 100.0 * value))
}

/// A number with three decimals, or a dash.
pub(super) fn decimal(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}
