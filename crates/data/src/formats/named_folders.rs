//! The folders in the names of a file, which tell whether an image in another folder can be meant.
//!
//! Images are also found where the folders differ from those in their names, as in paths of another machine or after
//! images were moved. But a name of `seq2/7.png` does not mean `images/seq1/7.png` if other names show which folder
//! `seq1` is: then that image is missing.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::path::{Component, Path};

use super::image_finder::{slashed, tidy};
use crate::spelling::folded;

/// Folders under which the paths of different machines have the folders of their users.
const HOMES: [&str; 3] = ["home", "users", "documents and settings"];

/// The folders of a name in an annotation file, folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct NamedFolder {
    /// The folders that absolute paths of the same machine start with; empty for relative paths. Names with different
    /// bases say nothing about each other.
    base: Vec<String>,
    parts: Vec<String>,
}

impl NamedFolder {
    /// The folders of the file that an annotation file calls `name`.
    pub fn of_name(name: &str) -> Self {
        let slashed = slashed(name);
        let path = tidy(Path::new(&slashed));
        let parts = folders(path.parent().unwrap_or(Path::new("")));
        let own = match parts.first() {
            Some(first) if HOMES.contains(&first.as_str()) => 2,
            _ => 1,
        };
        let base = match path.is_absolute() || slashed.starts_with('/') {
            true => parts[..own.min(parts.len())].to_vec(),
            false => Vec::new(),
        };
        Self { base, parts }
    }

    /// Relative folders.
    pub fn relative(parts: Vec<String>) -> Self {
        Self {
            base: Vec::new(),
            parts,
        }
    }

    /// The number of folders that the ends of the name and of a place have in common.
    fn common(&self, place: &[String]) -> usize {
        let pairs = self.parts.iter().rev().zip(place.iter().rev());
        pairs.take_while(|(own, other)| own == other).count()
    }

    /// Whether neither the name nor a place has a folder that the other one lacks at this depth from the end.
    pub fn agrees_with(&self, place: &[String]) -> bool {
        self.common(place) == self.parts.len().min(place.len())
    }

    fn is_within(&self, place: &[String]) -> bool {
        self.common(place) == self.parts.len()
    }
}

/// The folders of a path, folded, from the outermost.
pub(super) fn folders(path: &Path) -> Vec<String> {
    let parts = path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(folded(&part.to_string_lossy())),
        _ => None,
    });
    parts.collect()
}

/// All folders of the names in a file.
#[derive(Debug, Default)]
pub(super) struct NamedFolders {
    /// A tree of the bases, each followed by the folders from the innermost: the node below a node by name. The root is 0.
    below: HashMap<(usize, String), usize>,
}

/// Separates bases from folders in the tree.
const SEPARATOR: &str = "/";

impl NamedFolders {
    pub fn of<'a>(folders: impl IntoIterator<Item = &'a NamedFolder>) -> Self {
        let mut below = HashMap::new();
        let distinct: HashSet<&NamedFolder> = folders.into_iter().collect();
        for folder in distinct {
            let mut node = 0;
            for part in steps(&folder.base, &folder.parts) {
                let new = below.len() + 1;
                node = *below.entry((node, part.to_owned())).or_insert(new);
            }
        }
        Self { below }
    }

    /// Whether a file in the folders `place` is not what a name in `folder` means: they contradict each other, and another
    /// name is in a folder that fits the place better.
    pub fn exclude(&self, folder: &NamedFolder, place: &[String]) -> bool {
        if folder.agrees_with(place) {
            return false;
        }
        let better = &place[place.len() - folder.common(place) - 1..];
        let end = steps(&folder.base, better).try_fold(0, |node, part| {
            self.below.get(&(node, part.to_owned())).copied()
        });
        end.is_some()
    }
}

/// The names on the way through the tree.
fn steps<'a>(base: &'a [String], folders: &'a [String]) -> impl Iterator<Item = &'a str> {
    let base = base.iter().map(String::as_str).chain([SEPARATOR]);
    base.chain(folders.iter().rev().map(String::as_str))
}

/// A file that was found for a name.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub folder: &'a NamedFolder,
    /// The folders of the file, folded.
    pub place: &'a [String],
    pub path: &'a Path,
}

/// Whether each claim is wrong: other names are in folders that fit better, or mean the same file at least as likely.
/// Names within the folders of the file are right, in any number. `others` are the folders of further names in the file.
pub(super) fn wrong_claims<'a>(
    claims: &[Claim<'a>],
    others: impl IntoIterator<Item = &'a NamedFolder>,
) -> Vec<bool> {
    let is_right = |claim: &Claim| claim.folder.is_within(claim.place);
    // Nearly always.
    if claims.iter().all(is_right) {
        return vec![false; claims.len()];
    }
    let named = NamedFolders::of(claims.iter().map(|claim| claim.folder).chain(others));
    let mut closest: HashMap<(&Path, &[String]), Closest> = HashMap::with_capacity(claims.len());
    for claim in claims {
        let (folder, common) = (claim.folder, claim.folder.common(claim.place));
        match closest.entry((claim.path, &folder.base)) {
            Entry::Occupied(mut known) => known.get_mut().add(folder, common),
            Entry::Vacant(place) => {
                place.insert(Closest {
                    folder,
                    common,
                    others: None,
                });
            }
        }
    }
    let is_wrong = |claim: &Claim| {
        let rival = closest[&(claim.path, claim.folder.base.as_slice())].other_than(claim.folder);
        !is_right(claim)
            && (named.exclude(claim.folder, claim.place)
                || rival.is_some_and(|rival| rival >= claim.folder.common(claim.place)))
    };
    claims.iter().map(is_wrong).collect()
}

/// The folder that fits a file best, of those in names of the file.
struct Closest<'a> {
    folder: &'a NamedFolder,
    /// The number of folders in common with the file.
    common: usize,
    /// The largest number for any other folder.
    others: Option<usize>,
}

impl<'a> Closest<'a> {
    fn add(&mut self, folder: &'a NamedFolder, common: usize) {
        if folder == self.folder {
            return;
        }
        let mut other = common;
        if common > self.common {
            other = std::mem::replace(&mut self.common, common);
            self.folder = folder;
        }
        self.others = self.others.max(Some(other));
    }

    /// The largest number for a folder other than this one.
    fn other_than(&self, folder: &NamedFolder) -> Option<usize> {
        match folder == self.folder {
            true => self.others,
            false => Some(self.common),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names that are not meant by the file found for them.
    fn wrong<'a>(found: &[(&'a str, &str)]) -> Vec<&'a str> {
        let parsed: Vec<(NamedFolder, Vec<String>, &Path)> = (found.iter())
            .map(|(name, path)| {
                let path = Path::new(path);
                let place = folders(path.parent().unwrap_or(Path::new("")));
                (NamedFolder::of_name(name), place, path)
            })
            .collect();
        let claims: Vec<Claim> = (parsed.iter())
            .map(|(folder, place, path)| Claim {
                folder,
                place,
                path,
            })
            .collect();
        let wrong = wrong_claims(&claims, []).into_iter().zip(found);
        wrong
            .filter(|(is_wrong, _)| *is_wrong)
            .map(|(_, (name, _))| *name)
            .collect()
    }

    #[test]
    fn a_folder_that_another_name_has_is_not_meant() {
        for (name, other) in [
            ("seq2/1.png", "seq1/0.png"),
            ("a/seq2/img/1.png", "a/seq1/img/0.png"),
            ("D:\\set\\seq2\\1.png", "D:\\set\\seq1\\0.png"),
            ("https://host/seq2/1.png", "https://host/seq1/0.png"),
            ("SEQ2/1.png", "Seq1/0.png"),
        ] {
            let place = match name.contains("img") {
                true => "root/a/seq1/img",
                false => "root/images/seq1",
            };
            let paths = [format!("{place}/0.png"), format!("{place}/1.png")];
            assert_eq!(wrong(&[(other, &paths[0]), (name, &paths[1])]), [name]);
        }
        // Images of two folders were moved into one that no name has.
        let moved = [("seq1/0.png", "all/0.png"), ("seq2/1.png", "all/1.png")];
        assert_eq!(wrong(&moved), [""; 0]);
        // Different users, and a name without folders.
        let users = [
            ("C:\\Users\\me\\imgs\\0.png", "root/imgs/0.png"),
            ("C:\\Users\\you\\pics\\1.png", "root/imgs/1.png"),
            ("2.png", "root/imgs/2.png"),
            ("data/3.png", "root/imgs/3.png"),
        ];
        assert_eq!(wrong(&users), [""; 0]);
    }

    #[test]
    fn of_several_names_the_closest_means_the_file() {
        let closest = [("0.png", "root/0.png"), ("seq2/0.png", "root/0.png")];
        assert_eq!(wrong(&closest), ["seq2/0.png"]);
        let tie = [("seq1/0.png", "all/0.png"), ("seq2/0.png", "all/0.png")];
        assert_eq!(wrong(&tie), ["seq1/0.png", "seq2/0.png"]);
        for same in [
            [("0.png", "images/0.png"), ("./0.png", "images/0.png")],
            [("0.png", "images/0.png"), ("images/0.png", "images/0.png")],
            [
                ("0.png", "images/0.png"),
                ("project/images/0.png", "images/0.png"),
            ],
            [
                ("/home/me/imgs/0.png", "images/0.png"),
                ("/home/you/pics/0.png", "images/0.png"),
            ],
        ] {
            assert_eq!(wrong(&same), [""; 0]);
        }
    }
}
