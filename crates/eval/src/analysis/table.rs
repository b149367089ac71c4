//! The analysis as text.

use super::{Analysis, ClassPoints};
use crate::{
    confusion_matrix::ConfusionMatrix,
    error_cost::{ErrorCost, ErrorKind},
    operating_point::OperatingPoint,
    text_table::aligned,
};

/// The matrix is printed for at most this many classes.
const MAX_CLASSES: usize = 10;

/// The most confusions that are listed if the matrix is not printed.
const MAX_CONFUSIONS: usize = 10;

/// The maximum width of a class name, in characters: of a row and of a column.
const ROW_NAME: usize = 40;
const COLUMN_NAME: usize = 12;

impl Analysis {
    /// Tables for the terminal, in percent: operating points, classes (if there are several), kinds of errors, and
    /// the confusion matrix or the most frequent confusions. Undefined values are shown as a dash.
    pub fn table(&self) -> String {
        let mut tables = vec![self.points_table()];
        if self.operating_points.classes.len() > 1 {
            tables.push(self.class_table());
        }
        tables.push(self.error_table());
        tables.extend(self.confusion_table());
        tables.join("\n")
    }

    /// `score ≥ 0.42`, the condition for the counts.
    fn condition(&self) -> String {
        match self.score_threshold {
            Some(threshold) => format!("score ≥ {}", score(threshold)),
            None => "any score".to_owned(),
        }
    }

    fn points_table(&self) -> String {
        let points = &self.operating_points;
        let all = &points.all;
        let wanted = format!("precision ≥ {}", points.target_precision);
        let mut rows = vec![(wanted.as_str(), all.at_target_precision)];
        rows.insert(0, ("largest F1", all.best_f1));
        if all.best_f1.map(|best| best.threshold) != self.score_threshold {
            rows.insert(0, ("score threshold", Some(all.at_score_threshold)));
        }
        let at_iou = format!("At IoU {}", self.iou_threshold);
        let mut table = vec![cells([
            at_iou.as_str(),
            "score ≥",
            "precision",
            "recall",
            "F1",
        ])];
        for (name, point) in rows {
            let threshold = point.map(|point| score(point.threshold));
            let row = [name.to_owned(), threshold.unwrap_or_else(dash)].into_iter();
            table.push(row.chain(quality(point)).collect());
        }
        aligned(&table)
    }

    fn class_table(&self) -> String {
        let condition = format!("At {}", self.condition());
        let header = [
            condition.as_str(),
            "objects",
            "found",
            "precision",
            "recall",
            "F1",
        ];
        let best = ["largest F1", "at score ≥"];
        let mut table = vec![cells(header.into_iter().chain(best))];
        for class in &self.operating_points.classes {
            let point = class.at_score_threshold;
            let best = class.best_f1;
            let mut row = vec![
                name_of(class),
                class.objects.to_string(),
                point.true_positives.to_string(),
            ];
            row.extend(quality(Some(point)));
            row.push(percent(best.and_then(|best| best.f1)));
            row.push(best.map_or_else(dash, |best| score(best.threshold)));
            table.push(row);
        }
        aligned(&table)
    }

    fn error_table(&self) -> String {
        let errors = &self.errors;
        let cost = format!("AP{:.0} cost", 100.0 * self.iou_threshold);
        let mut table = vec![cells([
            "Errors",
            self.condition().as_str(),
            "any score",
            cost.as_str(),
        ])];
        let mut row = |name: &str, error: &ErrorCost| {
            table.push(vec![
                name.to_owned(),
                error.count_at_threshold.to_string(),
                error.count.to_string(),
                percent(Some(error.ap_cost)),
            ]);
        };
        for (kind, error) in &errors.kinds {
            row(description(*kind), error);
        }
        row("all false positives", &errors.false_positives);
        row("all false negatives", &errors.false_negatives);
        aligned(&table)
    }

    fn confusion_table(&self) -> Option<String> {
        let matrix = &self.confusion_matrix;
        match matrix.classes.len() {
            0 | 1 => None,
            2..=MAX_CLASSES => Some(matrix_table(matrix, &self.condition())),
            _ => confusion_list(matrix, &self.condition()),
        }
    }
}

fn description(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Classification => "wrong class",
        ErrorKind::Localization => "badly placed",
        ErrorKind::Both => "wrong class and badly placed",
        ErrorKind::Duplicate => "duplicate",
        ErrorKind::Background => "background",
        ErrorKind::Missed => "missed object",
    }
}

fn matrix_table(matrix: &ConfusionMatrix, condition: &str) -> String {
    let classes = || matrix.classes.iter().map(String::as_str);
    let short = |name: &str| shortened(name, COLUMN_NAME);
    let mut header = vec![format!("Objects detected as ({condition})")];
    header.extend(classes().map(short));
    header.push("missed".to_owned());
    let mut table = vec![header];
    for object in classes().map(Some).chain([None]) {
        let detected = classes().map(Some).chain(object.map(|_| None));
        let mut row =
            vec![object.map_or("background".to_owned(), |name| shortened(name, ROW_NAME))];
        row.extend(detected.map(|detected| matrix.count(object, detected).to_string()));
        table.push(row);
    }
    aligned(&table)
}

fn confusion_list(matrix: &ConfusionMatrix, condition: &str) -> Option<String> {
    let mut table = vec![cells([
        &*format!("Most frequent confusions ({condition})"),
        "count",
    ])];
    for confusion in matrix.confusions().into_iter().take(MAX_CONFUSIONS) {
        let [object, detected] = [&confusion.object, &confusion.detected]
            .map(|name| shortened(name.as_deref().unwrap_or_default(), ROW_NAME));
        table.push(vec![
            format!("{object} detected as {detected}"),
            confusion.count.to_string(),
        ]);
    }
    (table.len() > 1).then(|| aligned(&table))
}

fn name_of(class: &ClassPoints) -> String {
    shortened(class.class.as_deref().unwrap_or_default(), ROW_NAME)
}

/// Precision, recall and F1 in percent.
fn quality(point: Option<OperatingPoint>) -> [String; 3] {
    let value = |value: fn(OperatingPoint) -> Option<f64>| percent(point.and_then(value));
    [
        value(|point| point.precision),
        value(|point| point.recall),
        value(|point| point.f1),
    ]
}

fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(dash, |fraction| format!("{:.1}", 100.0 * fraction))
}

/// A score with all of its decimals, at least two.
fn score(score: f32) -> String {
    let short = format!("{score:.2}");
    match short.parse() == Ok(score) {
        true => short,
        false => score.to_string(),
    }
}

fn dash() -> String {
    "–".to_owned()
}

/// The name without control characters, cut off after `width` characters.
fn shortened(name: &str, width: usize) -> String {
    let mut name: Vec<char> = name.replace(char::is_control, " ").chars().collect();
    if name.len() > width {
        name.truncate(width - 1);
        name.push('…');
    }
    name.into_iter().collect()
}

fn cells<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}
