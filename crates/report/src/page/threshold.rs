//! Sliders for the score threshold, and the counts that follow them.

use std::collections::BTreeMap;

use fcos_burn_eval::{
    matching::Matching,
    operating_point::{ScoreCurve, score_thresholds},
};
use maud::{Markup, html};
use serde::Serialize;

/// The counts of a run at the thresholds that its slider can choose.
#[derive(Serialize)]
pub(super) struct Thresholds {
    #[serde(skip)]
    run: usize,
    /// Ascending: 0.00, 0.01, … 1.00, and the threshold of the run.
    thresholds: Vec<f32>,
    /// The index of the threshold of the run.
    start: usize,
    all: Counts,
    /// By label, of the classes in a table.
    classes: BTreeMap<usize, Counts>,
}

/// What the thresholds keep.
#[derive(Serialize)]
struct Counts {
    objects: usize,
    /// The number of detections that find an object, by threshold.
    correct: Vec<usize>,
    /// The number of wrong detections, by threshold.
    wrong: Vec<usize>,
}

impl Thresholds {
    pub fn new(run: usize, matching: &Matching, score_threshold: f32) -> Self {
        let mut thresholds = score_thresholds();
        let start = thresholds.partition_point(|&threshold| threshold < score_threshold);
        if thresholds.get(start) != Some(&score_threshold) {
            thresholds.insert(start, score_threshold);
        }
        Self {
            run,
            start,
            all: Counts::new(&ScoreCurve::of(matching), &thresholds),
            classes: BTreeMap::new(),
            thresholds,
        }
    }

    /// Adds the counts of these classes.
    pub fn with_classes(mut self, matching: &Matching, labels: &[usize]) -> Self {
        let curves = ScoreCurve::by_class(matching);
        for &label in labels {
            if let Some(curve) = curves.get(label) {
                let counts = Counts::new(curve, &self.thresholds);
                self.classes.insert(label, counts);
            }
        }
        self
    }

    /// A slider with its counts, which follow it.
    pub fn slider(&self, name: &str) -> Markup {
        let id = format!("threshold-{}", self.run);
        let start = self.thresholds[self.start];
        html! {
            div.slider {
                label for=(id) { (name) }
                input id=(id) type="range" min="0" max=(self.thresholds.len() - 1) step="1" value=(self.start) data-run=(self.run);
                output for=(id) aria-live="off" { (start) }
                button type="button" data-run=(self.run) { "Reset to " (start) }
                span.counts { @for (index, count) in COUNTS.iter().enumerate() {
                    @if index > 0 { " · " }
                    (count) " " b data-run=(self.run) data-count=(count) { (self.all.text(count, self.start)) }
                } }
            }
        }
    }

    /// Cells of a table with the [`COUNTS`] of a class; an empty one as wide if there are none.
    pub fn cells(&self, label: Option<usize>) -> Markup {
        let counted = label.and_then(|label| self.classes.get_key_value(&label));
        html! {
            @match counted {
                Some((label, class)) => @for count in COUNTS {
                    td data-run=(self.run) data-label=(label) data-count=(count) { (class.text(count, self.start)) }
                },
                None => td colspan=(COUNTS.len()) {},
            }
        }
    }
}

/// What the counts at a threshold show.
pub(super) const COUNTS: [&str; 6] = ["found", "wrong", "missed", "precision", "recall", "F1"];

impl Counts {
    fn new(curve: &ScoreCurve, thresholds: &[f32]) -> Self {
        let points: Vec<_> = thresholds.iter().map(|&at| curve.at(at)).collect();
        Self {
            objects: curve.objects(),
            correct: points.iter().map(|point| point.true_positives).collect(),
            wrong: points.iter().map(|point| point.false_positives).collect(),
        }
    }

    /// One of the [`COUNTS`] at the threshold with this index, as the script writes it, too.
    fn text(&self, count: &str, index: usize) -> String {
        let (correct, wrong) = (self.correct[index], self.wrong[index]);
        match count {
            "found" => correct.to_string(),
            "wrong" => wrong.to_string(),
            "missed" => self.objects.saturating_sub(correct).to_string(),
            "precision" => percent(correct, correct + wrong),
            "recall" => percent(correct, self.objects),
            _ => percent(2 * correct, correct + wrong + self.objects),
        }
    }
}

/// A percentage with one decimal, or a dash. In integers, which the script rounds in the same way.
fn percent(part: usize, whole: usize) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = (2000 * part + whole) / (2 * whole);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_half_up() {
        let texts = [(0, 0), (0, 7), (1, 3), (1, 2000), (1, 2001), (7, 7)];
        let texts = texts.map(|(part, whole)| percent(part, whole));
        assert_eq!(texts, ["–", "0.0%", "33.3%", "0.1%", "0.0%", "100.0%"]);
    }
}
