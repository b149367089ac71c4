//! Images in a folder and images that annotation files list.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::description::Description;
use super::image_finder::ImageFinder;
use super::inventory::Inventory;
use crate::Tally;

/// The path of the image that an annotation file calls `name`. Tries `finder` with the name, then with the name decoded
/// as a URL (`a%20b.jpg`), then the only image with this name plus an extension. If all fail, the path where the image
/// was expected.
///
/// # Errors
///
/// The cause, if the name points outside the data set.
pub(super) fn locate(finder: &ImageFinder, name: &str) -> Result<PathBuf, String> {
    let found = finder.find(name)?;
    if found.is_file() {
        return Ok(found);
    }
    let plain = match name.contains("://") {
        true => name.split(['?', '#']).next().unwrap_or(name),
        false => name,
    };
    if let Ok(decoded) = percent_decode_str(plain).decode_utf8()
        && decoded != name
    {
        let found = match decoded {
            Cow::Borrowed(plain) => finder.find(plain)?,
            Cow::Owned(decoded) => finder.find(&decoded)?,
        };
        if found.is_file() {
            return Ok(found);
        }
    }
    Ok(finder.find_without_extension(name).unwrap_or(found))
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
