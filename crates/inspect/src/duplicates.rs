//! Duplicate images.

use fcos_burn_data::{DetectionDataset, equal_images};

use crate::{picture::Picture, splits::Splits};

/// Groups of images with identical files.
pub(crate) fn equal_pictures(splits: &Splits) -> Vec<Vec<Picture>> {
    let datasets = splits.splits().iter().map(|split| &split.dataset);
    let datasets: Vec<&DetectionDataset> = datasets.collect();
    let groups = equal_images(&datasets).into_iter().map(|group| {
        let pictures = group.into_iter().map(|place| Picture {
            split: place.dataset,
            image: place.image,
        });
        pictures.collect()
    });
    groups.collect()
}

/// The number of images in `split` that duplicate an earlier image of the same split.
pub(crate) fn repeated(groups: &[Vec<Picture>], split: usize) -> usize {
    let in_split = |group: &Vec<Picture>| {
        group
            .iter()
            .filter(|picture| picture.split == split)
            .count()
    };
    groups
        .iter()
        .map(|group| in_split(group).saturating_sub(1))
        .sum()
}

/// The number of images in `split` that duplicate an image of a split in `others`.
pub(crate) fn shared(groups: &[Vec<Picture>], split: usize, others: &[usize]) -> usize {
    let with_others =
        |group: &&Vec<Picture>| group.iter().any(|picture| others.contains(&picture.split));
    let groups = groups.iter().filter(with_others).flatten();
    groups.filter(|picture| picture.split == split).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_and_shared_pictures_are_counted() {
        let picture = |(split, image)| Picture { split, image };
        let group = |places: &[(usize, usize)]| places.iter().copied().map(picture).collect();
        let groups: Vec<Vec<Picture>> = vec![
            group(&[(0, 0), (0, 3), (0, 4)]),
            group(&[(0, 1), (1, 7), (1, 8)]),
            group(&[(1, 2), (2, 2)]),
        ];
        assert_eq!([0, 1, 2].map(|split| repeated(&groups, split)), [2, 1, 0]);
        assert_eq!([1, 2].map(|split| shared(&groups, split, &[0])), [2, 0]);
        assert_eq!(shared(&groups, 2, &[0, 1]), 1);
    }
}
