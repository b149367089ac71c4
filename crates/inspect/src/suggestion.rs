//! The suggested input size for training.

use fcos_burn_data::{ImageRecord, transforms::Resize};
use fcos_burn_eval::statistics::Quantiles;
use fcos_burn_model::FcosConfig;
use rayon::prelude::*;
use serde::Serialize;

use crate::levels::Grid;

/// Sides of suggested sizes are multiples of this number, since inputs are padded to it.
const MULTIPLE: u32 = 32;

/// The largest side of a suggested size: the longer side in the FCOS paper. Time and memory grow with the area.
const LONGEST: u32 = 1333;

/// The largest factor by which suggested sizes enlarge images. Enlarging adds no detail.
const ENLARGED: u32 = 2;

/// The share of the objects that should have a point.
pub(crate) const WITH_POINT: f64 = 0.95;

/// The largest number of images, evenly spaced, that are tested at each size.
const TRIED_IMAGES: usize = 500;

/// The required shorter side of the smallest objects, in strides of the finest level. An object of this size has about
/// four points.
const SMALL_STRIDES: usize = 2;

/// A size to resize images to.
///
/// The smallest candidate that meets two conditions: at least 95% of the objects have a point, and the median shorter
/// side of the smallest 10% of the boxes, by shorter side, is at least two of the finest strides.
///
/// The candidates have the aspect ratio of the median width and height. They are the median size itself and sizes whose
/// sides are multiples of 32, from the coarsest stride to twice the median size, with a longer side of at most 1333.
///
/// If the boxes are large enough at the largest candidate but too few objects have a point, other objects cover them at
/// every size, and only the second condition decides. If the boxes are too small even at the largest candidate, it is
/// chosen.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SuggestedSize {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The fraction of the objects that have a point at this size.
    pub with_point: f64,
    /// The median shorter side of the smallest 10% of the boxes at this size, in pixels.
    pub small_side: f64,
    /// The smallest desired value of `small_side`, in pixels.
    pub wanted_side: f64,
    /// Whether the size would be larger without the limit of 1333 for the longer side.
    pub limited: bool,
}

impl SuggestedSize {
    /// The suggestion for the objects in these images; `None` if there are no objects.
    pub(crate) fn of(images: &[ImageRecord], detector: &FcosConfig) -> Option<Self> {
        let with_objects: Vec<&ImageRecord> = images
            .iter()
            .filter(|image| image.ordinary_objects().next().is_some())
            .collect();
        let step = with_objects.len().div_ceil(TRIED_IMAGES).max(1);
        let tried: Vec<&ImageRecord> = with_objects.iter().step_by(step).copied().collect();
        let median = |side: fn(&ImageRecord) -> u32| {
            let sides = with_objects.iter().map(|image| f64::from(side(image)));
            Some(Quantiles::new(sides).at(0.5)?.round() as u32)
        };
        let usual = (median(|image| image.width)?, median(|image| image.height)?);
        let coarsest = *detector.strides().last()?;
        let candidates = candidates(usual, u32::try_from(coarsest).ok()?);
        let fit = |size: &(u32, u32)| Self::fit(*size, &tried, detector);
        let largest = fit(candidates.last()?)?;
        if !largest.large_enough() {
            let limited = usual.0.max(usual.1).saturating_mul(ENLARGED) > LONGEST;
            return Some(Self { limited, ..largest });
        }
        // If a size suffices, larger sizes suffice too, except for objects that fall between two locations by chance.
        let suffices = |size: &(u32, u32)| {
            fit(size).is_some_and(|fit| {
                fit.large_enough() && (fit.points_suffice() || !largest.points_suffice())
            })
        };
        let smallest = candidates.partition_point(|size| !suffices(size));
        candidates.get(smallest).map_or(Some(largest), fit)
    }

    /// Whether enough objects have a point.
    pub fn points_suffice(&self) -> bool {
        self.with_point >= WITH_POINT
    }

    /// Whether the smallest objects are large enough.
    pub fn large_enough(&self) -> bool {
        self.small_side >= self.wanted_side
    }

    fn fit(
        (width, height): (u32, u32),
        images: &[&ImageRecord],
        detector: &FcosConfig,
    ) -> Option<Self> {
        let resize = Resize::Fixed { width, height };
        let grid = Grid::new(images.iter().copied(), resize, detector);
        let objects: Vec<(f64, bool)> = (images.par_iter())
            .flat_map_iter(|image| {
                let sides = grid.boxes(image).into_iter().map(|object| {
                    let [x1, y1, x2, y2] = object.bbox;
                    f64::from((x2 - x1).min(y2 - y1))
                });
                let levels = grid.levels(image, detector).into_iter();
                sides
                    .zip(levels.map(|level| level.is_some()))
                    .collect::<Vec<_>>()
            })
            .collect();
        let with_point = objects.iter().filter(|(_, point)| *point).count();
        let with_point = with_point as f64 / objects.len() as f64;
        let small_side = small_side(objects.iter().map(|(side, _)| *side).collect())?;
        let small = SMALL_STRIDES * detector.strides().first()?;
        Some(Self {
            width,
            height,
            with_point,
            small_side,
            wanted_side: small as f64,
            limited: false,
        })
    }
}

/// The median of the smallest tenth of the sides (at least one side).
fn small_side(mut sides: Vec<f64>) -> Option<f64> {
    sides.sort_by(f64::total_cmp);
    sides.truncate(sides.len().div_ceil(10));
    Quantiles::new(sides).at(0.5)
}

/// The candidate sizes for images of `usual` size, ascending: sizes with sides of at least `least`, and the usual size.
fn candidates(usual: (u32, u32), least: u32) -> Vec<(u32, u32)> {
    let (short, long) = (usual.0.min(usual.1), usual.0.max(usual.1));
    let ratio = f64::from(long) / f64::from(short.max(1));
    let multiple =
        |side: f64| ((side / f64::from(MULTIPLE)).round() as u32).saturating_mul(MULTIPLE);
    let steps = least.div_ceil(MULTIPLE).max(1)..=LONGEST / MULTIPLE;
    let sizes = steps.map(|step| {
        let side = step * MULTIPLE;
        (side, multiple(f64::from(side) * ratio))
    });
    let (widest, longest) = (
        short.saturating_mul(ENLARGED),
        long.saturating_mul(ENLARGED),
    );
    let sizes = sizes.filter(|size| size.0 <= widest && size.1 <= longest);
    let within_limit = |size: &(u32, u32)| size.1 <= LONGEST;
    let mut sizes: Vec<(u32, u32)> = sizes.chain([(short, long)]).filter(within_limit).collect();
    sizes.sort_unstable();
    sizes.dedup();
    if sizes.is_empty() {
        // The image is too long to keep the least side: use the largest length within the limit.
        let longer = LONGEST / MULTIPLE * MULTIPLE;
        sizes.push((multiple(f64::from(longer) / ratio).max(MULTIPLE), longer));
    }
    let oriented = |(shorter, longer)| match usual.0 <= usual.1 {
        true => (shorter, longer),
        false => (longer, shorter),
    };
    sizes.into_iter().map(oriented).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{BoundingBox, Object};

    use super::*;

    #[test]
    fn candidates_keep_the_aspect_ratio() {
        let small = [(32, 32), (96, 64), (128, 96), (160, 120)];
        let large = [(160, 128), (224, 160), (256, 192), (288, 224)];
        assert_eq!(candidates((160, 120), 0), [small, large].concat());
        let doubled = [(32, 64), (64, 128), (96, 192), (128, 256)];
        assert_eq!(candidates((64, 128), 8), doubled);
        assert_eq!(candidates((20, 10), 128), [(20, 10)]);
        let sizes = candidates((640, 480), 128);
        assert_eq!(sizes[..3], [(160, 128), (224, 160), (256, 192)]);
        assert!(sizes.contains(&(640, 480)));
        assert_eq!(sizes.last(), Some(&(1280, 960)));
    }

    #[test]
    fn candidates_are_within_the_limit() {
        // 992 by 4/3 is 1322.7.
        let sizes = candidates((8000, 6000), 128);
        assert_eq!(sizes.last(), Some(&(1312, 992)));
        assert_eq!(sizes[0], (160, 128));
        assert_eq!(candidates((1024, 1024), 128).last(), Some(&(1312, 1312)));
        assert_eq!(candidates((50_000, 100), 128), [(1312, 32)]);
        assert_eq!(candidates((u32::MAX, 1), 128), [(1312, 32)]);
    }

    /// A grid of squares with this side in a square image, with gaps of the same length. At every scale of 1/n, each
    /// square contains a location.
    fn squares(side: f32, image: u32) -> ImageRecord {
        let count = (image as f32 / (2.0 * side)) as usize;
        let boxes = (0..count * count).map(|index| {
            let x = (index % count) as f32 * 2.0 * side;
            let y = (index / count) as f32 * 2.0 * side;
            BoundingBox::new(x, y, x + side, y + side)
        });
        let objects = (1..).zip(boxes).map(|(id, bbox)| Object::new(id, bbox, 0));
        ImageRecord::new(1, "squares", image, image).with_objects(objects.collect())
    }

    /// Squares of equal size suffice once their side is two of the finest strides, 16 pixels: they then contain a
    /// location at any position.
    #[test]
    fn squares_are_enlarged_to_two_of_the_finest_strides() {
        let detector = FcosConfig::small(1);
        for (side, expected) in [(200.0, 128), (65.0, 256), (33.0, 512), (17.0, 992)] {
            let found = SuggestedSize::of(&[squares(side, 1024)], &detector).unwrap();
            assert_eq!((found.width, found.height), (expected, expected), "{side}");
            assert!(found.points_suffice() && found.large_enough());
            let scaled = f64::from(side) * f64::from(expected) / 1024.0;
            assert!((found.small_side - scaled).abs() < 1e-3);
            assert!(found.with_point >= WITH_POINT);
        }
        assert_eq!(
            SuggestedSize::of(&[ImageRecord::new(1, "empty", 9, 9)], &detector),
            None
        );
    }

    /// Squares of 16 pixels need only the native size, squares of 9 pixels need 16/9 of it, and squares of 7 pixels
    /// need more than twice the native size.
    #[test]
    fn images_are_enlarged_to_at_most_twice_their_size() {
        let detector = FcosConfig::small(1);
        for (side, expected, large_enough) in
            [(16.0, 256, true), (9.0, 480, true), (7.0, 512, false)]
        {
            let found = SuggestedSize::of(&[squares(side, 256)], &detector).unwrap();
            assert_eq!((found.width, found.height), (expected, expected), "{side}");
            assert_eq!((found.large_enough(), found.limited), (large_enough, false));
        }
    }

    /// The limit is 1312/6000 of the image size.
    #[test]
    fn large_images_are_limited() {
        let detector = FcosConfig::small(1);
        for (side, limited) in [(60.0, true), (80.0, false)] {
            let mut image = squares(side, 6000);
            image.objects.truncate(200);
            let found = SuggestedSize::of(&[image], &detector).unwrap();
            assert_eq!(
                (found.width, found.limited),
                (1312 - 96 * u32::from(!limited), limited)
            );
        }
    }

    /// The second of two equal squares never has a point, so only the sides decide, at 16/32 of the size.
    #[test]
    fn covered_objects_do_not_enlarge_the_size() {
        let mut image = squares(32.0, 1024);
        let covered = image.objects.clone();
        image.objects.extend(covered);
        let found = SuggestedSize::of(&[image], &FcosConfig::small(1)).unwrap();
        assert_eq!((found.width, found.height), (512, 512));
        assert!(found.large_enough() && !found.points_suffice());
    }

    #[test]
    fn the_smallest_tenth_decides_by_its_median() {
        let sides = (1..=40).map(f64::from).collect();
        // The median of 1, 2, 3, 4.
        assert_eq!(small_side(sides), Some(2.5));
        assert_eq!(small_side(vec![7.0]), Some(7.0));
        assert_eq!(small_side(Vec::new()), None);
    }
}
