//! The pages: valid, self-contained, safe with hostile names, and the same for the same run.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use fcos_burn_boxes::{BoundingBox, Detection};
use fcos_burn_data::{
    Category, DataError, DetectionDataset, ImageRecord, ImageSource, Object, RgbImage,
    shapes::{ShapesConfig, ShapesSplit},
};
use fcos_burn_eval::{Analysis, AnalysisConfig, CocoResult, Evaluation, results};
use fcos_burn_plot::{LineChart, Series};
use fcos_burn_report::{
    Comparison, Epoch, Provenance, Report, ReportError, RunSummary, Session, SplitCounts,
};
use html5ever::{parse_document, tendril::TendrilSink};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

const HOSTILE: &str =
    "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{2028}\u{2029}&amp;\\";

/// Gray images, the second of which cannot be read.
#[derive(Debug)]
struct Gray(Vec<(u32, u32)>);

impl ImageSource for Gray {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        let (width, height) = self.0[index];
        match index {
            1 => Err(DataError::image_source(HOSTILE, HOSTILE)),
            _ => Ok(RgbImage::new(width, height)),
        }
    }
}

fn hostile() -> DetectionDataset {
    let object =
        |label, [x1, y1, x2, y2]: [f32; 4]| Object::new(0, BoundingBox::new(x1, y1, x2, y2), label);
    let objects = vec![
        object(0, [10.0, 10.0, 40.0, 40.0]),
        object(1, [50.0, 50.0, 90.0, 70.0]),
    ];
    let record = |id, objects| ImageRecord::new(id, HOSTILE, 120, 90).with_objects(objects);
    let images = vec![
        record(1, objects.clone()),
        record(2, objects),
        record(3, Vec::new()),
    ];
    let source = Gray(vec![(120, 90); 3]);
    let classes = Category::list([HOSTILE, "other"]);
    DetectionDataset::new(HOSTILE, classes, images, source).unwrap()
}

/// A correct box, a confusion, a badly placed one, a duplicate, and one on the background.
fn found() -> Vec<(usize, Vec<Detection>)> {
    let detection = |label, bbox, score| Detection { bbox, label, score };
    let of_image = vec![
        detection(0, [10.0, 10.0, 40.0, 40.0], 0.9),
        detection(0, [11.0, 10.0, 41.0, 40.0], 0.8),
        detection(0, [50.0, 50.0, 90.0, 70.0], 0.7),
        detection(1, [70.0, 50.0, 110.0, 70.0], 0.6),
        detection(1, [0.0, 80.0, 5.0, 85.0], 0.5),
    ];
    vec![(0, of_image.clone()), (1, of_image)]
}

fn run(
    name: &str,
    dataset: &DetectionDataset,
    found: &[(usize, Vec<Detection>)],
) -> (RunSummary, Vec<CocoResult>) {
    let config = AnalysisConfig::default().with_score_threshold(Some(0.445));
    let mut provenance = Provenance::default();
    provenance.sessions = vec![Session::here(vec![HOSTILE.to_owned()], 2, 3)];
    provenance.splits = vec![SplitCounts::of(HOSTILE, dataset)];
    let curve = LineChart {
        title: "Loss".to_owned(),
        series: vec![Series {
            name: HOSTILE.to_owned(),
            points: vec![(1.0, 0.5), (2.0, f64::NAN), (3.0, 0.25)],
        }],
        ..LineChart::default()
    };
    let epoch = Epoch {
        epoch: 1,
        seconds: 3.0,
        ap: None,
    };
    let summary = RunSummary::new(name, Evaluation::new(dataset, found).unwrap())
        .with_analysis(Some(Analysis::new(dataset, found, &config).unwrap()))
        .with_epochs(vec![epoch], Some(1))
        .with_curves(vec![curve])
        .with_config(serde_json::json!({ HOSTILE: HOSTILE }))
        .with_provenance(Some(provenance))
        .with_warnings(Ok(vec![HOSTILE.to_owned()]));
    (summary, results(dataset, found).unwrap())
}

fn report<'a>(
    name: &str,
    dataset: &'a DetectionDataset,
    found: &[(usize, Vec<Detection>)],
) -> Report<'a> {
    let (summary, results) = run(name, dataset, found);
    Report::new(summary, Ok(dataset), results).unwrap()
}

/// An element: its name, its attributes and its text.
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn get(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    fn has_class(&self, class: &str) -> bool {
        let mut classes = self.get("class").unwrap_or_default().split(' ');
        classes.any(|other| other == class)
    }
}

fn collect(node: &Handle, found: &mut Vec<Element>) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let attributes = attrs.borrow();
        let attributes = attributes
            .iter()
            .map(|of| (of.name.local.to_string(), of.value.to_string()));
        let children = node.children.borrow();
        let text = children.iter().filter_map(|child| match &child.data {
            NodeData::Text { contents } => Some(contents.borrow().to_string()),
            _ => None,
        });
        found.push(Element {
            name: name.local.to_string(),
            attributes: attributes.collect(),
            text: text.collect(),
        });
    }
    for child in node.children.borrow().iter() {
        collect(child, found);
    }
}

/// The elements of a valid page that loads nothing and runs only its own script.
fn checked(html: &str) -> Vec<Element> {
    let document = parse_document(RcDom::default(), Default::default()).one(html);
    assert!(document.errors.borrow().is_empty(), "{:?}", document.errors);
    let mut found = Vec::new();
    collect(&document.document, &mut found);
    let ids: Vec<&str> = found.iter().filter_map(|of| of.get("id")).collect();
    let unique: HashSet<&str> = ids.iter().copied().collect();
    assert_eq!(ids.len(), unique.len(), "{ids:?}");
    for element in &found {
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on"), "{name}");
            match name.as_str() {
                "src" | "srcset" | "data" => panic!("{name}: {value}"),
                "href" => assert!(
                    value.starts_with("data:image/jpeg;base64,")
                        || value
                            .strip_prefix('#')
                            .is_some_and(|id| unique.contains(id)),
                    "{value}"
                ),
                "for" | "aria-labelledby" => {
                    assert!(value.split(' ').all(|id| unique.contains(id)), "{value}");
                }
                _ => {}
            }
        }
        if element.name == "svg" {
            let is_named = element
                .get("aria-label")
                .is_some_and(|label| !label.is_empty())
                || element.get("aria-labelledby").is_some();
            let is_hidden = element.get("aria-hidden") == Some("true");
            assert!(is_named || is_hidden, "an image without a text");
        }
    }
    let scripts: Vec<_> = found.iter().filter(|of| of.name == "script").collect();
    assert_eq!(scripts.len(), 2);
    let _: serde_json::Value = serde_json::from_str(&scripts[0].text).unwrap();
    assert_eq!(
        scripts[1].text.trim(),
        include_str!("../src/page/script.js").trim()
    );
    found
}

#[test]
fn a_report_with_hostile_names_is_valid_and_self_contained() {
    let dataset = hostile();
    let html = report(HOSTILE, &dataset, &found()).html().unwrap();
    let elements = checked(&html);
    assert!(elements.iter().all(|of| of.name != "img"));
    let count = |check: &dyn Fn(&Element) -> bool| elements.iter().filter(|of| check(of)).count();
    // Two images with a confusion, a badly placed box, a duplicate and a box on the background each.
    assert_eq!(count(&|of| of.has_class("case")), 8);
    assert_eq!(count(&|of| of.has_class("gone")), 4);
    // The slider starts at the threshold of the run, between 0.44 and 0.45.
    let slider = elements.iter().find(|of| of.get("type") == Some("range"));
    assert_eq!(slider.unwrap().get("value"), Some("45"));
    assert!(html.contains("Reset to 0.445"));
}

#[test]
fn detections_below_the_threshold_are_hidden() {
    let dataset = hostile();
    let mut found = found();
    found[0].1[4].score = 0.3;
    let html = report("run", &dataset, &found).html().unwrap();
    let elements = checked(&html);
    let boxes: Vec<_> = elements.iter().filter(|of| of.has_class("found")).collect();
    let scored = boxes.iter().filter_map(|of| {
        let score: f64 = of.get("data-score")?.parse().ok()?;
        Some((score, of.has_class("below")))
    });
    let scored: Vec<(f64, bool)> = scored.collect();
    assert!(scored.iter().any(|(_, is_below)| *is_below));
    for (score, is_below) in scored {
        assert_eq!(is_below, score < 0.445, "{score}");
    }
}

#[test]
fn without_the_data_the_report_says_why_and_has_no_pictures() {
    let dataset = hostile();
    let (summary, results) = run("run", &dataset, &found());
    let html = |dataset, results| {
        let report = Report::new(summary.clone(), dataset, results);
        report.unwrap().html().unwrap()
    };
    let missing = html(Err("the folder is gone".to_owned()), results.clone());
    let unknown = CocoResult {
        image_id: 77,
        ..results[0].clone()
    };
    for (html, cause) in [
        (missing, "the folder is gone"),
        (html(Ok(&dataset), vec![unknown]), "image id 77"),
    ] {
        let elements = checked(&html);
        assert!(html.contains(cause));
        assert!(
            elements
                .iter()
                .all(|of| of.name != "image" && !of.has_class("case"))
        );
        assert!(html.contains("Confusion matrix"));
    }
}

#[test]
fn runs_are_compared_on_the_same_data_only() {
    let dataset = hostile();
    let mut better = found();
    for (_, detections) in &mut better {
        detections.truncate(1);
    }
    let reports = || {
        let other = report("other </script>", &dataset, &better);
        vec![report(HOSTILE, &dataset, &found()), other]
    };
    let comparison = Comparison::new(reports(), 20).unwrap();
    let html = comparison.html().unwrap();
    let elements = checked(&html);
    let sliders = elements.iter().filter(|of| of.get("type") == Some("range"));
    assert_eq!(sliders.count(), 2);
    assert_eq!(
        html,
        Comparison::new(reports(), 20).unwrap().html().unwrap()
    );

    let config = ShapesConfig::default().with_val_images(3);
    let shapes = DetectionDataset::shapes(&config, ShapesSplit::Val).unwrap();
    let other = report("shapes", &shapes, &[]);
    let error = Comparison::new(vec![report("run", &dataset, &found()), other], 20).unwrap_err();
    assert!(
        matches!(error, ReportError::NotComparable { .. }),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with("run and shapes cannot be compared")
    );

    let (summary, results) = run("gone", &dataset, &found());
    let gone = Report::new(summary, Err("no folder".to_owned()), results).unwrap();
    let error = Comparison::new(vec![gone], 20).unwrap_err();
    assert_eq!(error.to_string(), "gone cannot be compared: no folder");
}

/// The evaluation of a run can be replaced by one of other detections, by hand or by another command.
#[test]
fn detections_that_are_not_those_of_the_evaluation_are_not_examined() {
    let dataset = hostile();
    let (summary, results) = run("run", &dataset, &found());
    let mut fewer = results.clone();
    fewer.pop();
    let mut worse = results.clone();
    // The correct box with the highest score finds nothing any more.
    worse[0].bbox = [60.0, 5.0, 5.0, 5.0];
    let cause = |results| {
        let report = Report::new(summary.clone(), Ok(&dataset), results).unwrap();
        Comparison::new(vec![report], 20)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    assert_eq!(cause(results), Ok(()));
    let error = cause(fewer).unwrap_err();
    assert!(
        error.contains("10 detections in 3 images") && error.contains("9 detections"),
        "{error}"
    );
    let error = cause(worse).unwrap_err();
    assert!(
        error.contains("other detections than the results: AP"),
        "{error}"
    );
}

#[test]
fn runs_whose_detections_were_matched_at_other_ious_are_not_compared() {
    let dataset = hostile();
    let (summary, results) = run("strict", &dataset, &found());
    let config = AnalysisConfig::default().with_iou_threshold(0.75);
    let analysis = Analysis::new(&dataset, &found(), &config).unwrap();
    let strict = Report::new(summary.with_analysis(Some(analysis)), Ok(&dataset), results).unwrap();
    let reports = vec![report("run", &dataset, &found()), strict];
    let error = Comparison::new(reports, 20).unwrap_err().to_string();
    assert!(error.contains("IoU of 0.5 and of 0.75"), "{error}");
}

/// A run that is compared with itself shows no difference.
#[test]
fn a_run_does_not_differ_from_itself() {
    let dataset = hostile();
    let reports = vec![
        report("one", &dataset, &found()),
        report("two", &dataset, &found()),
    ];
    let html = Comparison::new(reports, 20).unwrap().html().unwrap();
    assert!(html.contains("+0.0 [+0.0, +0.0]"));
    assert!(!html.contains("better<") && !html.contains("worse<"));
    assert!(html.contains("The number of errors differs on 0 of 3 images."));
}

#[test]
fn a_crowded_picture_shows_the_box_concerned() {
    let dataset = hostile();
    let detection = |label, score| Detection {
        bbox: [10.0, 10.0, 40.0, 40.0],
        label,
        score,
    };
    let scores = (0..100_u8).map(|index| 0.9 - 0.001 * f32::from(index));
    let mut crowd: Vec<Detection> = scores.map(|score| detection(0, score)).collect();
    crowd.push(detection(1, 0.5));
    let html = report("run", &dataset, &[(0, crowd)]).html().unwrap();
    let elements = checked(&html);
    let cases = elements.iter().filter(|of| of.has_class("case"));
    let wrong = cases.clone().filter(|of| of.get("data-score").is_some());
    let boxes = elements.iter().filter(|of| of.has_class("found"));
    let boxes: Vec<_> = boxes.filter(|of| of.get("data-score").is_some()).collect();
    let subjects: Vec<_> = boxes.iter().filter(|of| of.has_class("subject")).collect();
    assert_eq!(subjects.len(), wrong.count());
    assert!(
        subjects
            .iter()
            .any(|of| of.get("data-score") == Some("0.5"))
    );
    assert!(boxes.len() <= 60 * cases.count());
}

#[test]
fn a_page_of_many_classes_objects_and_warnings_is_bounded() {
    let bbox = BoundingBox::new(10.0, 10.0, 40.0, 40.0);
    let objects = (0..250).map(|label| Object::new(0, bbox, label)).collect();
    let image = ImageRecord::new(1, "image", 120, 90).with_objects(objects);
    let classes = Category::list((0..250).map(|label| format!("class {label}")));
    let source = Gray(vec![(120, 90)]);
    let dataset = DetectionDataset::new("many", classes, vec![image], source).unwrap();
    let warnings = (0..300).map(|index| format!("warning {index}")).collect();
    let (summary, results) = run("run", &dataset, &[]);
    let summary = summary.with_warnings(Ok(warnings));
    let report = || Report::new(summary.clone(), Ok(&dataset), results.clone()).unwrap();
    let html = report().html().unwrap();
    let elements = checked(&html);
    let data = |elements: &[Element]| -> serde_json::Value {
        let data = elements.iter().find(|of| of.get("id") == Some("page-data"));
        serde_json::from_str(&data.unwrap().text).unwrap()
    };
    let classes = |data: &serde_json::Value| data["runs"][0]["classes"].as_object().unwrap().len();
    assert_eq!(classes(&data(&elements)), 200);
    let cells = elements.iter().filter(|of| of.name == "td");
    let cells = cells.filter(|of| of.get("data-label").is_some());
    assert_eq!(cells.count(), 6 * 200);
    assert!(html.contains("… 50 more") && html.contains("… 250 more"));
    assert_eq!(html.matches("warning 49<").count(), 1);
    assert!(!html.contains("warning 50<"));
    let truth = elements.iter().filter(|of| of.has_class("truth")).count();
    assert!(truth <= 12 * 200 + 1, "{truth}");

    let html = Comparison::new(vec![report(), report()], 20).unwrap();
    let elements = checked(&html.html().unwrap());
    assert_eq!(classes(&data(&elements)), 0);
}

#[test]
fn unknown_warnings_are_not_reported_as_none() {
    let dataset = hostile();
    let (summary, results) = run("run", &dataset, &found());
    let unknown = summary.with_warnings(Err("train.log cannot be read".to_owned()));
    let report = Report::new(unknown, Ok(&dataset), results).unwrap();
    let html = report.html().unwrap();
    assert!(html.contains("The warnings of the run are unknown: train.log cannot be read"));
    assert!(!html.contains("No warnings."));
}
