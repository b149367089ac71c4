//! The files of a data set, from one walk through its folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use walkdir::{DirEntry, WalkDir};

use crate::DataError;
use crate::decoding::is_image;
use crate::files::{file_name, stem};

/// How deep folders are searched.
const MAX_DEPTH: usize = 24;

/// The most files that are listed. A path may be given by mistake, such as that of a whole disk.
const MAX_FILES: usize = 4_000_000;

/// The files in a folder and its subfolders, without hidden ones. Symbolic links are followed unless they form a loop.
#[derive(Debug)]
pub(super) struct Inventory {
    root: PathBuf,
    /// Relative to the root, sorted, so that the files of a folder are consecutive.
    files: Vec<PathBuf>,
    by_stem: OnceLock<HashMap<String, Vec<usize>>>,
}

impl Inventory {
    /// Lists a folder. What cannot be read is skipped: if annotations need it, it is reported as missing later.
    pub fn of(root: &Path) -> Result<Self, DataError> {
        if !root.is_dir() {
            let path = root.to_path_buf();
            return Err(DataError::MissingFolder { path });
        }
        let shown = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !(name.starts_with('.') || name == "__MACOSX")
        };
        let walk = WalkDir::new(root).follow_links(true).max_depth(MAX_DEPTH);
        let entries = walk.into_iter().filter_entry(shown).filter_map(Result::ok);
        let mut files: Vec<PathBuf> = entries
            .filter(|entry| !entry.file_type().is_dir())
            .take(MAX_FILES)
            .filter_map(|entry| Some(entry.path().strip_prefix(root).ok()?.to_path_buf()))
            .collect();
        files.sort();
        Ok(Self {
            root: root.to_path_buf(),
            files,
            by_stem: OnceLock::new(),
        })
    }

    /// The folder, as given.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All files, relative to the root and sorted.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The files in `folder`, which is relative to the root, and in its subfolders.
    pub fn under(&self, folder: &Path) -> &[PathBuf] {
        let first = self.files.partition_point(|file| file.as_path() < folder);
        let rest = &self.files[first..];
        let count = rest.partition_point(|file| file.starts_with(folder));
        &rest[..count]
    }

    /// Whether there is such a file, relative to the root.
    pub fn contains(&self, file: &Path) -> bool {
        let found = self
            .files
            .binary_search_by(|known| known.as_path().cmp(file));
        found.is_ok()
    }

    /// The files of that extension, in lower case.
    pub fn with_extension(&self, extension: &str) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(move |file| {
            let found = file.extension().and_then(|found| found.to_str());
            found.is_some_and(|found| found.eq_ignore_ascii_case(extension))
        })
    }

    /// The images in supported formats.
    pub fn images(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(|file| is_image(file))
    }

    /// The files whose name without extension is `stem`, case-insensitive.
    pub fn with_stem(&self, stem: &str) -> impl Iterator<Item = &Path> + use<'_> {
        let by_stem = self.by_stem.get_or_init(|| self.index());
        let indices = by_stem.get(&stem.to_lowercase());
        let indices = indices.map(Vec::as_slice).unwrap_or_default();
        indices.iter().map(|&index| self.files[index].as_path())
    }

    fn index(&self) -> HashMap<String, Vec<usize>> {
        let mut by_stem: HashMap<String, Vec<usize>> = HashMap::new();
        for (file, index) in self.files.iter().zip(0..) {
            by_stem
                .entry(stem(file).to_lowercase())
                .or_default()
                .push(index);
        }
        by_stem
    }

    /// The file that most resembles the path `parts`: of the files of that name, the one with most equal folders above it.
    /// `None` if there is no such file, or if several resemble it as much.
    pub fn resembling(&self, parts: &[&str]) -> Option<&Path> {
        let name = Path::new(parts.last()?);
        let same_name = |file: &&Path| file_name(file).eq_ignore_ascii_case(&file_name(name));
        let equal = |file: &Path| {
            let folders = file.iter().rev().map(|part| part.to_string_lossy());
            let pairs = folders.zip(parts.iter().rev());
            pairs.take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count()
        };
        let candidates = self.with_stem(&stem(name)).filter(same_name);
        unique_max(candidates, equal)
    }
}

/// The item with the largest key, unless another one has the same key.
pub(super) fn unique_max<T: Copy>(
    items: impl Iterator<Item = T>,
    key: impl Fn(T) -> usize,
) -> Option<T> {
    let mut best: Option<(usize, T, bool)> = None;
    for item in items {
        let key = key(item);
        match best {
            Some((known, ..)) if key < known => {}
            Some((known, first, _)) if key == known => best = Some((known, first, false)),
            _ => best = Some((key, item, true)),
        }
    }
    best.filter(|(.., unique)| *unique).map(|(_, item, _)| item)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn inventory(files: &[&str]) -> (tempfile::TempDir, Inventory) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let inventory = Inventory::of(dir.path()).unwrap();
        (dir, inventory)
    }

    #[test]
    fn files_of_a_folder_are_in_a_row() {
        let (_dir, inventory) = inventory(&[
            "a/x.jpg",
            "a-b/y.jpg",
            "a/b/z.txt",
            ".git/c.jpg",
            "a/._x.jpg",
        ]);
        let under = |folder: &str| -> Vec<String> {
            let files = inventory.under(Path::new(folder)).iter();
            files.map(|file| file.display().to_string()).collect()
        };
        assert_eq!(under("a"), ["a/b/z.txt", "a/x.jpg"]);
        assert_eq!(under("").len(), 3);
        assert!(under("b").is_empty());
        assert!(inventory.contains(Path::new("a-b/y.jpg")));
        assert!(!inventory.contains(Path::new("a-b")));
    }

    #[test]
    fn a_file_is_found_by_its_name_and_the_folders_above_it() {
        let (_dir, inventory) = inventory(&[
            "train/1.jpg",
            "val/1.JPG",
            "val/2.jpg",
            "other/2.jpg",
            "3.png",
        ]);
        let find = |path: &str| {
            let parts: Vec<&str> = path.split('/').collect();
            inventory
                .resembling(&parts)
                .map(|file| file.display().to_string())
        };
        assert_eq!(find("home/me/val/1.jpg").as_deref(), Some("val/1.JPG"));
        assert_eq!(find("data/3.png").as_deref(), Some("3.png"));
        assert_eq!(find("elsewhere/2.jpg"), None, "two files resemble it");
        assert_eq!(find("3.jpg"), None);
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_end() {
        let (dir, _) = inventory(&["a/x.jpg"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        assert_eq!(Inventory::of(dir.path()).unwrap().files().len(), 1);
    }
}
