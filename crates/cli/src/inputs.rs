//! The image files that a user names: files, folders and patterns.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use fcos_burn::data::ImageListing;
use glob::{MatchOptions, glob_with};

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
    /// Messages about folders that could not be read.
    pub unreadable: Vec<String>,
}

impl InputFiles {
    /// Collects the files that `inputs` name. Each is a file, which is taken whatever its name; a folder, of
    /// which the image files are taken, with those of its subfolders if `recursive`; or a pattern with `*`, `?`, `[…]`
    /// or `**` for the names of image files and folders. If a file or folder has the very name of a pattern, it is taken instead.
    ///
    /// A file that several inputs name is taken once, even through links.
    ///
    /// # Errors
    ///
    /// Fails if an input does not exist, if a pattern is malformed, or if there is no image file in a folder or for a pattern.
    pub fn collect(inputs: &[PathBuf], recursive: bool) -> Result<Self, Error> {
        let mut collected = Self::default();
        let mut seen = HashSet::new();
        for input in inputs {
            let is_file = fs::metadata(input).map(|metadata| !metadata.is_dir());
            let listing = match is_file {
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
            if listing.images.is_empty() && listing.unreadable.is_empty() {
                return Err(Error::NoImages(input.clone()));
            }
            collected.left_out.extend(listing.left_out);
            collected.unreadable.extend(listing.unreadable);
            collected.add(listing.images, &mut seen);
        }
        Ok(collected)
    }

    /// The names of the files in unsupported formats, by their folder.
    pub fn left_out_by_folder(&self) -> BTreeMap<&Path, Vec<String>> {
        let mut names: BTreeMap<&Path, Vec<String>> = BTreeMap::new();
        for file in &self.left_out {
            if let (Some(folder), Some(name)) = (file.parent(), file.file_name()) {
                let names = names.entry(folder).or_default();
                names.push(name.to_string_lossy().into_owned());
            }
        }
        names
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

fn listing(folder: &Path, recursive: bool) -> Result<ImageListing, Error> {
    Ok(match recursive {
        true => ImageListing::of_tree(folder)?,
        false => ImageListing::of(folder)?,
    })
}

/// The input as a pattern, if it can be one.
fn pattern(input: &Path) -> Option<&str> {
    input.to_str().filter(|text| text.contains(WILDCARDS))
}

/// The images that match a pattern, or are in folders that match.
fn matching(pattern: &str, recursive: bool) -> Result<ImageListing, Error> {
    let options = MatchOptions {
        require_literal_separator: true,
        require_literal_leading_dot: true,
        ..MatchOptions::new()
    };
    let found = glob_with(pattern, options).map_err(|error| Error::Pattern {
        pattern: pattern.to_owned(),
        cause: error.to_string(),
    })?;
    let mut all = ImageListing::default();
    for path in found {
        let listing = match path {
            Ok(path) if path.is_dir() => listing(&path, recursive)?,
            Ok(path) => ImageListing::among([path]),
            Err(error) => {
                all.unreadable.push(error.to_string());
                continue;
            }
        };
        all.images.extend(listing.images);
        all.left_out.extend(listing.left_out);
        all.unreadable.extend(listing.unreadable);
    }
    Ok(all)
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
    fn inputs_without_an_image_are_errors() {
        let dir = folder(&["b/note.txt", "b/photo.heic"]);
        for (input, cause) in [
            ("missing.jpg", "missing.jpg"),
            ("b", "has no images"),
            ("b/*.jpg", "has no images"),
            ("b/[", "is not a valid pattern"),
        ] {
            let error = InputFiles::collect(&[dir.path().join(input)], false).unwrap_err();
            assert!(error.to_string().contains(cause), "{error}");
        }
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
        assert_eq!(files(dir.path(), &["a/**/*.jpg"], false)[0], "a/1.jpg");
    }
}
