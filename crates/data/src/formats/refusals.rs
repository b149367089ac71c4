//! Why files with the extensions of annotations are not annotations, for the error about a folder without a data set.

use std::path::Path;

use super::candidates::Candidates;
use super::coco::looks_like_coco;
use super::coco_task::CocoTask;
use super::inventory::Inventory;
use super::native_formats::advice_on;
use super::xml::{Element, Fault};
use super::yolo_description::YoloDescription;
use super::{coco_file, csv};
use crate::DataError;
use crate::files::{read_text, shown, start_of};

/// The most files of a kind that are read.
const MAX_READ: usize = 20;

/// The most files that are named.
const MAX_NAMED: usize = 3;

/// The extensions of a kind of file, and why a file of that kind is not annotations. `None` if it is about something
/// else. The flag tells whether the user gave that file.
type Kind = (&'static [&'static str], fn(&Path, bool) -> Option<String>);

const KINDS: [Kind; 4] = [
    (&["json"], of_json),
    (&csv::EXTENSIONS, of_table),
    (&["xml"], of_xml),
    (&["yaml", "yml"], of_yaml),
];

/// Messages about the first few files, as in `train.json: not JSON: EOF while parsing a list at line 1 column 345`. If
/// `given` is set, only that file is considered.
pub(super) fn refusals(inventory: &Inventory, given: Option<&Path>) -> Vec<String> {
    let mut refused: Vec<(usize, String)> = Vec::new();
    for (extensions, refusal) in KINDS {
        let is_wanted = |file: &Path| given.is_none_or(|given| given == file);
        let files = Candidates::of(inventory, extensions, is_wanted).files;
        let causes = files.into_iter().take(MAX_READ).filter_map(|file| {
            let cause = refusal(&inventory.root().join(file), given.is_some())?;
            Some(format!("{}: {cause}", file.display()))
        });
        refused.extend((0..).zip(causes));
    }
    // The first file of each kind comes before the second one of any kind.
    refused.sort_by_key(|(rank, _)| *rank);
    let more = refused.len().saturating_sub(MAX_NAMED);
    let named = refused.into_iter().take(MAX_NAMED);
    let mut messages: Vec<String> = named.map(|(_, message)| message).collect();
    if more > 0 {
        messages.push(format!("more files that are not annotations: {more}"));
    }
    messages
}

fn of_json(path: &Path, _: bool) -> Option<String> {
    if let Some(cause) = coco_file::not_json(path) {
        return Some(cause);
    }
    // There is advice about native formats.
    let refusal = coco_file::refusal(path).filter(|_| advice_on(path).is_none());
    let Some(task) = CocoTask::of(path).filter(|_| looks_like_coco(&start_of(path))) else {
        return refusal;
    };
    Some(match refusal {
        Some(cause) => format!("a file for {}: {cause}", task.name()),
        None => format!("a file for {}, without boxes", task.name()),
    })
}

fn of_table(path: &Path, _: bool) -> Option<String> {
    if let Err(error) = read_text(path) {
        return Some(cause(error));
    }
    let start = start_of(path);
    // There is advice about native formats.
    let is_known = csv::is_known(&start) || advice_on(path).is_some();
    (!is_known).then(|| csv::refusal(&start))
}

fn of_xml(path: &Path, is_given: bool) -> Option<String> {
    let text = match read_text(path) {
        Ok(text) => text,
        Err(error) => return Some(cause(error)),
    };
    match Element::parse(&text) {
        Err(Fault { line, cause }) => Some(format!("line {line}: not XML: {cause}")),
        Ok(root) => match root.tag.as_str() {
            "annotation" if is_given => {
                Some("the annotations of one image: give the folder of the data set".into())
            }
            // There is advice about the latter.
            "annotation" | "annotations" => None,
            other => Some(format!(
                "line {}: expected <annotation>, found <{}>",
                root.line,
                shown(other)
            )),
        },
    }
}

fn of_yaml(path: &Path, is_given: bool) -> Option<String> {
    match YoloDescription::of_yaml(path) {
        Err(error) => Some(cause(error)),
        Ok(description) => (is_given && !description.is_about_data())
            .then(|| "none of the keys train, val, test and names".into()),
    }
}

/// The cause of an error without the path.
fn cause(error: DataError) -> String {
    match error {
        DataError::Annotations { cause, .. } => cause,
        DataError::Line { line, cause, .. } => format!("line {line}: {cause}"),
        DataError::Io { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
