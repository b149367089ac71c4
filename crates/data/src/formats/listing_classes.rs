//! The classes of listed objects: as their files write them, or with the names that a list gives to them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::listed_objects::{ListedImage, ListedObject};
use crate::files::shown;
use crate::{Category, LoadReport, Tally};

/// A list that gives names to the classes of the objects, such as the descriptions of Open Images' classes.
#[derive(Debug)]
pub(super) struct ClassNames {
    /// Relative to the folder of the inventory.
    pub file: PathBuf,
    /// The names by the classes of the objects.
    pub names: HashMap<String, String>,
}

/// Gives the objects of all files their final classes, except for classes that the data set lists.
pub(super) fn name_classes(
    files: &mut [Vec<ListedImage>],
    listed: &[Category],
    lists: &[ClassNames],
    report: &mut LoadReport,
) {
    let listed: BTreeSet<&str> = listed.iter().map(|class| class.name.as_str()).collect();
    let unlisted = |files: &[Vec<ListedImage>]| -> BTreeSet<String> {
        let objects = files.iter().flatten().flat_map(|image| &image.objects);
        let classes = objects.map(|object| object.class.as_str());
        let classes = classes.filter(|class| !class.is_empty() && !listed.contains(class));
        classes.map(str::to_string).collect()
    };
    let numbers = whole_numbers(&unlisted(files));
    if !numbers.is_empty() {
        let mut written = Tally::default();
        numbers.keys().for_each(|class| written.add(class));
        report.remark(format!("classes read as whole numbers: {written}"));
        rename(files, &numbers);
    }
    let classes = unlisted(files);
    if classes.is_empty() {
        return;
    }
    let mut used: Option<&ClassNames> = None;
    for list in lists {
        let file = list.file.display();
        let nameless = classes
            .iter()
            .find(|class| !list.names.contains_key(*class));
        match (nameless, used) {
            (Some(class), _) => report.remark(format!(
                "{file}: not used: it has no name for the class '{}'",
                shown(class)
            )),
            (None, None) => used = Some(list),
            (None, Some(first)) => {
                let mut classes = classes.iter();
                if let Some(class) =
                    classes.find(|class| first.names.get(*class) != list.names.get(*class))
                {
                    report.note(format!(
                        "{} and {file} have different names for the class '{}'; those of the first are used",
                        first.file.display(),
                        shown(class)
                    ));
                }
            }
        }
    }
    let Some(list) = used else { return };
    let names: BTreeMap<String, String> = (classes.iter())
        .filter_map(|class| Some((class.clone(), list.names.get(class)?.clone())))
        .collect();
    let file = list.file.display();
    report.remark(format!("names of classes from {file}"));
    let distinct: BTreeSet<&String> = names.values().collect();
    if distinct.len() < names.len() {
        report.note(format!(
            "{file} has the same name for several classes, which were merged: {} classes have {} names",
            names.len(),
            distinct.len()
        ));
    }
    rename(files, &names);
}

/// The classes such as `1.0` with the whole number that each is. pandas writes whole numbers like this if a cell of their
/// column is blank. If any class is a number with a fraction, all are texts, such as versions.
fn whole_numbers(classes: &BTreeSet<String>) -> BTreeMap<String, String> {
    let parts = |class: &String| -> Option<(String, String)> {
        let (whole, fraction) = class.split_once('.')?;
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_number = digits(whole.strip_prefix('-').unwrap_or(whole)) && digits(fraction);
        is_number.then(|| (whole.to_string(), fraction.to_string()))
    };
    let numbers: BTreeMap<String, (String, String)> = (classes.iter())
        .filter_map(|class| Some((class.clone(), parts(class)?)))
        .collect();
    let is_whole = |fraction: &str| fraction.bytes().all(|digit| digit == b'0');
    match numbers.values().all(|(_, fraction)| is_whole(fraction)) {
        true => (numbers.into_iter())
            .map(|(class, (whole, _))| (class, whole))
            .collect(),
        false => BTreeMap::new(),
    }
}

fn rename(files: &mut [Vec<ListedImage>], names: &BTreeMap<String, String>) {
    let images = files.iter_mut().flatten();
    let objects = images.flat_map(|image| &mut image.objects);
    objects.for_each(|ListedObject { class, .. }| {
        if let Some(name) = names.get(class) {
            class.clone_from(name);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_written_without_zeros() {
        let numbers = |classes: &[&str]| {
            let classes = classes.iter().map(ToString::to_string).collect();
            let numbers = whole_numbers(&classes).into_iter();
            let numbers = numbers.map(|(class, number)| format!("{class} {number}"));
            numbers.collect::<Vec<_>>()
        };
        assert_eq!(
            numbers(&["1", "1.0", "-2.00", "cat", "v1.0", "1.0.0", ".0", "3."]),
            ["-2.00 -2", "1.0 1"]
        );
        assert_eq!(numbers(&["1.0", "1.5"]), [""; 0]);
    }
}
