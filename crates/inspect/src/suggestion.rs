//! The input size to train at.

use fcos_burn_data::{ImageRecord, transforms::Resize};
use fcos_burn_eval::statistics::Quantiles;
use fcos_burn_model::FcosConfig;
use rayon::prelude::*;
use serde::Serialize;

use crate::levels::Grid;

/// Sides of suggested sizes are multiples of this: inputs are padded to it.
const MULTIPLE: u32 = 32;

/// The fraction of the objects that should have a point.
const WITH_POINT: f64 = 0.95;

/// At most this many images, evenly spaced, are tested at each size.
const TRIED_IMAGES: usize = 500;

/// The required shorter side of the smallest objects, in strides of the finest level: such an object has about four
/// points.
const SMALL_STRIDES: usize = 2;

/// A size to resize images to.
///
/// It is the smallest size at which at least 95% of the objects have a point and the smallest 10% of the objects have a
/// median shorter side of at least twice the stride of the finest level. The aspect ratio is that of the median width
/// and height. The sides are multiples of 32, at least the coarsest stride and below the median sides. If no such size
/// suffices, it is the median size.
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
    /// Whether both conditions are met.
    pub sufficient: bool,
}

impl SuggestedSize {
    /// For the objects in these images; `None` if there are none.
    pub(crate) fn of(images: &[ImageRecord], detector: &FcosConfig) -> Option<Self> {
        let with_objects: Vec<&ImageRecord> = images
            .iter()
            .filter(|image| image.objects.iter().any(|object| !object.iscrowd))
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
        // Larger sizes suffice, too, except for objects that fall between two locations by chance.
        let sufficient = |size: &(u32, u32)| fit(size).is_some_and(|fit| fit.sufficient);
        let smallest = candidates.partition_point(|size| !sufficient(size));
        fit(candidates.get(smallest).or(candidates.last())?)
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
            sufficient: with_point >= WITH_POINT && small_side >= small as f64,
        })
    }
}

/// The median of the smallest tenth of the sides, at least one.
fn small_side(mut sides: Vec<f64>) -> Option<f64> {
    sides.sort_by(f64::total_cmp);
    sides.truncate(sides.len().div_ceil(10));
    Quantiles::new(sides).at(0.5)
}

/// The candidate sizes for images of `usual` size, ascending, with sides of at least `least` if the images are that
/// large.
fn candidates(usual: (u32, u32), least: u32) -> Vec<(u32, u32)> {
    let (short, long) = (usual.0.min(usual.1), usual.0.max(usual.1));
    let ratio = f64::from(long) / f64::from(short.max(1));
    let multiple = |side: f64| (side / f64::from(MULTIPLE)).round() as u32 * MULTIPLE;
    let sizes = (least.div_ceil(MULTIPLE).max(1)..).map(|step| {
        let side = step * MULTIPLE;
        (side, multiple(f64::from(side) * ratio))
    });
    let below = sizes.take_while(|size| size.0 < short && size.1 < long);
    let oriented = |(shorter, longer)| match usual.0 <= usual.1 {
        true => (shorter, longer),
        false => (longer, shorter),
    };
    below.chain([(short, long)]).map(oriented).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{BoundingBox, Object};

    use super::*;

    #[test]
    fn candidates_keep_the_shape() {
        assert_eq!(
            candidates((160, 120), 0),
            [(32, 32), (96, 64), (128, 96), (160, 120)]
        );
        assert_eq!(candidates((64, 128), 8), [(32, 64), (64, 128)]);
        assert_eq!(candidates((20, 10), 128), [(20, 10)]);
        let sizes = candidates((640, 480), 128);
        assert_eq!(sizes[..3], [(160, 128), (224, 160), (256, 192)]);
        assert_eq!(sizes.last(), Some(&(640, 480)));
    }

    /// A grid of squares of that side in a square image, with gaps of as much, each around a location at every scale of 1/n.
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

    /// Squares of equal size suffice as soon as they measure two of the finest strides, 16 pixels: they then contain a
    /// location wherever they are.
    #[test]
    fn squares_are_enlarged_to_two_of_the_finest_strides() {
        let detector = FcosConfig::small(1);
        for (side, expected) in [(200.0, 128), (65.0, 256), (33.0, 512), (17.0, 992)] {
            let found = SuggestedSize::of(&[squares(side, 1024)], &detector).unwrap();
            assert_eq!((found.width, found.height), (expected, expected), "{side}");
            assert!(found.sufficient);
            let scaled = f64::from(side) * f64::from(expected) / 1024.0;
            assert!((found.small_side - scaled).abs() < 1e-3);
            assert!(found.with_point >= WITH_POINT);
        }
        let found = SuggestedSize::of(&[squares(5.0, 256)], &detector).unwrap();
        assert_eq!((found.width, found.sufficient), (256, false));
        assert_eq!(
            SuggestedSize::of(&[ImageRecord::new(1, "empty", 9, 9)], &detector),
            None
        );
    }

    #[test]
    fn the_smallest_tenth_decides_by_its_median() {
        let sides = (1..=40).map(f64::from).collect();
        // Of 1, 2, 3, 4.
        assert_eq!(small_side(sides), Some(2.5));
        assert_eq!(small_side(vec![7.0]), Some(7.0));
        assert_eq!(small_side(Vec::new()), None);
    }
}
