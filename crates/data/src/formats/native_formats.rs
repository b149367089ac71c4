//! Native formats of labeling tools and benchmarks, which are not read: how to recognize them, and what to do instead.

use std::path::Path;

use super::inventory::Inventory;
use crate::decoding::is_image;
use crate::files::{has_extension, lines, read_text, start_of};

/// The most files of an extension that are inspected.
const MAX_FILES: usize = 5;

/// A format that is recognized by its words.
struct Format {
    extensions: &'static [&'static str],
    /// Any of these groups of words recognizes it. All words of a group must be present.
    marks: &'static [&'static [&'static str]],
    advice: &'static str,
}

const JSON: &[&str] = &["json"];
const JSON_OR_CSV: &[&str] = &["json", "csv"];
const JSON_LINES: &[&str] = &["jsonl", "ndjson"];

/// More specific marks come first.
const FORMATS: &[Format] = &[
    Format {
        extensions: &["xml"],
        marks: &[&["<annotations>"]],
        advice: "one XML file for all images is CVAT's native format: export COCO, VOC or YOLO instead",
    },
    Format {
        extensions: JSON,
        marks: &[
            &["\"_via_img_metadata\""],
            &["\"shape_attributes\"", "\"region_attributes\""],
        ],
        advice: "VIA's native format: export annotations in COCO's format instead",
    },
    Format {
        extensions: &["csv"],
        marks: &[&["region_shape_attributes", "region_attributes"]],
        advice: "a table of VIA's regions: export annotations in COCO's format instead",
    },
    Format {
        extensions: JSON,
        marks: &[&["\"completed_by\""]],
        advice: "a JSON file of tasks is Label Studio's native format: export COCO, VOC or YOLO instead",
    },
    Format {
        extensions: JSON_OR_CSV,
        marks: &[
            &["rectanglelabels\""],
            &["polygonlabels\""],
            &["brushlabels\""],
        ],
        advice: "a JSON-MIN or CSV export of Label Studio: export COCO, VOC or YOLO instead",
    },
    Format {
        extensions: JSON,
        marks: &[&["\"classTitle\""]],
        advice: "Supervisely's native format: export COCO, VOC or YOLO instead, for example with one of its export apps",
    },
    Format {
        extensions: JSON,
        marks: &[&["\"items\"", "\"categories\"", "\"label\"", "\"labels\""]],
        advice: "Datumaro's native format: export COCO, VOC or YOLO instead, for example with 'datum convert'",
    },
    Format {
        extensions: JSON,
        marks: &[
            &["\"item\"", "\"bounding_box\""],
            &["\"workview_url\"", "\"bounding_box\""],
        ],
        advice: "V7's Darwin format: export COCO, VOC or YOLO instead, for example with 'darwin convert'",
    },
    Format {
        extensions: JSON,
        marks: &[&["\"regions\"", "\"boundingBox\""]],
        advice: "VoTT's native format: export VOC or CSV instead",
    },
    Format {
        extensions: JSON,
        marks: &[&["\"box2d\""]],
        advice: "the format of BDD100K and Scalabel: convert it to COCO, for example with 'scalabel.label.to_coco'",
    },
    Format {
        extensions: &["json", "jsonl", "ndjson"],
        marks: &[&["\"data_row\""]],
        advice: "Labelbox's native format: convert it to COCO, VOC or YOLO",
    },
    Format {
        extensions: JSON,
        marks: &[&["\"shapes\""]],
        advice: "a JSON file with shapes for each image is labelme's format: convert it to COCO, VOC or YOLO",
    },
    Format {
        extensions: JSON_LINES,
        marks: &[&["\"objects\""]],
        advice: "the metadata of a Hugging Face data set: write its boxes as COCO or as a CSV table instead",
    },
];

/// What to do about a folder with files in a native format, with the name of the file. If `given` is set, only that file is
/// considered.
pub(super) fn advice(inventory: &Inventory, given: Option<&Path>) -> Option<String> {
    let mut extensions: Vec<&str> = FORMATS
        .iter()
        .flat_map(|format| format.extensions)
        .copied()
        .collect();
    extensions.push("txt");
    let mut seen = Vec::new();
    extensions.retain(|extension| {
        let is_new = !seen.contains(extension);
        seen.push(*extension);
        is_new
    });
    extensions.into_iter().find_map(|extension| {
        let files = inventory.with_extension(extension);
        let files = files.filter(|file| given.is_none_or(|given| given == file.as_path()));
        files.take(MAX_FILES).find_map(|file| {
            let advice = advice_on(&inventory.root().join(file))?;
            Some(format!("{}: {advice}", file.display()))
        })
    })
}

/// What to do about a file in a native format; `None` if it is not known as one.
pub(super) fn advice_on(path: &Path) -> Option<&'static str> {
    if has_extension(path, "txt") {
        return advice_on_lines(&start_of(path));
    }
    let mut formats = FORMATS.iter().filter(|format| {
        let mut extensions = format.extensions.iter();
        extensions.any(|extension| has_extension(path, extension))
    });
    let text = read_text(path).ok()?;
    let has = |words: &&[&str]| words.iter().all(|word| text.contains(word));
    let format = formats.find(|format| format.marks.iter().any(has))?;
    Some(format.advice)
}

/// Recognizes the lines of a format, with the advice.
type LineFormat = (fn(&[&str]) -> bool, &'static str);

/// Formats whose lines have no names: recognized if all complete lines of the start of a file fit.
fn advice_on_lines(start: &str) -> Option<&'static str> {
    let mut all: Vec<&str> = lines(start).map(|(_, line)| line).collect();
    // The last one may be cut off.
    if all.len() > 1 {
        all.pop();
    }
    let kinds: [LineFormat; 4] = [
        (
            are_kitti,
            "KITTI's labels: convert them to COCO, VOC or YOLO, for example with 'datum convert'",
        ),
        (
            are_visdrone,
            "VisDrone's annotations: convert them to COCO, VOC or YOLO",
        ),
        (
            are_mot,
            "annotations of MOTChallenge: convert them to COCO, VOC or YOLO",
        ),
        (
            are_keras_yolo,
            "an image and its boxes in each line, as for YOLO in Keras and PyTorch: export COCO, VOC, or YOLO with data.yaml instead",
        ),
    ];
    let mut kinds = kinds.into_iter().filter(|_| !all.is_empty());
    kinds.find_map(|(is_kind, advice)| is_kind(&all).then_some(advice))
}

fn are_numbers<'a>(mut fields: impl Iterator<Item = &'a str>) -> bool {
    fields.all(|field| field.trim().parse::<f64>().is_ok())
}

/// `type truncated occluded alpha left top right bottom height width length x y z rotation`, also with a score.
fn are_kitti(lines: &[&str]) -> bool {
    lines.iter().all(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        matches!(fields.len(), 15 | 16)
            && !are_numbers(fields.iter().copied().take(1))
            && are_numbers(fields.iter().copied().skip(1))
    })
}

/// `left,top,width,height,score,category,truncation,occlusion`, also with a comma at the end.
fn are_visdrone(lines: &[&str]) -> bool {
    lines.iter().all(|line| {
        let fields = line.trim_end_matches(',').split(',');
        let numbers = fields.map(|field| field.trim().parse::<f64>());
        let numbers: Vec<f64> = numbers.collect::<Result<_, _>>().unwrap_or_default();
        // Other benchmarks have the corners of quadrilaterals.
        matches!(*numbers, [_, _, _, _, score, category, truncation, occlusion]
            if score <= 1.0 && category <= 11.0 && truncation <= 2.0 && occlusion <= 2.0)
    })
}

/// `frame,track,left,top,width,height,score` and two or three more numbers.
fn are_mot(lines: &[&str]) -> bool {
    let is_mot = |line: &str| matches!(line.split(',').count(), 9 | 10);
    (lines.iter()).all(|line| is_mot(line) && are_numbers(line.split(',')))
}

/// `image left,top,right,bottom,class left,top,right,bottom,class …`, at least one of them with a box.
fn are_keras_yolo(lines: &[&str]) -> bool {
    let is_box = |group: &&str| group.split(',').count() == 5 && are_numbers(group.split(','));
    // The name of the image may have spaces.
    let from_end = |line: &'_ str| -> (usize, bool) {
        let mut groups = line.split(' ').rev().peekable();
        let mut boxes = 0;
        while groups.next_if(is_box).is_some() {
            boxes += 1;
        }
        (
            boxes,
            groups.next().is_some_and(|name| is_image(Path::new(name))),
        )
    };
    let mut has_boxes = false;
    let are_images = lines.iter().all(|line| {
        let (boxes, is_image) = from_end(line);
        has_boxes |= boxes > 0;
        is_image
    });
    are_images && has_boxes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_benchmarks_are_recognized() {
        let kind = |text: &str| {
            let advice = advice_on_lines(text).unwrap_or("none");
            let word = advice.split([' ', '\'', ':']).next();
            word.unwrap_or_default().to_string()
        };
        let kitti = "Car 0.00 0 1.85 5.0 6.0 20.0 16.0 1.5 1.6 3.6 2.8 1.7 8.4 1.6\n";
        for (text, expected) in [
            (kitti.to_string(), "KITTI"),
            (format!("{kitti}{}", &kitti[..20]), "KITTI"),
            (
                "5,6,10,10,1,4,0,0\n684,8,273,116,0,0,0,0,\n".into(),
                "VisDrone",
            ),
            ("1,1,5,6,10,10,1,1,0.9\n".into(), "annotations"),
            ("a b.jpg 1,2,11,12,0 3,4,5,6,1\nc.png\n".into(), "an"),
            ("0 0.5 0.5 0.2 0.2\n".into(), "none"),
            ("images/a.jpg\nb c.jpg\n".into(), "none"),
            ("cat\ndog\n".into(), "none"),
            (format!("cat\n{kitti}{kitti}"), "none"),
            ("1,2,3\n".into(), "none"),
            ("10,10,20,10,20,30,10,30\n".into(), "none"),
            (String::new(), "none"),
        ] {
            assert_eq!(kind(&text), expected, "{text}");
        }
    }
}
