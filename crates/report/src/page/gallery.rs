//! The costliest errors as pictures.

use std::collections::{BTreeMap, BTreeSet};

use fcos_burn_boxes::iou;
use fcos_burn_eval::{
    error_case::{ErrorCase, error_cases},
    error_cost::ErrorKind,
};
use fcos_burn_page::{
    Photos,
    markup::color,
    text::{counted, grouped, line},
};
use maud::{Markup, html};

use super::boxes::{Overlay, Picture, Request, TRUTH, limits, read};
use crate::examined::Examined;

/// The largest number of pictures of a kind.
const PER_KIND: usize = 12;

/// The kinds in the order of the page, each with its title and what it means.
const KINDS: [(ErrorKind, &str, &str); 6] = [
    (
        ErrorKind::Background,
        "False positives",
        "Detections where there is no object: the IoU with every object is at most 0.1.",
    ),
    (
        ErrorKind::Missed,
        "Missed objects",
        "Objects that no detection finds, and none would if its class or its box were corrected.",
    ),
    (
        ErrorKind::Classification,
        "Confusions",
        "Detections with the box of an object of another class.",
    ),
    (
        ErrorKind::Localization,
        "Badly placed boxes",
        "Detections of the right class whose box is too far off.",
    ),
    (
        ErrorKind::Duplicate,
        "Duplicates",
        "Further detections of an object that one with a higher score finds.",
    ),
    (
        ErrorKind::Both,
        "Wrong class and badly placed",
        "Detections near an object of another class, or between objects.",
    ),
];

/// The costliest errors of each kind.
pub(super) struct Gallery<'a> {
    examined: &'a Examined<'a>,
    threshold: f32,
    /// The number of images with errors.
    images: usize,
    kinds: Vec<Kind>,
}

struct Kind {
    title: &'static str,
    meaning: &'static str,
    /// The number of errors of the kind.
    count: usize,
    shown: Vec<(ErrorCase, Result<Picture, String>)>,
}

impl<'a> Gallery<'a> {
    pub fn new(examined: &'a Examined<'a>, threshold: f32, photos: &mut Photos) -> Self {
        let mut cases = BTreeMap::<ErrorKind, Vec<ErrorCase>>::new();
        let mut images = BTreeSet::new();
        for case in error_cases(&examined.matching, threshold) {
            images.insert(case.image);
            cases.entry(case.kind).or_default().push(case);
        }
        let of_kind = |(kind, title, meaning)| {
            let cases = cases.remove(&kind).unwrap_or_default();
            let chosen = &cases[..cases.len().min(PER_KIND)];
            let requests = chosen.iter().map(|case| request(examined, case));
            let pictures = read(examined.dataset, &requests.collect::<Vec<_>>(), photos);
            Kind {
                title,
                meaning,
                count: cases.len(),
                shown: chosen.iter().copied().zip(pictures).collect(),
            }
        };
        Self {
            examined,
            threshold,
            images: images.len(),
            kinds: KINDS.map(of_kind).into(),
        }
    }

    pub fn markup(&self) -> Markup {
        let classes = self.examined.matching.classes();
        let shown = self.kinds.iter().flat_map(|kind| &kind.shown);
        let labels: BTreeSet<usize> = shown.map(|(case, _)| case.label).collect();
        html! {
            p {
                (grouped(self.images)) " of " (counted(self.examined.dataset.len(), "image"))
                " have errors. Errors are those at the run's score threshold, ordered by cost: the rise in AP if this error alone \
                 were corrected, in points. The slider hides and shows detections. " (limits())
            }
            (legend(&[LINES[0], LINES[1], SUBJECT]))
            div.filters hidden {
                label { "Kind " select id="kind" {
                    option value="" { "all" }
                    @for (index, kind) in self.kinds.iter().enumerate().filter(|(_, kind)| kind.count > 0) {
                        option value=(index) { (kind.title) }
                    }
                } }
                label { "Class " select id="class" {
                    option value="" { "all" }
                    @for label in labels { option value=(label) { (line(&classes[label])) } }
                } }
                span id="shown" role="status" {}
            }
            @for (index, kind) in self.kinds.iter().enumerate() { (self.kind(index, kind)) }
        }
    }

    fn kind(&self, index: usize, kind: &Kind) -> Markup {
        let count = match kind.shown.len() {
            shown if shown < kind.count => {
                format!("the {shown} costliest of {}", grouped(kind.count))
            }
            0 => "none".to_owned(),
            _ => grouped(kind.count),
        };
        html! {
            div.kind data-kind=(index) {
                h3 { (kind.title) ": " (count) }
                p.quiet { (kind.meaning) }
                div.pictures { @for (case, picture) in &kind.shown { (self.case(case, picture)) } }
            }
        }
    }

    fn case(&self, case: &ErrorCase, picture: &Result<Picture, String>) -> Markup {
        let examined = self.examined;
        let file = line(&examined.dataset.images()[case.image].file_name);
        let matches = &examined.matching.images()[case.image];
        let what = line(&self.what(case));
        let score = case.detection.map(|row| matches.detections[row].score);
        // A missed object is found once the slider is at or below the score of the detection that finds it.
        let found_at = match (case.detection, case.object) {
            (None, Some(object)) => {
                matches.found_by[object].map(|row| matches.detections[row].score)
            }
            _ => None,
        };
        let overlay = Overlay {
            matches,
            classes: examined.matching.classes(),
            run: 0,
            threshold: self.threshold,
            subject: [case.object, case.detection],
        };
        html! {
            figure.case data-label=(case.label) data-score=[score] data-found=[found_at] {
                @match picture {
                    Ok(picture) => (overlay.svg(picture, &format!("{file}: {what}"))),
                    Err(cause) => div.gone { (line(cause)) },
                }
                figcaption {
                    (what) br;
                    span.quiet { (file) " · costs " (cost(case.cost)) }
                    span.note hidden { @if score.is_some() { "below the threshold" } @else { "found at this threshold" } }
                }
            }
        }
    }

    /// The error in words.
    fn what(&self, case: &ErrorCase) -> String {
        let matching = &self.examined.matching;
        let matches = &matching.images()[case.image];
        let name = |label: usize| matching.classes()[label].as_str();
        let object = case.object.map(|object| &matches.objects[object]);
        let of_object = object.map_or("object", |object| name(object.label));
        let Some(row) = case.detection else {
            let found = case.object.and_then(|object| matches.found_by[object]);
            return match found {
                Some(row) => format!(
                    "{of_object} found only with {:.2}",
                    matches.detections[row].score
                ),
                None => format!("{of_object} missed"),
            };
        };
        let detection = &matches.detections[row];
        let found = format!("{} {:.2}", name(detection.label), detection.score);
        let overlap = object.map_or(0.0, |object| iou(&detection.bbox, &object.bbox.to_xyxy()));
        match case.kind {
            ErrorKind::Classification => format!("{found} on {of_object}, IoU {overlap:.2}"),
            ErrorKind::Localization => format!("{found}, IoU {overlap:.2} with {of_object}"),
            ErrorKind::Duplicate => format!("{found}, second on {of_object}"),
            ErrorKind::Both => format!("{found} beside an object"),
            _ => format!("{found} on background"),
        }
    }
}

fn request(examined: &Examined<'_>, case: &ErrorCase) -> Request {
    let matches = &examined.matching.images()[case.image];
    let object = case
        .object
        .map(|object| matches.objects[object].bbox.to_xyxy());
    let detection = case.detection.map(|row| matches.detections[row].bbox);
    Request {
        image: case.image,
        around: object.into_iter().chain(detection).collect(),
    }
}

/// What the lines on pictures mean.
pub(super) const LINES: [(&str, &str); 2] = [
    ("truth", "ground truth, dashed"),
    ("found", "detection, in the color of its class"),
];

/// What further lines in the gallery mean.
const SUBJECT: (&str, &str) = ("found subject", "thick: the box concerned");

/// The legend of lines, each with the class of its boxes.
pub(super) fn legend(lines: &[(&str, &str)]) -> Markup {
    let stroke = |class: &str| match class {
        "truth" => TRUTH.to_owned(),
        _ => color(1),
    };
    html! {
        ul.legend { @for (class, meaning) in lines { li {
            svg.key.photo viewBox="0 0 36 20" aria-hidden="true" {
                g class=(class) {
                    rect.under x="3" y="3" width="30" height="14" {}
                    rect.over x="3" y="3" width="30" height="14" stroke=(stroke(class)) {}
                }
            }
            (meaning)
        } } }
    }
}

fn cost(cost: f64) -> String {
    match 100.0 * cost {
        points if points >= 0.005 => format!("{points:.2} AP"),
        _ => "less than 0.01 AP".to_owned(),
    }
}
