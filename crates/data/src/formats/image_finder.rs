//! Paths of the images that annotation files name.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::inventory::{Inventory, equal_at_end, unique_max};
use super::split::{Role, role_of};
use crate::decoding::is_image;

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
}

/// Folders that may hold the images of a split whose annotation `file` is in the folder `root`, in search order. The
/// folder of the split comes first.
pub(super) fn image_folders(root: &Path, file: &Path, split: &str) -> Vec<PathBuf> {
    let beside = file.parent().unwrap_or(Path::new(""));
    let split = Path::new(split);
    // A table may name any split, also one with `..`.
    let is_inside = (split.components()).all(|part| matches!(part, Component::Normal(_)));
    let of_split = [split.to_path_buf(), Path::new("images").join(split)];
    let others = [
        beside,
        &beside.join("images"),
        Path::new("images"),
        Path::new(""),
    ];
    let of_split = of_split.iter().filter(|_| is_inside);
    let folders = of_split.map(PathBuf::as_path).chain(others);
    folders.map(|folder| root.join(folder)).collect()
}

/// The roles of the splits that an image with this name may belong to, in a split with `role`. Without any, it may belong
/// to all.
fn roles(name: &str, role: Option<Role>) -> Vec<Role> {
    let name = Path::new(name);
    let folders = name.parent().unwrap_or(Path::new("")).iter();
    let named = folders.filter_map(|folder| Role::of_word(folder.to_str()?));
    let mut roles: Vec<Role> = named.collect();
    // Folders on another machine may have any name.
    if roles.is_empty() || name.is_absolute() {
        roles.extend(role);
    }
    roles
}

/// Whether a file of the inventory may belong to a split with one of these roles.
fn fits(roles: &[Role], file: &Path) -> bool {
    roles.is_empty() || role_of(file).is_none_or(|own| roles.contains(&own))
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
        }
    }

    /// Searches only for images of the split with this name.
    pub fn of_split(mut self, name: &str) -> Self {
        self.role = Role::of_word(name);
        self
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
        let images = || {
            let same = self.inventory.with_stem(stem);
            same.filter(|file| is_image(file) && fits(&roles, file))
        };
        let parent = parts.join("/");
        let folders = self.folders.iter().filter_map(|folder| {
            let folder = folder.strip_prefix(self.inventory.root()).ok()?;
            Some(tidy(&folder.join(&parent)))
        });
        let mut direct = folders.filter_map(|folder| {
            unique_max(
                images().filter(|file| file.parent() == Some(&folder)),
                |_| 0,
            )
        });
        let found = direct.next().or_else(|| {
            unique_max(images(), |file| {
                equal_at_end(file.parent().unwrap_or(Path::new("")), &parts)
            })
        })?;
        Some(self.inventory.root().join(found))
    }

    /// Like [`find`](Self::find), in the split with this role.
    pub fn find_in(&self, name: &str, role: Option<Role>) -> Result<PathBuf, String> {
        let slashed = slashed(name);
        let relative = Path::new(&slashed);
        let roles = roles(&slashed, role);
        let fits = |file: &Path| fits(&roles, file);
        let is_file = |path: &Path| {
            path.is_file()
                && fits(
                    path.strip_prefix(self.inventory.root())
                        .unwrap_or(Path::new("")),
                )
        };
        // Nearly all names are found here.
        let is_inside = |part: Component| matches!(part, Component::Normal(_) | Component::CurDir);
        if Path::new(name).components().all(is_inside) {
            let direct = self.folders.iter().map(|folder| folder.join(name));
            if let Some(found) = direct.into_iter().find(|path| is_file(path)) {
                return Ok(found);
            }
        }
        let joined = (self.folders.iter()).map(|folder| tidy(&folder.join(relative)));
        let candidates: Vec<PathBuf> = joined.filter(|path| self.allows(path)).collect();
        if let Some(found) = candidates.iter().find(|path| is_file(path)) {
            return Ok(found.clone());
        }
        let parts: Vec<&str> = slashed
            .split('/')
            .filter(|part| !matches!(*part, "" | "." | ".."))
            .collect();
        if let Some(found) = self.resembling(&parts, fits) {
            return Ok(self.inventory.root().join(found));
        }
        // Never fall back to an existing file: it may be an image of another split.
        let expected = candidates.into_iter().find(|path| !path.is_file());
        match expected {
            Some(expected) => Ok(expected),
            None if relative.is_absolute() && !relative.is_file() => {
                let name = parts.last().copied().unwrap_or_default();
                Ok(self.inventory.root().join(name))
            }
            None => Err(format!(
                "the image file name '{name}' points outside the folder of the data set"
            )),
        }
    }

    /// The file of the inventory that best matches a path, preferably in one of the folders.
    fn resembling(&self, parts: &[&str], fits: impl Fn(&Path) -> bool) -> Option<&Path> {
        self.inventory.resembling(parts, &fits).or_else(|| {
            let name = Path::new(parts.last()?);
            let stem = name.file_stem()?.to_str()?;
            let in_folder = |folder: &PathBuf| {
                let folder = folder.strip_prefix(self.inventory.root()).ok()?;
                let same = self.inventory.with_stem(stem).filter(|file| {
                    file.starts_with(folder) && file.file_name() == name.file_name() && fits(file)
                });
                unique_max(same, |_| 0)
            };
            self.folders.iter().find_map(in_folder)
        })
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

/// The absolute path, without `.` and `..`.
pub(super) fn plain(path: &Path) -> PathBuf {
    tidy(&std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()))
}

/// The path without `.`, and without `..` that follow a folder.
fn tidy(path: &Path) -> PathBuf {
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
