//! Sliders for the score threshold, and the counts that follow them.

use fcos_burn_eval::{matching::Matching, operating_point::ScoreCurve};
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
    /// By label.
    classes: Vec<Counts>,
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
        let mut thresholds: Vec<f32> = (0..=100_u8)
            .map(|percent| f32::from(percent) / 100.0)
            .collect();
        let start = thresholds.partition_point(|&threshold| threshold < score_threshold);
        if thresholds.get(start) != Some(&score_threshold) {
            thresholds.insert(start, score_threshold);
        }
        let counts = |curve: &ScoreCurve| {
            let points: Vec<_> = thresholds.iter().map(|&at| curve.at(at)).collect();
            Counts {
                objects: curve.objects(),
                correct: points.iter().map(|point| point.true_positives).collect(),
                wrong: points.iter().map(|point| point.false_positives).collect(),
            }
        };
        Self {
            run,
            start,
            all: counts(&ScoreCurve::of(matching)),
            classes: ScoreCurve::by_class(matching).iter().map(counts).collect(),
            thresholds,
        }
    }

    /// A slider with its counts. The script fills them in, and shows the slider.
    pub fn slider(&self, name: &str) -> Markup {
        let id = format!("threshold-{}", self.run);
        let start = self.thresholds[self.start];
        html! {
            div.slider {
                label for=(id) { (name) }
                input id=(id) type="range" min="0" max=(self.thresholds.len() - 1) step="1" value=(self.start) data-run=(self.run);
                output for=(id) { (start) }
                button type="button" data-run=(self.run) { "Reset to " (start) }
                span.counts { @for (index, count) in COUNTS.iter().enumerate() {
                    @if index > 0 { " · " }
                    (count) " " b data-run=(self.run) data-count=(count) { (self.all.text(count, self.start)) }
                } }
            }
        }
    }

    /// Cells of a table with the [`COUNTS`] of a class.
    pub fn cells(&self, label: usize) -> Markup {
        html! {
            @for count in COUNTS {
                td data-run=(self.run) data-label=(label) data-count=(count) {
                    @if let Some(class) = self.classes.get(label) { (class.text(count, self.start)) }
                }
            }
        }
    }
}

/// What the counts at a threshold show.
pub(super) const COUNTS: [&str; 6] = ["found", "wrong", "missed", "precision", "recall", "F1"];

impl Counts {
    /// One of the [`COUNTS`] at the threshold with this index, as the script writes it, too.
    fn text(&self, count: &str, index: usize) -> String {
        let (correct, wrong) = (self.correct[index], self.wrong[index]);
        let percent = |part: usize, whole: usize| match whole {
            0 => "–".to_owned(),
            whole => format!("{:.1}%", 100.0 * part as f64 / whole as f64),
        };
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
