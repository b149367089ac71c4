//! The images of a folder and those that annotation files list.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::description::Description;
use super::image_finder::ImageFinder;
use super::inventory::{Inventory, unique_max};
use crate::Tally;
use crate::decoding::is_image;
use crate::files::last_part;

/// Where the image is, or would be, that an annotation file calls `name`: as `finder` says, otherwise that of the name
/// decoded as a URL's (`a%20b.jpg`), otherwise the only image of that name with an extension.
///
/// # Errors
///
/// The cause, if the name leads out of the data set.
pub(super) fn locate(
    finder: &ImageFinder,
    inventory: &Inventory,
    name: &str,
) -> Result<PathBuf, String> {
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
    let images = inventory
        .with_stem(last_part(name))
        .filter(|file| is_image(file));
    Ok(match unique_max(images, |_| 0) {
        Some(image) => inventory.root().join(image),
        None => found,
    })
}

/// Remarks on images beside those of a split that no annotation file lists. `is_listed` tells those of other splits; it is
/// given paths relative to the folder of the inventory.
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
        let remark = format!("images that are not annotated, left out: {others}");
        description.report.remark(remark);
    }
}
