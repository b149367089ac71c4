//! Which files are inspected to recognize annotations.

use std::path::Path;

use super::inventory::Inventory;
use super::split::names_split;
use crate::LoadReport;
use crate::files::{has_extension, stem};

/// The most files of an extension that are inspected: a folder may hold millions.
const MAX_FILES: usize = 100;

/// The files to inspect.
#[derive(Debug)]
pub(super) struct Candidates<'a> {
    /// The most likely annotation files come first.
    pub files: Vec<&'a Path>,
    /// Holds a remark if there are more files than are inspected.
    pub report: LoadReport,
}

impl<'a> Candidates<'a> {
    /// The files with one of these extensions for which `may_be` is true. Files with names that tools give to
    /// annotations come first, then files in outer folders.
    pub fn of(
        inventory: &'a Inventory,
        extensions: &[&str],
        may_be: impl Fn(&Path) -> bool,
    ) -> Self {
        let all = inventory.files().iter().map(|file| file.as_path());
        let all = all.filter(|file| extensions.iter().any(|known| has_extension(file, known)));
        let mut files: Vec<&Path> = all.filter(|file| may_be(file)).collect();
        files.sort_by_cached_key(|file| (!names_annotations(file), file.components().count()));
        let total = files.len();
        files.truncate(MAX_FILES);
        let mut report = LoadReport::default();
        if total > MAX_FILES {
            report.remark(format!(
                "of {total} .{} files, only {MAX_FILES} were searched for annotations",
                extensions.join(" and .")
            ));
        }
        Self { files, report }
    }
}

/// Whether a file has a name such as `annotations.json`, `my-labels.csv`, `coco.json` or `train.json`.
pub(super) fn names_annotations(file: &Path) -> bool {
    let stem = stem(file).to_lowercase();
    let mut words = stem.split(|letter: char| !letter.is_alphanumeric());
    words.any(|word| {
        names_split(word)
            || ["annotation", "label", "instances", "coco", "class"]
                .iter()
                .any(|known| word.starts_with(known))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn likely_files_are_inspected_first() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        for number in 0..MAX_FILES {
            std::fs::write(dir.path().join(format!("a/{number}.json")), "").unwrap();
        }
        let inventory = Inventory::of(dir.path()).unwrap();
        let candidates = Candidates::of(&inventory, &["json"], |_| true);
        assert_eq!(candidates.report, LoadReport::default());
        for file in ["z.json", "a/my_train.json", "a/z.csv"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        let inventory = Inventory::of(dir.path()).unwrap();
        let candidates = Candidates::of(&inventory, &["json"], |_| true);
        assert_eq!(candidates.files.len(), MAX_FILES);
        assert_eq!(
            candidates.files[..3],
            ["a/my_train.json", "z.json", "a/0.json"].map(Path::new)
        );
        assert_eq!(
            candidates.report.remarks(),
            ["of 102 .json files, only 100 were searched for annotations"]
        );
    }
}
