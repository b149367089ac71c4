//! Paths of the images that annotation files name.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::coco_task::split_in_name;
use super::inventory::{Inventory, equal_at_end, unique_max};
use super::split::Role;
use super::sub_folders::is_kind;
use crate::decoding::{is_image, is_unread_image};
use crate::files::{file_name, stem};

/// Finds the images that annotation files name, but only in the folder of the data set. Annotation files may be
/// untrusted, and their paths may be from another machine.
#[derive(Debug)]
pub(super) struct ImageFinder {
    inventory: Arc<Inventory>,
    /// The folders that names are relative to, in search order.
    folders: Vec<PathBuf>,
    /// Folders that belong to the data set.
    allowed: Vec<PathBuf>,
    /// The role of the split whose images are searched for.
    role: Option<Role>,
    /// The role of a split without a folder for its images, which are searched for in those of other splits.
    homeless: Option<Role>,
    /// The folder of the annotation file, relative to the folder of the inventory.
    beside: Option<PathBuf>,
    /// Folders with an annotation file of their own.
    foreign: HashSet<PathBuf>,
}

/// Folders that may hold the images of a split whose annotation `file` is in the folder `root`, in search order. The
/// folder of the split comes first.
pub(super) fn image_folders(root: &Path, file: &Path, split: &str) -> Vec<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new(""));
    // CVAT's `annotations/instances_default.json` is about `images/default`.
    let name = stem(file);
    let subset = split_in_name(&name);
    let above = beside.parent().map(|above| above.join("images"));
    let of_subset = above.iter().zip(subset);
    let of_subset = of_subset.map(|(above, subset)| (above.as_path(), Path::new(subset)));
    // A table may name any split, also one with `..`.
    let is_inside = |(_, split): &(&Path, &Path)| {
        (split.components()).all(|part| matches!(part, Component::Normal(_)))
    };
    let (top, images, split) = (Path::new(""), Path::new("images"), Path::new(split));
    let of_split = [(top, split), (images, split)];
    let joined = |(folder, split): (&Path, &Path)| folder.join(split);
    let mut folders: Vec<PathBuf> = of_split.into_iter().filter(is_inside).map(joined).collect();
    folders.extend([beside.to_path_buf(), beside.join("images")]);
    folders.extend(of_subset.filter(is_inside).map(joined));
    folders.extend(above);
    folders.extend([images.to_path_buf(), top.to_path_buf()]);
    folders
        .into_iter()
        .map(|folder| root.join(folder))
        .collect()
}

/// The outermost folder of `other` that `file` is not in, if both are annotation files of the same kind of folder, such as
/// `taskA` of `taskB/annotations.json` and `taskA/annotations.json`.
fn counterpart(file: &Path, other: &Path) -> Option<PathBuf> {
    let parts = |path: &Path| -> Vec<String> {
        let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
        parts.collect()
    };
    let (own, others) = (parts(file), parts(other));
    let common = own.iter().zip(&others).take_while(|(a, b)| a == b).count();
    let (own_name, own) = own.split_last()?;
    let (other_name, others) = others.split_last()?;
    let (folder, other_folder) = (own.get(common)?, others.get(common)?);
    let (inner, other_inner) = (&own[common + 1..], &others[common + 1..]);
    // `seq1/seq1.json` has the name of its folder.
    let is_alike = !inner.is_empty()
        || own_name == other_name
        || own_name.replace(folder, other_folder) == *other_name;
    // All images may be in `images`, whether annotations are there or in `annotations`.
    let is_counterpart =
        inner == other_inner && is_alike && !is_kind(folder) && !is_kind(other_folder);
    is_counterpart.then(|| others[..=common].iter().collect())
}

/// The roles of the splits that an image with this name may belong to, in a split with `role`. Without any, it may belong
/// to all.
fn roles(name: &str, role: Option<Role>) -> Vec<Role> {
    let name = Path::new(name);
    let folders = name.parent().unwrap_or(Path::new("")).iter();
    let named = folders.filter_map(|folder| Role::of_split(folder.to_str()?));
    let mut roles: Vec<Role> = named.collect();
    // Folders on another machine may have any name.
    if roles.is_empty() || name.is_absolute() {
        roles.extend(role);
    }
    roles
}

impl ImageFinder {
    /// Names are relative to the `folders` that exist, or to the folder of the `inventory` if none does. Images may be
    /// in these folders and in the folder of the inventory.
    pub fn new(inventory: Arc<Inventory>, mut folders: Vec<PathBuf>) -> Self {
        folders.retain(|folder| folder.is_dir());
        if folders.is_empty() {
            folders.push(inventory.root().to_path_buf());
        }
        let places = folders.iter().map(PathBuf::as_path);
        let places = places.chain([inventory.root()]);
        let allowed = places.flat_map(|folder| [Some(plain(folder)), folder.canonicalize().ok()]);
        Self {
            allowed: allowed.flatten().collect(),
            inventory,
            folders,
            role: None,
            homeless: None,
            beside: None,
            foreign: HashSet::new(),
        }
    }

    /// Searches for the images of the annotation `file`, which is one of `files`. All are relative to the folder of the
    /// inventory. Images in the folder of another file are not considered if the folders are alike, such as exports of
    /// two tasks, unless names point there.
    pub fn of_file<'a>(
        mut self,
        file: &Path,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> Self {
        let foreign = files
            .into_iter()
            .filter_map(|other| counterpart(file, other));
        self.foreign = foreign.collect();
        self.beside = file.parent().map(Path::to_path_buf);
        self
    }

    /// Searches only for images of the split with this name. If there is no folder for its images, they may be in folders
    /// of other splits: people divide the training images of a public data set.
    pub fn of_split(mut self, name: &str) -> Self {
        let role = Role::of_split(name);
        (self.role, self.homeless) = match role.is_some_and(|role| self.has_folder_for(role)) {
            true => (role, None),
            false => (None, role),
        };
        self
    }

    /// Whether an image is in a folder of another split, without being named there.
    pub fn is_borrowed(&self, name: &str, path: &Path) -> bool {
        let Some(role) = self.homeless else {
            return false;
        };
        let own = path.strip_prefix(self.inventory.root()).unwrap_or(path);
        let own = self.inventory.role_of(own);
        own.is_some_and(|own| own != role) && roles(&slashed(name), Some(role)) == [role]
    }

    /// Whether a folder of the split with this role has images or is empty, or has the annotation file.
    fn has_folder_for(&self, role: Role) -> bool {
        let is_of_role = |file: &Path| self.inventory.role_of(file) == Some(role);
        let mut files = self.inventory.files().iter();
        let mut last = None;
        let holds_images = files.any(|file| {
            let is_new = file.parent() != last && (is_image(file) || is_unread_image(file));
            if is_new {
                last = file.parent();
            }
            is_new && is_of_role(file)
        });
        let is_in_folder = |folder: &Path| is_of_role(&folder.join("image"));
        let mut empty = self.inventory.empty_folders();
        holds_images
            || empty.any(|folder| is_in_folder(folder))
            || self.beside.as_deref().is_some_and(is_in_folder)
    }

    /// Whether a file is in a folder of the split with this role. Folders in it may have words for other splits in their
    /// names, such as `steam_train`.
    fn is_of(&self, role: Option<Role>, file: &Path) -> bool {
        role.is_some() && self.inventory.role_of(file) == role
    }

    /// Whether a file is in a folder with an annotation file of its own, and a name that has `equal` components in common
    /// with its end does not point there.
    fn is_foreign(&self, file: &Path, equal: usize) -> bool {
        if self.foreign.is_empty() {
            return false;
        }
        // The number of components below each folder.
        let mut folders = (1..).zip(file.ancestors().skip(1));
        folders.any(|(below, folder)| equal <= below && self.foreign.contains(folder))
    }

    /// The number of folders that a file shares with the annotation file.
    fn nearness(&self, file: &Path) -> usize {
        let pairs = self.beside.iter().flatten().zip(file);
        pairs.take_while(|(a, b)| a == b).count()
    }

    /// The path of an image, or the path where it was expected if it is not on disk.
    ///
    /// If no file exists at `name`, as with a path from another machine, the file in the data set with the same file
    /// name is used. Of several, the one that shares the most parent folders with `name` is used. An image in a folder
    /// of another split is not considered, unless `name` points to it.
    ///
    /// # Errors
    ///
    /// The cause, if the name points outside the data set, to an existing file or with `..`.
    pub fn find(&self, name: &str) -> Result<PathBuf, String> {
        self.find_in(name, self.role)
    }

    /// The image of a name without extension: the one in the first of the folders, or else the one that shares the most
    /// parent folders with `name`. As with other names, an image in a folder of another split is not considered.
    pub fn find_without_extension(&self, name: &str) -> Option<PathBuf> {
        let slashed = slashed(name);
        let roles = roles(&slashed, self.role);
        let mut parts: Vec<&str> = slashed.split('/').filter(|part| *part != ".").collect();
        let stem = parts.pop()?;
        let same = || {
            let same = self.inventory.with_stem(stem).filter(|file| is_image(file));
            same.filter(|file| !self.is_foreign(file, 1 + equal_folders(file, &parts)))
        };
        let images = || same().filter(|file| self.fits(&roles, file));
        let parent = parts.join("/");
        let folders = self.folders.iter().filter_map(|folder| {
            let folder = folder.strip_prefix(self.inventory.root()).ok()?;
            Some(tidy(&folder.join(&parent)))
        });
        let mut direct = folders.filter_map(|folder| {
            let is_direct = |file: &&Path| {
                file.parent() == Some(&folder)
                    && (self.is_of(self.role, file) || self.fits(&roles, file))
            };
            unique_max(same().filter(is_direct), |_| 0)
        });
        let found = direct.next().or_else(|| {
            unique_max(images(), |file| equal_folders(file, &parts))
                .or_else(|| self.nearest(images(), |file| equal_folders(file, &parts)))
        })?;
        Some(self.inventory.root().join(found))
    }

    /// The file with the largest number of `equal` components; of several, the one nearest to the annotation file. `None`
    /// on a tie.
    fn nearest<'a>(
        &self,
        files: impl Iterator<Item = &'a Path>,
        equal: impl Fn(&Path) -> usize,
    ) -> Option<&'a Path> {
        unique_max(files, |file| (equal(file), self.nearness(file)))
    }

    /// Like [`find`](Self::find), in the split with this role.
    pub fn find_in(&self, name: &str, role: Option<Role>) -> Result<PathBuf, String> {
        let slashed = slashed(name);
        let relative = Path::new(&slashed);
        let roles = roles(&slashed, role);
        let fits = |file: &Path| self.fits(&roles, file);
        let is_file = |path: &Path| {
            let file = path.strip_prefix(self.inventory.root());
            let file = file.unwrap_or(Path::new(""));
            path.is_file() && (self.is_of(role, file) || fits(file))
        };
        // Nearly all names are found here.
        let is_inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        if Path::new(name).components().all(is_inside) {
            let direct = self.folders.iter().map(|folder| folder.join(name));
            if let Some(found) = direct.into_iter().find(|path| is_file(path)) {
                return Ok(found);
            }
        }
        let mut joined = (self.folders.iter()).map(|folder| tidy(&folder.join(relative)));
        if let Some(found) = joined.find(|path| self.allows(path) && is_file(path)) {
            return Ok(found);
        }
        let parts = parts(&slashed);
        if let Some(found) = self.resembling(&parts, fits) {
            return Ok(self.inventory.root().join(found));
        }
        self.expected(name)
    }

    /// The path where an image was expected that is not on disk.
    ///
    /// # Errors
    ///
    /// The cause, if the name points outside the data set.
    pub fn expected(&self, name: &str) -> Result<PathBuf, String> {
        let slashed = slashed(name);
        let relative = Path::new(&slashed);
        let joined = self
            .folders
            .iter()
            .map(|folder| tidy(&folder.join(relative)));
        // Never fall back to an existing file: it may be an image of another split.
        let mut expected = joined.filter(|path| self.allows(path) && !path.is_file());
        match expected.next() {
            Some(expected) => Ok(expected),
            None if relative.is_absolute() && !relative.is_file() => {
                let parts = parts(&slashed);
                let name = parts.last().copied().unwrap_or_default();
                let path = self.inventory.root().join(name);
                Ok(match path.is_file() {
                    true => self.inventory.root().join(parts.join("/")),
                    false => path,
                })
            }
            None => Err(format!(
                "the image file name '{name}' points outside the folder of the data set"
            )),
        }
    }

    /// The folder of the data set.
    pub fn root(&self) -> &Path {
        self.inventory.root()
    }

    /// The file of the inventory that best matches a path, preferably in one of the folders, or else near the annotation
    /// file.
    fn resembling(&self, parts: &[&str], fits: impl Fn(&Path) -> bool) -> Option<&Path> {
        let fits = |file: &Path| fits(file) && !self.is_foreign(file, equal_at_end(file, parts));
        let namesakes = || self.inventory.namesakes(parts).filter(|file| fits(file));
        let in_folder = |folder: &PathBuf| {
            let folder = folder.strip_prefix(self.inventory.root()).ok()?;
            let name = parts.last()?;
            let same =
                namesakes().filter(|file| file.starts_with(folder) && file_name(file) == *name);
            unique_max(same, |_| 0)
        };
        (self.inventory.resembling(parts, fits))
            .or_else(|| self.folders.iter().find_map(in_folder))
            .or_else(|| self.nearest(namesakes(), |file| equal_at_end(file, parts)))
    }

    /// Whether a file of the inventory may belong to a split with one of these roles.
    fn fits(&self, roles: &[Role], file: &Path) -> bool {
        let own = || self.inventory.role_of(file);
        roles.is_empty() || own().is_none_or(|own| roles.contains(&own))
    }

    fn allows(&self, path: &Path) -> bool {
        let plain = plain(path);
        self.allowed.iter().any(|folder| plain.starts_with(folder))
    }
}

/// A path that may be a Windows path or a `file:` URL, with slashes. A drive becomes the root.
pub(super) fn slashed(name: &str) -> String {
    let slashed = name.trim().replace('\\', "/");
    let local = slashed.strip_prefix("file://").unwrap_or(&slashed);
    match local.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => {
            format!("/{}", local[2..].trim_start_matches('/'))
        }
        _ => local.to_string(),
    }
}

/// The components of a path with slashes, without `.` and `..`.
fn parts(slashed: &str) -> Vec<&str> {
    let parts = slashed.split('/');
    parts
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect()
}

/// The number of folders that the end of a file's path and `parts` have in common.
fn equal_folders(file: &Path, parts: &[&str]) -> usize {
    equal_at_end(file.parent().unwrap_or(Path::new("")), parts)
}

/// The absolute path, without `.` and `..`.
pub(super) fn plain(path: &Path) -> PathBuf {
    tidy(&std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
}

/// The path without `.`, and without `..` that follow a folder.
pub(super) fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, part| {
        let last = tidy.components().next_back();
        let below_folder = matches!(last, Some(Component::Normal(_)));
        let below_root = matches!(last, Some(Component::RootDir | Component::Prefix(_)));
        match part {
            Component::CurDir if below_folder || below_root => {}
            Component::ParentDir if below_folder => {
                tidy.pop();
            }
            Component::ParentDir if below_root => {}
            part => tidy.push(part),
        }
        tidy
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn names_are_found_in_the_data_set_or_rejected() {
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "set/train/a.jpg",
            "set/val/b.jpg",
            "set/train/c.jpg",
            "set/val/c.jpg",
            "secret.jpg",
        ] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let root = dir.path().join("set");
        let inventory = Arc::new(Inventory::of(&root).unwrap());
        let finder = ImageFinder::new(inventory, vec![root.join("train")]);
        let find = |name: &str| {
            let path = finder.find(name)?;
            let path = plain(&path)
                .strip_prefix(plain(&root))
                .unwrap()
                .to_path_buf();
            Ok::<_, String>(path.display().to_string())
        };
        for (name, found) in [
            ("a.jpg", "train/a.jpg"),
            ("./a.jpg", "train/a.jpg"),
            ("..\\train\\a.jpg", "train/a.jpg"),
            ("../val/b.jpg", "val/b.jpg"),
            ("C:\\Users\\me\\set\\val\\c.jpg", "val/c.jpg"),
            ("/home/me/train/c.jpg", "train/c.jpg"),
            ("data/c.jpg", "train/c.jpg"),
            ("b.jpg", "val/b.jpg"),
            ("file:///home/me/b.jpg", "val/b.jpg"),
            // Does not exist.
            ("x/none.jpg", "train/x/none.jpg"),
            ("D:/x/none.jpg", "none.jpg"),
        ] {
            assert_eq!(find(name).as_deref(), Ok(found), "{name}");
        }
        let inventory = Arc::new(Inventory::of(&root).unwrap());
        let finder = ImageFinder::new(inventory, vec![root.clone()]).of_split("training");
        for (name, found) in [
            ("x/b.jpg", "x/b.jpg"),
            ("val/b.jpg", "val/b.jpg"),
            ("/home/me/val/b.jpg", "val/b.jpg"),
            ("c.jpg", "train/c.jpg"),
        ] {
            assert_eq!(finder.find(name), Ok(root.join(found)), "{name}");
        }
        let secret = dir.path().join("secret.jpg");
        for name in [
            "../../secret.jpg",
            "..\\..\\none.jpg",
            secret.to_str().unwrap(),
        ] {
            assert!(find(name).unwrap_err().contains("points outside"), "{name}");
        }
    }
}
