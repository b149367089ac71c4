//! The image files that a user names: files, folders and patterns.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs::{self, File},
    io::{ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use fcos_burn::data::{ImageListing, list_names};
use glob::{MatchOptions, Pattern};
use walkdir::WalkDir;

use crate::Error;

/// What a pattern may contain that a name rarely does.
const WILDCARDS: [char; 3] = ['*', '?', '['];

/// The image files that a user names.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct InputFiles {
    /// The files, each once, in the order of the inputs; those of a folder or pattern sorted by
    /// name.
    pub files: Vec<PathBuf>,
    /// Image files in unsupported formats, in folders and patterns.
    pub left_out: Vec<PathBuf>,
    /// Hidden image files in folders, whose names start with a dot. Systems write them beside images: those of macOS have
    /// the extensions of images, but contain none.
    pub hidden: Vec<PathBuf>,
    /// Messages about folders that could not be read.
    pub unreadable: Vec<String>,
}

impl InputFiles {
    /// Collects the files that `inputs` name. Each is a file, which is taken whatever its name; a folder, of which the
    /// image files are taken, except hidden ones, with those of its subfolders if `recursive`; or a pattern with `*`, `?`,
    /// `[…]` or `**` for the names of image files and folders. If a file or folder has the very name of a pattern, it is taken instead.
    ///
    /// A file that several inputs name is taken once, even through links.
    ///
    /// # Errors
    ///
    /// Fails if an input does not exist, if it is a YUV4MPEG2 file, if a pattern is malformed, or if there is no image file in a folder or for a
    /// pattern.
    pub fn collect(inputs: &[PathBuf], recursive: bool) -> Result<Self, Error> {
        let mut collected = Self::default();
        let mut seen = HashSet::new();
        for input in inputs {
            let is_file = fs::metadata(input).map(|metadata| !metadata.is_dir());
            let listing = match is_file {
                Ok(true) if is_video(input) => return Err(Error::VideoFile(input.clone())),
                Ok(true) => {
                    collected.add(vec![input.clone()], &mut seen);
                    continue;
                }
                Ok(false) => listing(input, recursive)?,
                Err(error) => match pattern(input) {
                    Some(pattern) => matching(pattern, recursive)?,
                    None => return Err(Error::io(input)(error)),
                },
            };
            if listing.files.is_empty() && listing.unreadable.is_empty() {
                let names = |files: &[PathBuf]| {
                    let names: Vec<String> = files.iter().map(|file| file_name(file)).collect();
                    list_names(&names)
                };
                let left_out = match (&listing.left_out[..], &listing.hidden[..]) {
                    ([], []) => String::new(),
                    ([], hidden) => format!(" that are not hidden: {}", names(hidden)),
                    (unread, _) => format!(" in a supported format: {}", names(unread)),
                };
                let input = input.clone();
                return Err(Error::NoImages { input, left_out });
            }
            let files = collected.append(listing);
            collected.add(files, &mut seen);
        }
        Ok(collected)
    }

    /// The names of files, such as those that are [left out](Self::left_out), by their folder.
    pub fn by_folder(files: &[PathBuf]) -> BTreeMap<&Path, Vec<String>> {
        let mut names: BTreeMap<&Path, BTreeSet<String>> = BTreeMap::new();
        for file in files {
            let folder = file
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            names.entry(folder).or_default().insert(file_name(file));
        }
        let list = |(folder, names): (_, BTreeSet<String>)| (folder, names.into_iter().collect());
        names.into_iter().map(list).collect()
    }

    /// Adds what `other` has, except its files, which are returned.
    fn append(&mut self, other: Self) -> Vec<PathBuf> {
        self.left_out.extend(other.left_out);
        self.hidden.extend(other.hidden);
        self.unreadable.extend(other.unreadable);
        other.files
    }

    /// Adds the files that were not seen before.
    fn add(&mut self, files: Vec<PathBuf>, seen: &mut HashSet<PathBuf>) {
        for file in files {
            // A file that cannot be found is reported when it is read.
            let place = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
            if seen.insert(place) {
                self.files.push(file);
            }
        }
    }
}

fn file_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or(file.as_os_str());
    name.to_string_lossy().into_owned()
}

/// The image files of a folder, except hidden ones.
fn listing(folder: &Path, recursive: bool) -> Result<InputFiles, Error> {
    let listing = match recursive {
        true => ImageListing::of_tree(folder)?,
        false => ImageListing::of(folder)?,
    };
    let (hidden, files): (Vec<_>, Vec<_>) =
        listing.images.into_iter().partition(|file| is_hidden(file));
    let (also_hidden, left_out): (Vec<_>, Vec<_>) = listing
        .left_out
        .into_iter()
        .partition(|file| is_hidden(file));
    Ok(InputFiles {
        files,
        left_out,
        hidden: [hidden, also_hidden].concat(),
        unreadable: listing.unreadable,
    })
}

fn is_hidden(file: &Path) -> bool {
    let name = file.file_name().unwrap_or_default();
    name.as_encoded_bytes().starts_with(b".")
}

/// The input as a pattern, if it can be one.
fn pattern(input: &Path) -> Option<&str> {
    input.to_str().filter(|text| text.contains(WILDCARDS))
}

/// The images that match a pattern, or are in folders that match. Links are followed, except to a folder that contains
/// them. Wildcards at the start of a name match no hidden file, but a dot does.
fn matching(pattern: &str, recursive: bool) -> Result<InputFiles, Error> {
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let path = normalized(pattern);
    let compiled = Pattern::new(&path.to_string_lossy()).map_err(|error| Error::Pattern {
        pattern: pattern.to_owned(),
        cause: error.to_string(),
    })?;
    let is_literal = |part: &Component| !part.as_os_str().to_string_lossy().contains(WILDCARDS);
    let base: PathBuf = path.components().take_while(is_literal).collect();
    let depth = match pattern.contains("**") {
        true => usize::MAX,
        false => path.components().count() - base.components().count(),
    };
    let root = match base.as_os_str().is_empty() {
        true => Path::new("."),
        false => &base,
    };
    let mut all = InputFiles::default();
    if !root.is_dir() {
        return Ok(all);
    }
    let walk = WalkDir::new(root).follow_links(true).sort_by_file_name();
    for entry in walk.min_depth(1).max_depth(depth) {
        let entry = match entry {
            Ok(entry) => entry,
            // Everything in the folder is found without the link.
            Err(error) if error.loop_ancestor().is_some() => continue,
            Err(error) => {
                if error
                    .path()
                    .is_none_or(|at| may_hold(&compiled, at, options))
                {
                    all.unreadable.push(error.to_string());
                }
                continue;
            }
        };
        let path = entry.path();
        let path = path.strip_prefix(".").unwrap_or(path);
        if !compiled.matches_with(&path.to_string_lossy(), options) {
            continue;
        }
        let listing = match entry.file_type().is_dir() {
            true => listing(path, recursive)?,
            false => {
                let listing = ImageListing::among([path.to_owned()]);
                InputFiles {
                    files: listing.images,
                    left_out: listing.left_out,
                    ..InputFiles::default()
                }
            }
        };
        let files = all.append(listing);
        all.files.extend(files);
    }
    Ok(all)
}

/// Whether what cannot be read at a path matches the pattern, or is a folder that may hold something that does.
fn may_hold(pattern: &Pattern, at: &Path, options: MatchOptions) -> bool {
    let at = at.strip_prefix(".").unwrap_or(at);
    let leads_nowhere = fs::metadata(at).is_err_and(|error| error.kind() == ErrorKind::NotFound);
    if leads_nowhere {
        return pattern.matches_with(&at.to_string_lossy(), options);
    }
    let mut patterns = Path::new(pattern.as_str()).components();
    for part in at.components() {
        let Some(pattern) = patterns.next() else {
            return false;
        };
        let pattern = pattern.as_os_str().to_string_lossy();
        if pattern == "**" {
            return true;
        }
        let part = part.as_os_str().to_string_lossy();
        if !Pattern::new(&pattern).is_ok_and(|pattern| pattern.matches_with(&part, options)) {
            return false;
        }
    }
    true
}

/// A pattern without repeated separators and a leading dot, as the paths that it is compared with.
fn normalized(pattern: &str) -> PathBuf {
    let parts = Path::new(pattern).components();
    parts.filter(|part| *part != Component::CurDir).collect()
}

/// Whether this is a file with a video in the format that is read from standard input.
fn is_video(path: &Path) -> bool {
    const SIGNATURE: &[u8; 9] = b"YUV4MPEG2";
    let mut start = [0; SIGNATURE.len()];
    // A pipe could not be read twice.
    let file = path.is_file().then(|| File::open(path));
    file.and_then(Result::ok)
        .is_some_and(|mut file| file.read_exact(&mut start).is_ok() && start == *SIGNATURE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A folder with empty files of these names.
    fn folder(names: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        dir
    }

    /// The collected files, relative to the folder.
    fn files(dir: &Path, inputs: &[&str], recursive: bool) -> Vec<String> {
        let inputs: Vec<PathBuf> = inputs.iter().map(|input| dir.join(input)).collect();
        let collected = InputFiles::collect(&inputs, recursive).unwrap();
        assert!(collected.unreadable.is_empty(), "{collected:?}");
        let relative = |file: &PathBuf| {
            file.strip_prefix(dir)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/")
        };
        collected.files.iter().map(relative).collect()
    }

    #[test]
    fn patterns_may_begin_with_a_dot() {
        for pattern in ["./a/*.jpg", "a//*.jpg", "a/./*.jpg", "a/*.jpg"] {
            assert_eq!(normalized(pattern), Path::new("a/*.jpg"));
        }
        assert_eq!(normalized("../a/*.jpg"), Path::new("../a/*.jpg"));
    }

    #[test]
    fn files_folders_and_patterns_are_combined_without_repetitions() {
        let dir = folder(&[
            "a.jpg",
            "b/2.png",
            "b/1.JPG",
            "b/note.txt",
            "c/x.jpg",
            "c/y.txt",
            "c/deep/z.jpg",
        ]);
        let files = |inputs: &[&str], recursive| files(dir.path(), inputs, recursive);
        assert_eq!(
            files(&["b", "a.jpg", "b/../a.jpg", "b/2.png"], false),
            ["b/1.JPG", "b/2.png", "a.jpg"]
        );
        // A named file is taken whatever its extension, a matching one is not.
        assert_eq!(
            files(&["c/y.txt", "c/*"], false),
            ["c/y.txt", "c/deep/z.jpg", "c/x.jpg"]
        );
        assert_eq!(
            files(&["c/?.jpg", "[ab]*"], false),
            ["c/x.jpg", "a.jpg", "b/1.JPG", "b/2.png"]
        );
        assert_eq!(
            files(&["**/*.jpg"], false),
            ["a.jpg", "c/deep/z.jpg", "c/x.jpg"]
        );
        let all = ["a.jpg", "b/1.JPG", "b/2.png", "c/deep/z.jpg", "c/x.jpg"];
        assert_eq!(files(&["."], true), all.map(|name| name.to_owned()));
    }

    #[test]
    fn a_file_or_folder_with_the_name_of_a_pattern_is_taken() {
        let dir = folder(&["[ab].jpg", "a.jpg", "[x]/1.png"]);
        assert_eq!(files(dir.path(), &["[ab].jpg"], false), ["[ab].jpg"]);
        assert_eq!(files(dir.path(), &["[x]"], false), ["[x]/1.png"]);
    }

    #[test]
    fn hidden_files_are_taken_only_if_they_are_named() {
        let dir = folder(&[
            "a/1.jpg",
            "a/._1.jpg",
            "a/b/.2.png",
            "a/b/2.png",
            "a/._3.heic",
        ]);
        let files = |inputs: &[&str], recursive| files(dir.path(), inputs, recursive);
        assert_eq!(files(&["a"], false), ["a/1.jpg"]);
        assert_eq!(files(&["a"], true), ["a/1.jpg", "a/b/2.png"]);
        assert_eq!(files(&["a/*"], false), ["a/1.jpg", "a/b/2.png"]);
        assert_eq!(
            files(&["a/._1.jpg", "a/b/.*"], false),
            ["a/._1.jpg", "a/b/.2.png"]
        );
        let all = InputFiles::collect(&[dir.path().to_owned()], true).unwrap();
        assert!(all.left_out.is_empty(), "{all:?}");
        let hidden = InputFiles::by_folder(&all.hidden);
        let names: Vec<&[String]> = hidden.values().map(Vec::as_slice).collect();
        assert_eq!(names, [&["._1.jpg", "._3.heic"][..], &[".2.png"]]);
    }

    #[test]
    fn inputs_without_an_image_are_errors() {
        let dir = folder(&["b/note.txt", "b/photo.heic", "c/._1.jpg"]);
        for (input, cause) in [
            ("missing.jpg", "missing.jpg"),
            ("b", "has no images in a supported format: photo.heic"),
            ("b/*.jpg", "has no images"),
            ("c", "has no images that are not hidden: ._1.jpg"),
            ("b/[", "is not a valid pattern"),
        ] {
            let error = InputFiles::collect(&[dir.path().join(input)], false).unwrap_err();
            assert!(error.to_string().contains(cause), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_a_pattern_does_not_match_does_not_fail_it() {
        use std::os::unix::fs::symlink;

        let dir = folder(&["a/1.jpg", "ab/2.jpg"]);
        let link = |name: &str| symlink("nowhere", dir.path().join(name)).unwrap();
        let unreadable = |pattern: &str| {
            let pattern = dir.path().join(pattern);
            let collected = InputFiles::collect(&[pattern], false).unwrap();
            (collected.files.len(), collected.unreadable.len())
        };
        for name in ["a/notes.txt", "a/.#notes.jpg", "abc"] {
            link(name);
        }
        assert_eq!(unreadable("a/*.jpg"), (1, 0));
        assert_eq!(unreadable("a*/*.jpg"), (2, 0));
        link("a/3.jpg");
        assert_eq!(unreadable("a/*.jpg"), (1, 1));
        assert_eq!(unreadable("a/**/*.jpg"), (1, 1));
    }

    #[cfg(unix)]
    #[test]
    fn loops_of_links_end_and_links_to_the_same_file_count_once() {
        use std::os::unix::fs::symlink;

        let dir = folder(&["a/1.jpg", "elsewhere/2.jpg"]);
        let root = dir.path().join("a");
        symlink(&root, root.join("loop")).unwrap();
        symlink(root.join("1.jpg"), root.join("same.jpg")).unwrap();
        symlink(dir.path().join("elsewhere"), root.join("linked")).unwrap();
        assert_eq!(
            files(dir.path(), &["a"], true),
            ["a/1.jpg", "a/linked/2.jpg"]
        );
        symlink(&root, dir.path().join("elsewhere/loop")).unwrap();
        assert_eq!(
            files(dir.path(), &["a/**/*.jpg"], false),
            ["a/1.jpg", "a/linked/2.jpg"]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn names_that_are_not_unicode_match_patterns() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

        let dir = folder(&["a.jpg"]);
        let name = OsStr::from_bytes(b"b\xff.jpg");
        fs::write(dir.path().join(name), "").unwrap();
        let pattern = dir.path().join("*.jpg");
        let collected = InputFiles::collect(&[pattern], false).unwrap();
        let found: Vec<&OsStr> = collected
            .files
            .iter()
            .filter_map(|file| file.file_name())
            .collect();
        assert_eq!(found, [OsStr::new("a.jpg"), name]);
    }
}
