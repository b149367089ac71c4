//! Folders that tell the files of a data set apart.

use std::path::Path;

use super::split_name::{SplitWord, words};
use crate::spelling::{composed, folded};

/// Names of folders, in lower case, that only say what kind of files they hold.
const KINDS: [&str; 15] = [
    "images",
    "image",
    "imgs",
    "img",
    "jpegimages",
    "pictures",
    "photos",
    "labels",
    "label",
    "annotations",
    "txt",
    "yolo",
    "xml",
    "xmls",
    "json",
];

/// Whether a folder only says what kind of files it holds.
pub(super) fn is_kind(folder: &str) -> bool {
    KINDS.contains(&folded(folder).as_str())
}

/// The folders of a file as [folded] names, without those for a kind of files. In the names of splits, such as
/// `train_labels`, the word for a kind is replaced, so that they equal those of `train_images`.
pub(super) fn sub_folders(file: &Path) -> Vec<String> {
    let folders = file.parent().unwrap_or(Path::new("")).iter();
    let folders = folders.map(|part| part.to_string_lossy());
    let names = folders
        .filter(|part| !is_kind(part))
        .map(|part| match SplitWord::in_name(&part) {
            Some(_) => with_any_kind(&composed(&part)),
            None => folded(&part),
        });
    names.collect()
}

/// The words of a name, those for a kind of files replaced.
fn with_any_kind(name: &str) -> String {
    let words = words(name).map(|word| match is_kind(word) {
        true => "*".to_string(),
        false => folded(word),
    });
    words.collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_one_split_are_equal_for_all_kinds_of_files() {
        for (one, other, folders) in [
            ("images/Seq1/a", "labels/seq1/a", &["seq1"][..]),
            ("train_images/a", "train-labels/a", &["train_*"]),
            ("ImagesVal/x/a", "xmls_val/x/a", &["*_val", "x"]),
            (
                "cafe\u{301}_train/a",
                "caf\u{e9}-train/a",
                &["caf\u{e9}_train"],
            ),
        ] {
            assert_eq!(sub_folders(Path::new(one)), folders, "{one}");
            assert_eq!(sub_folders(Path::new(other)), folders, "{other}");
        }
    }
}
