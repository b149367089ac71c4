//! The pyramid levels that objects are assigned to.

use std::collections::{HashMap, HashSet};

use fcos_burn_boxes::LabeledBox;
use fcos_burn_data::{ImageRecord, transforms::Resize};
use fcos_burn_model::{FcosConfig, assignment::AssignmentRule, locations::Locations};
use rayon::prelude::*;
use serde::Serialize;

/// The number of objects on a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LevelCount {
    /// The name: P and the binary logarithm of the stride, such as `P3` for stride 8.
    pub name: String,
    /// The stride in input pixels.
    pub stride: usize,
    /// The number of objects with most of their points on this level. On a tie, an object counts on the finest level.
    pub objects: usize,
}

/// The levels on which objects are learned, at a given input size.
///
/// A point is a location of the pyramid that the assignment rule assigns to an object. An object without a point is
/// never learned: it is smaller than the gaps between locations, or smaller objects cover it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Levels {
    /// The input size.
    pub resize: Resize,
    /// The levels, from fine to coarse.
    pub levels: Vec<LevelCount>,
    /// The number of objects without a point.
    pub without_point: usize,
    /// A few images with objects without a point, by their index in the split.
    pub without_point_images: Vec<usize>,
}

impl Levels {
    /// Computes the levels of the objects in these images. Keeps at most `examples` images with objects without a
    /// point.
    pub(crate) fn of(
        images: &[ImageRecord],
        resize: Resize,
        detector: &FcosConfig,
        examples: usize,
    ) -> Self {
        let strides = detector.strides();
        let locations = Grid::new(images.iter(), resize, detector);
        let homes: Vec<Vec<Option<usize>>> = (images.par_iter())
            .map(|image| locations.levels(image, detector))
            .collect();
        let count = |level: Option<usize>| {
            homes
                .iter()
                .flatten()
                .filter(|home| **home == level)
                .count()
        };
        let levels = strides
            .iter()
            .enumerate()
            .map(|(level, stride)| LevelCount {
                name: format!("P{}", stride.checked_ilog2().unwrap_or(0)),
                stride: *stride,
                objects: count(Some(level)),
            });
        let without_point = homes
            .iter()
            .enumerate()
            .filter(|(_, homes)| homes.contains(&None));
        Self {
            resize,
            levels: levels.collect(),
            without_point: count(None),
            without_point_images: without_point
                .map(|(image, _)| image)
                .take(examples)
                .collect(),
        }
    }

    /// The number of objects.
    pub fn objects(&self) -> usize {
        let levels = self.levels.iter().map(|level| level.objects);
        levels.sum::<usize>() + self.without_point
    }
}

/// The locations for each input size of the images.
pub(crate) struct Grid {
    resize: Resize,
    locations: HashMap<(u32, u32), Locations>,
}

impl Grid {
    pub fn new<'a>(
        images: impl Iterator<Item = &'a ImageRecord>,
        resize: Resize,
        detector: &FcosConfig,
    ) -> Self {
        let targets: HashSet<(u32, u32)> = images
            .map(|image| resize.target(image.width, image.height))
            .collect();
        let locations = |(width, height): (u32, u32)| {
            let size = [height as usize, width as usize];
            Locations::new(size, &detector.strides(), detector.location_rule)
        };
        let locations = targets
            .into_iter()
            .map(|target| (target, locations(target)));
        Self {
            resize,
            locations: locations.collect(),
        }
    }

    /// The boxes of an image's training objects, in input pixels. The label is the position of the object.
    pub fn boxes(&self, image: &ImageRecord) -> Vec<LabeledBox> {
        let (width, height) = self.resize.target(image.width, image.height);
        let scale = [
            width as f32 / image.width as f32,
            height as f32 / image.height as f32,
        ];
        let objects = image.ordinary_objects();
        let scaled = objects.enumerate().map(|(label, object)| {
            let [x1, y1, x2, y2] = object.bbox.to_xyxy();
            let [sx, sy] = scale;
            LabeledBox {
                bbox: [x1 * sx, y1 * sy, x2 * sx, y2 * sy],
                label,
            }
        });
        scaled.collect()
    }

    /// The level with most of the points of each object; `None` for an object without a point.
    pub fn levels(&self, image: &ImageRecord, detector: &FcosConfig) -> Vec<Option<usize>> {
        let boxes = self.boxes(image);
        let target = self.resize.target(image.width, image.height);
        let Some(locations) = self.locations.get(&target).filter(|_| !boxes.is_empty()) else {
            return vec![None; boxes.len()];
        };
        let labels = detector.assignment.assign(&boxes, locations).labels;
        let grids = locations.levels();
        let mut points = vec![vec![0_usize; grids.len()]; boxes.len()];
        let levels = grids.iter().enumerate();
        let levels = levels.flat_map(|(level, grid)| std::iter::repeat_n(level, grid.len()));
        for (level, label) in levels.zip(labels) {
            let object = usize::try_from(label)
                .ok()
                .and_then(|label| points.get_mut(label));
            if let Some(points) = object {
                points[level] += 1;
            }
        }
        let home = |points: Vec<usize>| {
            let most = points.iter().copied().max().filter(|most| *most > 0)?;
            points.iter().position(|count| *count == most)
        };
        points.into_iter().map(home).collect()
    }
}

#[cfg(test)]
mod tests {
    use fcos_burn_data::{BoundingBox, Object};

    use super::*;

    fn image(width: u32, height: u32, boxes: &[[f32; 4]]) -> ImageRecord {
        let objects = (1..)
            .zip(boxes)
            .map(|(id, [x1, y1, x2, y2])| Object::new(id, BoundingBox::new(*x1, *y1, *x2, *y2), 0));
        ImageRecord::new(1, "image", width, height).with_objects(objects.collect())
    }

    fn counts(levels: &Levels) -> Vec<usize> {
        let counts = levels.levels.iter().map(|level| level.objects);
        counts.chain([levels.without_point]).collect()
    }

    /// Squares in the middle of an image. The largest distance at the center is half the side, so the side decides the
    /// level, by ranges of 64, 128, 256 and 512.
    #[test]
    fn squares_are_on_the_level_of_their_side() {
        let detector = FcosConfig::paper(1);
        let square = |side: f32| {
            let (low, high) = (500.0 - side / 2.0, 500.0 + side / 2.0);
            image(1000, 1000, &[[low, low, high, high]])
        };
        let images = [20.0, 60.0, 120.0, 240.0, 500.0, 980.0].map(square);
        let fixed = |side| Resize::Fixed {
            width: side,
            height: side,
        };
        let found = Levels::of(&images, fixed(1000), &detector, 9);
        assert_eq!(counts(&found), [2, 1, 1, 1, 1, 0]);
        assert_eq!(found.levels[0].name, "P3");
        assert_eq!(found.levels[4].stride, 128);
        // At half the size, each square moves to the next finer level.
        let found = Levels::of(&images, fixed(500), &detector, 9);
        assert_eq!(counts(&found), [3, 1, 1, 1, 0, 0]);
        // At a twentieth, the first square is one pixel wide and between locations, as are the next two: 3 and 6 pixels
        // around 25.
        let found = Levels::of(&images, fixed(50), &detector, 9);
        assert_eq!(counts(&found), [3, 0, 0, 0, 0, 3]);
        assert_eq!(found.without_point_images, [0, 1, 2]);
    }

    #[test]
    fn objects_covered_by_smaller_ones_have_no_point() {
        let detector = FcosConfig::paper(1);
        // Both boxes contain only the location (4, 4).
        let images = [image(
            64,
            64,
            &[[0.0, 0.0, 11.0, 11.0], [1.0, 1.0, 9.0, 9.0]],
        )];
        let resize = Resize::Fixed {
            width: 64,
            height: 64,
        };
        let found = Levels::of(&images, resize, &detector, 9);
        // On P4, the location (8, 8) has distances below 64.
        assert_eq!(counts(&found), [1, 0, 0, 0, 0, 1]);
        assert_eq!(found.without_point_images, [0]);
    }

    /// Tests every location for every object, without the shortcuts of the rule.
    #[test]
    fn levels_match_a_direct_count() {
        let mut detector = FcosConfig::small(1);
        detector.assignment.center_sampling_radius = None;
        let bounds = [0.0, 48.0, 96.0, 192.0, 384.0, f32::INFINITY];
        let mut state = 7_u32;
        let mut random = |below: f32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 * below
        };
        let images: Vec<ImageRecord> = (0..40)
            .map(|index| {
                let boxes: Vec<[f32; 4]> = (0..6)
                    .map(|_| {
                        let (x, y) = (random(250.0), random(180.0));
                        let size = if index % 2 == 0 { 12.0 } else { 60.0 };
                        [x, y, x + 1.0 + random(size), y + 1.0 + random(size)]
                    })
                    .collect();
                image(320, 240, &boxes)
            })
            .collect();
        let resize = Resize::Fixed {
            width: 320,
            height: 240,
        };
        let mut expected = vec![0; 6];
        for image in &images {
            let boxes: Vec<[f32; 4]> = image.objects.iter().map(|o| o.bbox.to_xyxy()).collect();
            let mut points = vec![[0; 5]; boxes.len()];
            for (level, stride) in [8_usize, 16, 32, 64, 128].into_iter().enumerate() {
                for row in 0..240_usize.div_ceil(stride) {
                    for column in 0..320_usize.div_ceil(stride) {
                        let (x, y) = (
                            (column * stride + stride / 2) as f32,
                            (row * stride + stride / 2) as f32,
                        );
                        let inside = boxes.iter().enumerate().filter(|(_, [x1, y1, x2, y2])| {
                            let distances = [x - x1, y - y1, x2 - x, y2 - y];
                            let largest = distances.into_iter().fold(0.0, f32::max);
                            distances.into_iter().all(|d| d > 0.0)
                                && (bounds[level]..=bounds[level + 1]).contains(&largest)
                        });
                        let area =
                            |bbox: &[f32; 4]| (bbox[2] - bbox[0] + 1.0) * (bbox[3] - bbox[1] + 1.0);
                        let smallest = inside.min_by(|(_, a), (_, b)| area(a).total_cmp(&area(b)));
                        if let Some((object, _)) = smallest {
                            points[object][level] += 1;
                        }
                    }
                }
            }
            for points in points {
                let most = points.iter().copied().max().unwrap_or(0);
                let level = points.iter().position(|count| *count == most).unwrap_or(0);
                expected[if most == 0 { 5 } else { level }] += 1;
            }
        }
        let found = counts(&Levels::of(&images, resize, &detector, 9));
        assert_eq!(found, expected);
        assert!(found[5] > 10 && found[0] > 100, "{found:?}");
    }

    #[test]
    fn crowds_are_excluded() {
        let mut with_crowd = image(64, 64, &[[0.0, 0.0, 30.0, 30.0], [0.0, 0.0, 60.0, 60.0]]);
        with_crowd.objects[0].iscrowd = true;
        let resize = Resize::Fixed {
            width: 64,
            height: 64,
        };
        let found = Levels::of(&[with_crowd], resize, &FcosConfig::small(1), 9);
        assert_eq!(found.objects(), 1);
    }
}
