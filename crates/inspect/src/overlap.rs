//! Splits that share image files, such as `trainval` with `train` and `val`.

use std::collections::HashSet;
use std::path::Path;

use fcos_burn_data::ImageRecord;

use crate::{
    picture::Picture,
    splits::{Split, Splits},
};

/// What a split has of the others.
#[derive(Debug, PartialEq)]
pub(crate) struct Overlap {
    /// The indices of other splits whose image files are all in this one.
    pub(crate) parts: Vec<usize>,
    /// The number of images in none of them.
    pub(crate) own_images: usize,
}

impl Overlap {
    /// Of each split.
    pub(crate) fn of_all(splits: &Splits) -> Vec<Self> {
        let all = splits.splits();
        (0..all.len()).map(|split| Self::of(all, split)).collect()
    }

    fn of(all: &[Split], split: usize) -> Self {
        let mut own: HashSet<&Path> = files(&all[split]).flatten().collect();
        let is_part = |other: &usize| {
            let mut files = files(&all[*other]).peekable();
            *other != split
                && files.peek().is_some()
                && files.all(|file| file.is_some_and(|file| own.contains(file)))
        };
        let parts: Vec<usize> = (0..all.len()).filter(is_part).collect();
        for file in parts.iter().flat_map(|other| files(&all[*other])) {
            own.remove(file.unwrap_or(Path::new("")));
        }
        let without_file = files(&all[split]).filter(Option::is_none).count();
        Self {
            parts,
            own_images: own.len() + without_file,
        }
    }
}

/// The images of all splits, each image file once, preferably from a split that includes no others. Images that are not
/// in files are all different.
pub(crate) fn different_images<'a>(
    splits: &'a Splits,
    overlaps: &[Overlap],
) -> Vec<(Picture, &'a ImageRecord)> {
    let (first, last): (Vec<_>, Vec<_>) = splits
        .pictures()
        .partition(|(picture, _)| overlaps[picture.split].parts.is_empty());
    let mut seen: HashSet<&Path> = HashSet::new();
    let is_new = |(picture, _): &(Picture, &ImageRecord)| {
        splits.file(*picture).is_none_or(|file| seen.insert(file))
    };
    first.into_iter().chain(last).filter(is_new).collect()
}

/// The first picture of each file in a group of equal pictures.
pub(crate) fn different_files(splits: &Splits, group: &[Picture]) -> Vec<Picture> {
    let mut seen: HashSet<Option<&Path>> = HashSet::new();
    let group = group.iter().copied();
    group
        .filter(|picture| seen.insert(splits.file(*picture)))
        .collect()
}

/// The file of each image of a split.
fn files(split: &Split) -> impl Iterator<Item = Option<&Path>> {
    (0..split.dataset.len()).map(|image| split.dataset.image_file(image))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::PathBuf;

    use fcos_burn_data::{Category, DetectionDataset, ImageFiles};

    use super::*;
    use crate::Purpose;

    /// Splits with images in files of these names. The files are not read.
    fn splits(of: &[&[&str]]) -> Splits {
        let mut splits = Splits::new("set");
        for names in of {
            let images = (1..).zip(*names);
            let images = images.map(|(id, name)| ImageRecord::new(id, *name, 4, 4));
            let files = ImageFiles::new(names.iter().map(PathBuf::from).collect());
            let categories = Category::list(["a"]);
            let dataset = DetectionDataset::new("set", categories, images.collect(), files);
            splits = splits.with_split(Purpose::Other, "split", dataset.unwrap());
        }
        splits
    }

    #[test]
    fn a_split_includes_another_if_it_has_all_its_files() {
        let splits = splits(&[
            &["a", "b"],
            &["c"],
            &["c", "b", "a"],
            &["a", "x"],
            &["x", "b", "a", "y"],
            &[],
        ]);
        let overlaps = Overlap::of_all(&splits);
        let found: Vec<_> = overlaps
            .iter()
            .map(|overlap| (overlap.parts.clone(), overlap.own_images))
            .collect();
        let expected = [
            (vec![], 2),
            (vec![], 1),
            (vec![0, 1], 0),
            (vec![], 2),
            (vec![0, 3], 1),
            (vec![], 0),
        ];
        assert_eq!(found, expected);
        let different = different_images(&splits, &overlaps);
        let names = different
            .iter()
            .map(|(_, record)| record.file_name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c", "x", "y"]);
        let of: Vec<usize> = different.iter().map(|(picture, _)| picture.split).collect();
        assert_eq!(of, [0, 0, 1, 3, 4]);
    }

    #[test]
    fn images_are_shown_in_the_part_rather_than_the_union() {
        let splits = splits(&[&["a", "b", "c"], &["c"], &["b"]]);
        let different = different_images(&splits, &Overlap::of_all(&splits));
        let of = different
            .iter()
            .map(|(picture, record)| (record.file_name.as_str(), picture.split));
        assert_eq!(of.collect::<Vec<_>>(), [("c", 1), ("b", 2), ("a", 0)]);
    }

    #[test]
    fn a_file_in_several_splits_is_not_a_duplicate() {
        let splits = splits(&[&["a", "b"], &["a"], &["b", "c"]]);
        let picture = |(split, image)| Picture { split, image };
        let group = [(0, 0), (1, 0), (2, 1)].map(picture);
        assert_eq!(different_files(&splits, &group), [group[0], group[2]]);
    }
}
