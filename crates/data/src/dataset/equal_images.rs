//! Duplicate images.

use std::collections::HashMap;
use std::fs::File;
use std::hash::Hasher;
use std::io::Read;
use std::path::Path;

use rayon::prelude::*;
use twox_hash::XxHash64;

use super::DetectionDataset;
use crate::files;

/// An image of one of several data sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePlace {
    /// The index of the data set.
    pub dataset: usize,
    /// The index of the image in it.
    pub image: usize,
}

/// Groups of two or more images in one or several data sets whose files have the same content. Within a group, images
/// are in the order of `datasets` and of their images. Groups are sorted by their first image.
///
/// Only files of equal size are read. Unreadable files, and images that are not in files, equal no other image.
///
/// ```
/// use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
/// use fcos_burn_data::{DetectionDataset, equal_images};
///
/// let train = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Train)?;
/// let val = DetectionDataset::shapes(&ShapesConfig::default(), ShapesSplit::Val)?;
/// assert!(equal_images(&[&train, &val]).is_empty());
/// # Ok::<(), fcos_burn_data::DataError>(())
/// ```
pub fn equal_images(datasets: &[&DetectionDataset]) -> Vec<Vec<ImagePlace>> {
    let files = datasets.iter().enumerate().flat_map(|(dataset, of)| {
        let path = move |image| Some((ImagePlace { dataset, image }, of.source.path(image)?));
        (0..of.len()).filter_map(path)
    });
    let files: Vec<(ImagePlace, &Path)> = files.collect();
    let sized = (files.into_par_iter())
        .filter_map(|(place, path)| Some((std::fs::metadata(path).ok()?.len(), (place, path))));
    let same_size: Vec<(ImagePlace, &Path)> =
        groups(sized.collect()).into_iter().flatten().collect();
    let hashed =
        (same_size.into_par_iter()).filter_map(|(place, path)| Some((content(path)?, place)));
    let mut groups = groups(hashed.collect());
    groups.sort_unstable();
    groups
}

/// The values whose key occurs more than once, grouped by key, in their original order.
fn groups<T>(keyed: Vec<(u64, T)>) -> Vec<Vec<T>> {
    let mut groups: HashMap<u64, Vec<T>> = HashMap::new();
    for (key, value) in keyed {
        groups.entry(key).or_default().push(value);
    }
    groups
        .into_values()
        .filter(|group| group.len() > 1)
        .collect()
}

/// A hash of the content of a file; `None` if it cannot be read.
fn content(path: &Path) -> Option<u64> {
    let mut file: File = files::open(path).ok()?;
    let mut hasher = XxHash64::with_seed(0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(hasher.finish()),
            read => hasher.write(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{Category, ImageFiles, ImageRecord};

    #[test]
    fn files_of_equal_content_are_grouped_across_data_sets() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = |contents: &[(&str, &str)]| {
            let paths = contents.iter().map(|(name, content)| {
                let path = folder.path().join(name);
                if !content.is_empty() {
                    std::fs::write(&path, content).unwrap();
                }
                path
            });
            let images = (1..).zip(contents);
            let images = images.map(|(id, (name, _))| ImageRecord::new(id, *name, 4, 4));
            let (images, source) = (images.collect(), ImageFiles::new(paths.collect()));
            DetectionDataset::new("set", Category::list(["a"]), images, source).unwrap()
        };
        // `b` has the size of `a` but different content; `absent` does not exist.
        let first = dataset(&[("a", "1234"), ("b", "1235"), ("c", "long"), ("absent", "")]);
        let second = dataset(&[
            ("d", "1235"),
            ("e", "12"),
            ("f", "1234"),
            ("g", "1234"),
            ("gone", ""),
        ]);
        let place = |dataset, image| ImagePlace { dataset, image };
        assert_eq!(
            equal_images(&[&first, &second]),
            [
                vec![place(0, 0), place(1, 2), place(1, 3)],
                vec![place(0, 1), place(1, 0)],
            ]
        );
        assert!(equal_images(&[&first]).is_empty());
        // The same file in two data sets is equal to itself.
        assert_eq!(equal_images(&[&first, &first]).len(), 3);
    }
}
