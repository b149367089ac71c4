//! The files of a data set, from one walk through its folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use walkdir::{DirEntry, WalkDir};

use super::split_folders::SplitFolders;
use super::split_name::{Role, names_split};
use crate::decoding::is_image;
use crate::files::{file_name, has_extension, stem};
use crate::spelling::{are_same, composed, folded};
use crate::{DataError, Tally};

/// How deep folders are searched.
const MAX_DEPTH: usize = 24;

/// The most files that are listed. A path may be given by mistake, such as that of a whole disk.
const MAX_FILES: usize = 4_000_000;

/// The files in a folder and its subfolders, without hidden ones.
///
/// A link to a folder elsewhere, or a mount of another file system, is only searched if it is named like a part of a
/// data set, such as `images` or `train`. Loops of links are not followed.
#[derive(Debug)]
pub(super) struct Inventory {
    root: PathBuf,
    /// Relative to the root, sorted, so that the files of a folder are consecutive.
    files: Vec<PathBuf>,
    /// The searched folders, relative to the root.
    folders: Vec<PathBuf>,
    by_stem: OnceLock<HashMap<String, Vec<usize>>>,
    splits: OnceLock<SplitFolders>,
    skipped: Skipped,
}

/// What a walk skipped.
#[derive(Debug, Default)]
struct Skipped {
    too_deep: Tally,
    unreadable: Tally,
    elsewhere: Tally,
}

impl Inventory {
    /// Searches a folder.
    ///
    /// # Errors
    ///
    /// [`DataError::MissingFolder`]. [`DataError::Annotations`] if there are far more files than a data set has.
    pub fn of(root: &Path) -> Result<Self, DataError> {
        Self::of_folders(root, &[root.to_path_buf()])
    }

    /// Searches these folders inside `root`, and lists the files of `root` itself.
    ///
    /// # Errors
    ///
    /// Same as [`of`](Self::of).
    pub fn of_folders(root: &Path, folders: &[PathBuf]) -> Result<Self, DataError> {
        if !root.is_dir() {
            let path = root.to_path_buf();
            return Err(DataError::MissingFolder { path });
        }
        let mut walk = Walk {
            root,
            files: Vec::new(),
            folders: Vec::new(),
            skipped: Skipped::default(),
        };
        if !folders.iter().any(|folder| folder == root) {
            walk.through(root, 1, &mut Vec::new())?;
        }
        for folder in folders {
            walk.through(folder, MAX_DEPTH, &mut Vec::new())?;
        }
        let Walk {
            mut files,
            folders,
            skipped,
            ..
        } = walk;
        files.sort();
        files.dedup();
        Ok(Self {
            root: root.to_path_buf(),
            files,
            folders,
            by_stem: OnceLock::new(),
            splits: OnceLock::new(),
            skipped,
        })
    }

    /// Messages about what was skipped and may be missing.
    pub fn omissions(&self) -> Vec<String> {
        let Skipped {
            too_deep,
            unreadable,
            elsewhere,
        } = &self.skipped;
        let skipped = [
            (
                format!("folders nested more than {MAX_DEPTH} deep, not searched"),
                too_deep,
            ),
            (
                "unreadable files or folders and broken links, skipped".into(),
                unreadable,
            ),
            (
                "folders outside the data set or on another file system, not searched".into(),
                elsewhere,
            ),
        ];
        let skipped = skipped.into_iter().filter(|(_, tally)| tally.count > 0);
        skipped
            .map(|(what, tally)| format!("{what}: {tally}"))
            .collect()
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

    /// Whether a file exists at this path relative to the root.
    pub fn contains(&self, file: &Path) -> bool {
        let found = self
            .files
            .binary_search_by(|known| known.as_path().cmp(file));
        found.is_ok()
    }

    /// The only file or folder that differs from this path, relative to the root, at most in how characters are composed.
    pub fn spelled_like(&self, path: &Path) -> Option<PathBuf> {
        let text = |path: &Path| composed(&path.to_string_lossy()).into_owned();
        let wanted = text(path);
        if wanted.is_ascii() {
            return None;
        }
        let all = self.files.iter().chain(&self.folders);
        let mut same = all.filter(|known| text(known) == wanted);
        match (same.next(), same.next()) {
            (Some(found), None) => Some(self.root.join(found)),
            _ => None,
        }
    }

    /// The files with this extension, which must be in lower case.
    pub fn with_extension(&self, extension: &str) -> impl Iterator<Item = &PathBuf> {
        self.files
            .iter()
            .filter(move |file| has_extension(file, extension))
    }

    /// The searched folders without any file, relative to the root.
    pub fn empty_folders(&self) -> impl Iterator<Item = &PathBuf> {
        let folders = self.folders.iter();
        folders.filter(|folder| self.under(folder).is_empty())
    }

    /// The images in supported formats.
    pub fn images(&self) -> impl Iterator<Item = &PathBuf> {
        self.files.iter().filter(|file| is_image(file))
    }

    /// The files whose name without extension is `stem`, ignoring case and how characters are composed.
    pub fn with_stem(&self, stem: &str) -> impl Iterator<Item = &Path> + use<'_> {
        let by_stem = self.by_stem.get_or_init(|| self.index());
        let indices = by_stem.get(&folded(stem));
        let indices = indices.map(Vec::as_slice).unwrap_or_default();
        indices.iter().map(|&index| self.files[index].as_path())
    }

    fn index(&self) -> HashMap<String, Vec<usize>> {
        let mut by_stem: HashMap<String, Vec<usize>> = HashMap::new();
        for (file, index) in self.files.iter().zip(0..) {
            by_stem.entry(folded(&stem(file))).or_default().push(index);
        }
        by_stem
    }

    /// The name of the split that a file belongs to, if its folders name one. The path is relative to the root.
    pub fn split_of<'a>(&'a self, file: &'a Path) -> Option<&'a str> {
        self.splits().split_of(file)
    }

    /// The role of the split that a file belongs to, if its folders name one. The path is relative to the root.
    pub fn role_of(&self, file: &Path) -> Option<Role> {
        self.splits().role_of(file)
    }

    fn splits(&self) -> &SplitFolders {
        self.splits.get_or_init(|| SplitFolders::of(&self.files))
    }

    /// The files with the name of the path `parts`.
    pub fn namesakes<'a>(&'a self, parts: &[&str]) -> impl Iterator<Item = &'a Path> + use<'a> {
        let name = parts.last().copied().unwrap_or_default().to_owned();
        let same_stem = self.with_stem(&stem(Path::new(&name)));
        same_stem.filter(move |file| are_same(&file_name(file), &name))
    }

    /// The file that best matches the path `parts`: of its [namesakes](Self::namesakes) for which `fits` is true, the one
    /// that shares the most parent folders; of several, the one that shares the most in the same spelling. `None` if
    /// there is no match or a tie.
    pub fn resembling(&self, parts: &[&str], fits: impl Fn(&Path) -> bool) -> Option<&Path> {
        let candidates = self.namesakes(parts).filter(|file| fits(file));
        unique_max(candidates, |file| {
            (equal_at_end(file, parts), spelled_at_end(file, parts))
        })
    }
}

/// The number of components that the ends of a path and of `parts` have in common, ignoring case and how characters are
/// composed.
pub(super) fn equal_at_end(path: &Path, parts: &[&str]) -> usize {
    common_at_end(path, parts, are_same)
}

/// The number of components that the ends of a path and of `parts` have in common in the same spelling.
fn spelled_at_end(path: &Path, parts: &[&str]) -> usize {
    common_at_end(path, parts, |a, b| a == b)
}

fn common_at_end(path: &Path, parts: &[&str], are_equal: impl Fn(&str, &str) -> bool) -> usize {
    let own = path.iter().rev().map(|part| part.to_string_lossy());
    let pairs = own.zip(parts.iter().rev());
    pairs.take_while(|(a, b)| are_equal(a, b)).count()
}

/// The item with the largest key; `None` on a tie.
pub(super) fn unique_max<T: Copy, K: Ord>(
    items: impl Iterator<Item = T>,
    key: impl Fn(T) -> K,
) -> Option<T> {
    let mut best: Option<(K, T, bool)> = None;
    for item in items {
        let key = key(item);
        best = match best {
            Some(known) if key < known.0 => Some(known),
            Some((known, first, _)) if key == known => Some((known, first, false)),
            _ => Some((key, item, true)),
        };
    }
    best.filter(|(.., unique)| *unique).map(|(_, item, _)| item)
}

/// A walk through folders.
struct Walk<'a> {
    root: &'a Path,
    files: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    skipped: Skipped,
}

impl Walk<'_> {
    /// Searches a folder. `above` holds the folders that links were followed from and to.
    fn through(
        &mut self,
        folder: &Path,
        depth: usize,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        let shown = |entry: &DirEntry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() == 0 || !(name.starts_with('.') || name == "__MACOSX")
        };
        let mut entries = WalkDir::new(folder)
            .max_depth(depth)
            .into_iter()
            .filter_entry(shown);
        while let Some(entry) = entries.next() {
            let Ok(entry) = entry else {
                self.skipped.unreadable.add(self.place(folder));
                continue;
            };
            let path = entry.path();
            if entry.depth() == 0 {
                self.add_folder(path);
                continue;
            }
            if entry.path_is_symlink() {
                self.link(path, depth.saturating_sub(entry.depth()), above)?;
            } else if !entry.file_type().is_dir() {
                self.add(path)?;
            } else if entry.depth() == depth {
                // Only one level was asked for.
                if depth > 1 {
                    self.skipped.too_deep.add(self.place(path));
                }
            } else if path.parent().map(device) != Some(device(path)) && !is_part(path) {
                self.skipped.elsewhere.add(self.place(path));
                entries.skip_current_dir();
            } else {
                self.add_folder(path);
            }
        }
        Ok(())
    }

    fn link(
        &mut self,
        path: &Path,
        depth: usize,
        above: &mut Vec<PathBuf>,
    ) -> Result<(), DataError> {
        let from = path.parent().and_then(|folder| folder.canonicalize().ok());
        let (Ok(target), Some(from)) = (path.canonicalize(), from) else {
            self.skipped.unreadable.add(self.place(path));
            return Ok(());
        };
        if !target.is_dir() {
            return self.add(path);
        }
        let is_loop = |known: &PathBuf| known.starts_with(&target);
        if is_loop(&from) || above.iter().any(is_loop) || depth == 0 {
            return Ok(());
        }
        let is_inside = self
            .root
            .canonicalize()
            .is_ok_and(|root| target.starts_with(root));
        if !is_inside && !is_part(path) {
            self.skipped.elsewhere.add(self.place(path));
            return Ok(());
        }
        above.extend([from, target]);
        self.through(path, depth, above)?;
        above.truncate(above.len() - 2);
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<(), DataError> {
        if self.files.len() == MAX_FILES {
            return Err(DataError::Annotations {
                path: self.root.to_path_buf(),
                cause: format!("more than {MAX_FILES} files: too many for a data set"),
            });
        }
        if let Ok(relative) = path.strip_prefix(self.root) {
            self.files.push(relative.to_path_buf());
        }
        Ok(())
    }

    fn add_folder(&mut self, path: &Path) {
        if let Ok(relative) = path.strip_prefix(self.root) {
            self.folders.push(relative.to_path_buf());
        }
    }

    fn place(&self, path: &Path) -> String {
        let relative = path.strip_prefix(self.root).unwrap_or(path);
        relative.display().to_string()
    }
}

/// Whether a folder is named like a part of a data set.
pub(super) fn is_part(folder: &Path) -> bool {
    let name = file_name(folder).to_lowercase();
    let parts = ["images", "labels", "annotations", "jpegimages", "imagesets"];
    parts.contains(&name.as_str()) || names_split(&name)
}

/// The file system of a folder, if known.
#[cfg(unix)]
fn device(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(folder).map(|folder| folder.dev()).ok()
}

#[cfg(not(unix))]
fn device(_: &Path) -> Option<u64> {
    None
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
    fn files_of_a_folder_are_consecutive() {
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
                .resembling(&parts, |_| true)
                .map(|file| file.display().to_string())
        };
        assert_eq!(find("home/me/val/1.jpg").as_deref(), Some("val/1.JPG"));
        assert_eq!(find("data/3.png").as_deref(), Some("3.png"));
        assert_eq!(find("elsewhere/2.jpg"), None, "two files match");
        assert_eq!(find("3.jpg"), None);
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_are_not_followed() {
        let (dir, _) = inventory(&["a/x.jpg"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("a/loop")).unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("a"), dir.path().join("b/a")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("b"), dir.path().join("a/b")).unwrap();
        let files: Vec<PathBuf> = Inventory::of(dir.path()).unwrap().files().to_vec();
        assert_eq!(files, [Path::new("a/x.jpg"), Path::new("b/a/x.jpg")]);
    }

    #[cfg(unix)]
    #[test]
    fn skipped_files_and_folders_are_reported() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("y.jpg"), "").unwrap();
        let deep = vec!["d"; 30].join("/");
        let (dir, _) = inventory(&["a/x.jpg", &format!("{deep}/z.jpg")]);
        for (target, link) in [
            (outside.path(), "usr"),
            (outside.path(), "images"),
            (Path::new("nowhere"), "broken.jpg"),
        ] {
            std::os::unix::fs::symlink(target, dir.path().join(link)).unwrap();
        }
        let inventory = Inventory::of(dir.path()).unwrap();
        assert_eq!(
            inventory.files(),
            [Path::new("a/x.jpg"), Path::new("images/y.jpg")]
        );
        let omissions = inventory.omissions().join("\n");
        for part in ["24 deep", "1 (broken.jpg)", "1 (usr)"] {
            assert!(omissions.contains(part), "{omissions}");
        }
    }
}
