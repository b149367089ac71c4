//! Sizes of images and boxes.

use std::collections::BTreeMap;

use fcos_burn_data::ImageRecord;
use serde::Serialize;

use crate::distribution::Distribution;

/// The number of image sizes that are kept.
const COMMON_SIZES: usize = 5;

/// An image size, and the number of images with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SizeCount {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The number of images.
    pub images: usize,
}

/// The sizes of images, in pixels.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImageSizes {
    /// Widths; `None` without images.
    pub width: Option<Distribution>,
    /// Heights; `None` without images.
    pub height: Option<Distribution>,
    /// The number of distinct sizes.
    pub different: usize,
    /// The five most common sizes, in descending order of frequency.
    pub common: Vec<SizeCount>,
}

impl ImageSizes {
    pub(crate) fn of<'a>(images: impl Iterator<Item = &'a ImageRecord>) -> Self {
        let mut counts: BTreeMap<(u32, u32), usize> = BTreeMap::new();
        let (mut widths, mut heights) = (Vec::new(), Vec::new());
        for image in images {
            *counts.entry((image.width, image.height)).or_default() += 1;
            widths.push(f64::from(image.width));
            heights.push(f64::from(image.height));
        }
        let sizes = counts
            .into_iter()
            .map(|((width, height), images)| SizeCount {
                width,
                height,
                images,
            });
        let mut common: Vec<SizeCount> = sizes.collect();
        let different = common.len();
        common.sort_by_key(|size| std::cmp::Reverse(size.images));
        common.truncate(COMMON_SIZES);
        Self {
            width: Distribution::of_sizes(&widths),
            height: Distribution::of_sizes(&heights),
            different,
            common,
        }
    }
}

/// The sizes and shapes of boxes. All are `None` without objects.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BoxSizes {
    /// Square roots of areas, in pixels of the original images.
    pub side: Option<Distribution>,
    /// Square roots of areas, in percent of the square root of the image area. 100 is a box as large as its image.
    pub relative_side: Option<Distribution>,
    /// Width divided by height.
    pub aspect_ratio: Option<Distribution>,
}

impl BoxSizes {
    pub(crate) fn of<'a>(images: impl Iterator<Item = &'a ImageRecord>) -> Self {
        let (mut sides, mut relative, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for image in images {
            let image_side = (f64::from(image.width) * f64::from(image.height)).sqrt();
            for object in image.ordinary_objects() {
                let (width, height) = (object.bbox.width(), object.bbox.height());
                let (width, height) = (f64::from(width), f64::from(height));
                let side = (width * height).sqrt();
                sides.push(side);
                relative.push(100.0 * side / image_side);
                ratios.push(width / height);
            }
        }
        Self {
            side: Distribution::of_sizes(&sides),
            relative_side: Distribution::of_sizes(&relative),
            aspect_ratio: Distribution::of_sizes(&ratios),
        }
    }
}
