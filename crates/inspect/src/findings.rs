//! What was dropped or repaired.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use fcos_burn_data::{ImageRecord, Tally};
use serde::Serialize;

use crate::{overlap::Overlap, picture::Picture, splits::Splits};

/// Something that the reader dropped or repaired in a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FindingCount {
    /// The name of the split.
    pub split: String,
    /// What was done, such as `degenerate boxes dropped`.
    pub finding: String,
    /// How often, and the first few places.
    #[serde(flatten, with = "TallyFields")]
    pub tally: Tally,
    /// The images at these places. Dropped images are missing.
    pub pictures: Vec<Picture>,
}

/// How a [`Tally`] is serialized.
#[derive(Serialize)]
#[serde(remote = "Tally")]
struct TallyFields {
    count: usize,
    #[serde(rename = "places")]
    examples: Vec<String>,
}

/// Prints as in `train: degenerate boxes dropped: 1 (a.jpg object 3)`.
impl fmt::Display for FindingCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.split, self.finding, self.tally)
    }
}

/// The findings of the reader in each split. Findings in an included split are not repeated for the split that includes
/// it. Of splits with the same files, the first has them.
pub(crate) fn count(splits: &Splits, overlaps: &[Overlap]) -> Vec<FindingCount> {
    // In a divided split, the image of a finding may be in the other part.
    let all = LazyCell::new(|| Places::new(splits.pictures()));
    let mut found = Vec::new();
    for (index, split) in splits.splits().iter().enumerate() {
        let is_same = |part: usize| overlaps[part].parts.contains(&index);
        let parts = overlaps[index].parts.iter().copied();
        let parts: Vec<usize> = parts
            .filter(|&part| part < index || !is_same(part))
            .collect();
        let in_parts = |finding| -> usize {
            let reports = parts
                .iter()
                .map(|part| splits.splits()[*part].dataset.report());
            reports.map(|report| report.tally(finding).count).sum()
        };
        let report = split.dataset.report();
        let findings: Vec<_> = report
            .findings()
            .filter(|(finding, tally)| tally.count != in_parts(*finding))
            .collect();
        if findings.is_empty() {
            continue;
        }
        let own = Places::new(
            splits
                .pictures()
                .filter(|(picture, _)| picture.split == index),
        );
        for (finding, tally) in findings {
            let mut pictures: Vec<Picture> = Vec::new();
            let of_place = |place: &String| own.find(place).or_else(|| all.find(place));
            for picture in tally.examples.iter().filter_map(of_place) {
                if !pictures.contains(&picture) {
                    pictures.push(picture);
                }
            }
            found.push(FindingCount {
                split: split.name.clone(),
                finding: finding.to_string(),
                tally: tally.clone(),
                pictures,
            });
        }
    }
    found
}

/// Images by the names that start places.
struct Places<'a> {
    /// By the file name in the annotations.
    files: HashMap<&'a str, Picture>,
    /// By the stem of the file name, which an annotation file shares with its image. `None` if several images share it.
    stems: HashMap<&'a str, Option<Picture>>,
}

impl<'a> Places<'a> {
    fn new(pictures: impl Iterator<Item = (Picture, &'a ImageRecord)>) -> Self {
        let mut places = Self {
            files: HashMap::new(),
            stems: HashMap::new(),
        };
        for (picture, record) in pictures {
            let name = record.file_name.as_str();
            places.files.entry(name).or_insert(picture);
            let with_stem = places.stems.entry(stem(name)).or_insert(Some(picture));
            if *with_stem != Some(picture) {
                *with_stem = None;
            }
        }
        places
    }

    /// The image of a place, which starts with the name of the image or annotation file. Names may contain spaces.
    fn find(&self, place: &str) -> Option<Picture> {
        let spaces = place.char_indices().filter(|(_, letter)| *letter == ' ');
        let ends: Vec<usize> = spaces.map(|(at, _)| at).chain([place.len()]).collect();
        let names = || ends.iter().rev().map(|end| &place[..*end]);
        let exact = names().find_map(|name| self.files.get(name).copied());
        let by_stem = || names().find_map(|name| *self.stems.get(stem(name))?);
        exact.or_else(by_stem)
    }
}

/// A file name without folders and extension.
fn stem(name: &str) -> &str {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{
        BoundingBox, Category, DataError, DetectionDataset, ImageRecord, ImageSource, Object,
        RgbImage,
    };

    use super::*;
    use crate::Purpose;

    #[derive(Debug)]
    struct Black;

    impl ImageSource for Black {
        fn image(&self, _index: usize) -> Result<RgbImage, DataError> {
            Ok(RgbImage::new(20, 20))
        }
    }

    #[test]
    fn places_are_matched_to_pictures() {
        let names = [
            "train/a b.jpg",
            "a.jpg",
            "x/twin.png",
            "y/twin.png",
            "a.jpg line",
        ];
        let degenerate = Object::new(1, BoundingBox::new(5.0, 5.0, 5.0, 9.0), 0);
        let images = (1..).zip(names).map(|(id, name)| {
            ImageRecord::new(id, name, 20, 20).with_objects(vec![degenerate.clone()])
        });
        let dataset =
            DetectionDataset::new("set", Category::list(["a"]), images.collect(), Black).unwrap();
        let splits = Splits::new("set").with_split(Purpose::Training, "train", dataset);
        let places = Places::new(splits.pictures());
        let find = |place| places.find(place).map(|picture| picture.image);
        assert_eq!(find("train/a b.jpg object 3"), Some(0));
        assert_eq!(find("Annotations/a b.xml line 3"), Some(0));
        assert_eq!(find("a.jpg object 3"), Some(1));
        assert_eq!(find("a.jpg line 3"), Some(4));
        assert_eq!(find("y/twin.png line 3"), Some(3));
        assert_eq!(find("twin.xml line 3"), None);
        assert_eq!(find(""), None);

        let found = count(&splits, &Overlap::of_all(&splits));
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].split.as_str(), found[0].tally.count),
            ("train", 5)
        );
        assert_eq!(found[0].finding, "degenerate boxes dropped");
        assert_eq!(found[0].pictures.len(), 5);
    }
}
