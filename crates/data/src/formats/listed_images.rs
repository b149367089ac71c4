//! Images in a folder and images that annotation files list.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use rayon::prelude::*;

use super::description::Description;
use super::image_finder::{ImageFinder, plain};
use super::inventory::Inventory;
use super::named_folders::{Claim, NamedFolder, folders, wrong_claims};
use crate::files::last_part;
use crate::{LoadReport, Tally};

/// The paths of the images that an annotation file calls `names`, in that order. If an image that was found is probably
/// [another one](super::named_folders), the path where the image was expected. The report tells how many. `others` are
/// further names in the file.
///
/// # Errors
///
/// The cause, if a name points outside the data set.
pub(super) fn locate_all(
    finder: &ImageFinder,
    names: &[&str],
    others: &[&str],
    report: &mut LoadReport,
) -> Result<Vec<PathBuf>, String> {
    let located = names.par_iter().map(|name| locate(finder, name));
    let located: Vec<Located> = located.collect::<Result<_, _>>()?;
    settle(finder, &located, others, report)
}

/// A name in an annotation file and the path found for it.
#[derive(Debug)]
pub(super) struct Located<'a> {
    /// As searched for.
    pub name: Cow<'a, str>,
    pub path: PathBuf,
}

/// The paths of located images, with those that are [probably other images](super::named_folders) replaced by the paths
/// where the images were expected. The report tells how many.
///
/// # Errors
///
/// The cause, if a name points outside the data set.
pub(super) fn settle(
    finder: &ImageFinder,
    located: &[Located],
    others: &[&str],
    report: &mut LoadReport,
) -> Result<Vec<PathBuf>, String> {
    let mut named: HashMap<&str, NamedFolder> = HashMap::new();
    let mut places: HashMap<&Path, Vec<String>> = HashMap::new();
    let own = located.iter().map(|located| located.name.as_ref());
    for folder in own.chain(others.iter().copied()).map(folder_of) {
        named
            .entry(folder)
            .or_insert_with(|| NamedFolder::of_name(&format!("{folder}image")));
    }
    for Located { path, .. } in located {
        let folder = path.parent().unwrap_or(Path::new(""));
        places
            .entry(folder)
            .or_insert_with(|| folders(&plain(folder)));
    }
    let claims = located.iter().map(|Located { name, path }| Claim {
        folder: &named[folder_of(name)],
        place: &places[path.parent().unwrap_or(Path::new(""))],
        path,
    });
    let claims: Vec<Claim> = claims.collect();
    let mut wrong = Tally::default();
    let others = others.iter().map(|name| &named[folder_of(name)]);
    let paths = located.iter().zip(wrong_claims(&claims, others));
    let paths = paths.map(|(Located { name, path }, is_wrong)| {
        if !(is_wrong && path.is_file()) {
            return Ok(path.clone());
        }
        let found = path.strip_prefix(finder.root()).unwrap_or(path);
        wrong.add(format_args!("{name}, found {}", found.display()));
        finder.expected(name)
    });
    let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    if wrong.count > 0 {
        report.note(format!(
            "images treated as missing, since the only file of that name is in a folder that other entries name: {wrong}"
        ));
    }
    let mut borrowed = Tally::default();
    for (Located { name, .. }, path) in located.iter().zip(&paths) {
        if finder.is_borrowed(name, path) {
            borrowed.add(name);
        }
    }
    if borrowed.count > 0 {
        report.remark(format!(
            "this split has no folder of images; found in those of other splits: {borrowed}"
        ));
    }
    Ok(paths)
}

/// The part of a name before its last component.
fn folder_of(name: &str) -> &str {
    &name[..name.len() - last_part(name).len()]
}

/// The image that an annotation file calls `name`. Tries `finder` with the name, then with the name decoded as a URL
/// (`a%20b.jpg`), then the only image with this name plus an extension. If all fail, the path where the image was
/// expected.
///
/// # Errors
///
/// The cause, if the name points outside the data set.
fn locate<'a>(finder: &ImageFinder, name: &'a str) -> Result<Located<'a>, String> {
    let found = |name: Cow<'a, str>, path: PathBuf| Ok(Located { name, path });
    let path = finder.find(name)?;
    if path.is_file() {
        return found(Cow::Borrowed(name), path);
    }
    let plain = match name.contains("://") {
        true => name.split(['?', '#']).next().unwrap_or(name),
        false => name,
    };
    if let Ok(decoded) = percent_decode_str(plain).decode_utf8()
        && decoded != name
    {
        let path = finder.find(&decoded)?;
        if path.is_file() {
            return found(decoded, path);
        }
    }
    let path = finder.find_without_extension(name).unwrap_or(path);
    found(Cow::Borrowed(name), path)
}

/// Adds a remark on images that no annotation file lists, in the folders of the listed images. `is_listed` recognizes
/// images of other splits by their paths relative to the folder of the inventory.
pub(super) fn remark_on_unlisted(
    inventory: &Inventory,
    description: &mut Description,
    is_listed: impl Fn(&Path) -> bool,
) {
    let paths = description.images.iter().map(|image| image.path.as_path());
    let own: HashSet<&Path> = paths
        .filter_map(|path| path.strip_prefix(inventory.root()).ok())
        .collect();
    let folders: HashSet<&Path> = own.iter().filter_map(|image| image.parent()).collect();
    let mut others = Tally::default();
    for image in inventory.images() {
        let is_beside = image
            .parent()
            .is_some_and(|folder| folders.contains(folder));
        if is_beside && !own.contains(image.as_path()) && !is_listed(image) {
            others.add(image.display());
        }
    }
    if others.count > 0 {
        let remark = format!("images without annotations, skipped: {others}");
        description.report.remark(remark);
    }
}
