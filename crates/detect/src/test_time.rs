//! Detection in several views of each image.

use burn::tensor::{ExecutionError, Tensor};
use fcos_burn_boxes::{Detection, Suppression};
use fcos_burn_model::{Fcos, ImageFrame, backbone::Backbone};

use crate::{
    Detector,
    input::{InputBatch, InputView},
    views::ViewMerging,
};

/// How a model decodes a batch: [`Fcos::detect`] or [`Fcos::candidates`].
type Decode<B> =
    fn(&Fcos<B>, Tensor<4>, &[ImageFrame]) -> Result<Vec<Vec<Detection>>, ExecutionError>;

impl<B: Backbone> Detector<B> {
    /// All detections in batches whose views have the same shapes: for each image, the merged detections of its views.
    pub(crate) fn detect_batches(
        &self,
        batches: Vec<InputBatch>,
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        let mut views: Vec<Vec<InputView>> = Vec::new();
        for batch in batches {
            for (place, view) in batch.views.into_iter().enumerate() {
                match views.get_mut(place) {
                    Some(same) => same.push(view),
                    None => views.push(vec![view]),
                }
            }
        }
        match views.len() {
            0 => Ok(Vec::new()),
            1 => self.decoded(views.remove(0), Fcos::detect),
            _ => self.merged(views),
        }
    }

    /// The merged detections in several views of the same images.
    fn merged(&self, views: Vec<Vec<InputView>>) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        let merging = self.input().test_time_augmentation.merging;
        let decode: Decode<B> = match merging {
            ViewMerging::Suppression => Fcos::candidates,
            ViewMerging::WeightedBoxesFusion(_) => Fcos::detect,
        };
        let images = views[0].iter().map(|view| view.frames.len()).sum();
        let mut seen: Vec<Vec<Vec<Detection>>> = vec![Vec::new(); images];
        // Views of the same shape go through the network together: those of a scale.
        let mut groups: Vec<Vec<InputView>> = Vec::new();
        for view in views {
            match groups.last_mut() {
                Some(group) if group[0].images.shape() == view[0].images.shape() => {
                    group.extend(view);
                }
                _ => groups.push(view),
            }
        }
        for group in groups {
            for (index, detections) in self.decoded(group, decode)?.into_iter().enumerate() {
                seen[index % images].push(detections);
            }
        }
        let merged = seen.iter().map(|views| self.merge(views, merging));
        Ok(merged.collect())
    }

    /// The detections or candidates in inputs of the same shape, image by image, with boxes in pixels of the upright image.
    fn decoded(
        &self,
        inputs: Vec<InputView>,
        decode: Decode<B>,
    ) -> Result<Vec<Vec<Detection>>, ExecutionError> {
        let (mut images, mut frames) = (Vec::with_capacity(inputs.len()), Vec::new());
        let mut flips = Vec::new();
        for input in inputs {
            images.push(Tensor::from_data(input.images, self.device()));
            flips.extend(input.frames.iter().map(|_| input.flip));
            frames.extend(input.frames);
        }
        let images = match images.len() {
            1 => images.remove(0),
            _ => Tensor::cat(images, 0),
        };
        let precision = self.precision();
        let images = precision.cast(images);
        let mut found = precision.scope(|| decode(self.model(), images, &frames))?;
        for ((detections, flip), frame) in found.iter_mut().zip(flips).zip(frames) {
            if let Some(flip) = flip {
                let [height, width] = frame.original_size.map(|side| side as f32);
                for detection in detections {
                    detection.bbox = flip.bbox(detection.bbox, [width, height]);
                }
            }
        }
        Ok(found)
    }

    /// The detections of an image from those of its views.
    fn merge(&self, views: &[Vec<Detection>], merging: ViewMerging) -> Vec<Detection> {
        let config = self.model().postprocess();
        let limit = config.detections_per_image;
        match merging {
            ViewMerging::Suppression => config.nms().apply(views.concat(), limit),
            ViewMerging::WeightedBoxesFusion(fusion) => {
                let sources: Vec<(f32, &[Detection])> =
                    views.iter().map(|view| (1.0, view.as_slice())).collect();
                let mut fused = fusion.fuse(&sources);
                // Fusion is within the classes.
                if config.suppression == Suppression::AcrossClasses {
                    fused = config.nms().apply(fused, limit);
                }
                fused.truncate(limit);
                fused
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_boxes::{NmsMethod, WeightedBoxesFusion};
    use fcos_burn_data::transforms::{
        Flip::{self, *},
        Resize,
    };
    use image::{RgbImage, imageops};

    use super::*;
    use crate::{
        Tiling,
        test_detector::{picture, untrained},
        views::TestTimeAugmentation,
    };

    const FIXED: Resize = Resize::Fixed {
        width: 64,
        height: 48,
    };
    const SHORT_SIDE: Resize = Resize::ShortSide {
        short: 40,
        long: 90,
    };

    fn fusion() -> ViewMerging {
        ViewMerging::WeightedBoxesFusion(WeightedBoxesFusion::default())
    }

    fn with(detector: &Detector, augmentation: TestTimeAugmentation) -> Detector {
        let detector = detector.clone();
        detector.with_test_time_augmentation(augmentation).unwrap()
    }

    fn detect(detector: &Detector, image: &RgbImage) -> Vec<Detection> {
        let found = detector
            .detect(std::slice::from_ref(image))
            .unwrap()
            .concat();
        assert!(!found.is_empty());
        found
    }

    /// The detections in one view of an image.
    fn seen(detector: &Detector, image: &RgbImage, view: usize) -> Vec<Detection> {
        let mut batch = detector.input().batch(std::slice::from_ref(image)).unwrap();
        let views = vec![batch.views.swap_remove(view)];
        (detector.detect_batches(vec![InputBatch { views }]))
            .unwrap()
            .concat()
    }

    fn mirrored(detections: &[Detection], flip: Flip, size: [f32; 2]) -> Vec<Detection> {
        let mirror = |detection: &Detection| Detection {
            bbox: flip.bbox(detection.bbox, size),
            ..*detection
        };
        detections.iter().map(mirror).collect()
    }

    fn assert_close(found: &[Detection], expected: &[Detection]) {
        assert_eq!(found.len(), expected.len());
        for (one, other) in found.iter().zip(expected) {
            assert_eq!(one.label, other.label, "{one:?} {other:?}");
            assert!((one.score - other.score).abs() < 1e-5, "{one:?} {other:?}");
            for (one, other) in one.bbox.iter().zip(other.bbox) {
                assert!((one - other).abs() < 1e-2, "{one} {other}");
            }
        }
    }

    #[test]
    fn a_single_view_is_the_image_itself() {
        let image = picture(70, 50);
        for resize in [FIXED, SHORT_SIDE] {
            let plain = untrained(4, resize, 20);
            let one = TestTimeAugmentation::default().with_merging(fusion());
            assert_eq!(detect(&with(&plain, one), &image), detect(&plain, &image));
        }
    }

    #[test]
    fn a_scale_is_another_input_size() {
        let image = picture(70, 50);
        for resize in [FIXED, SHORT_SIDE] {
            let plain = untrained(4, resize, 20);
            let double = TestTimeAugmentation::default().with_scales([2.0]);
            let expected = plain.clone().with_resize(resize.scaled(2.0)).unwrap();
            assert_eq!(
                detect(&with(&plain, double), &image),
                detect(&expected, &image)
            );
        }
    }

    #[test]
    fn boxes_in_flipped_views_are_mapped_back_exactly() {
        // The image has the size of the input: resizing would round differently after a flip.
        let image = picture(64, 48);
        let plain = untrained(4, FIXED, 20);
        let flips = [Horizontal, Vertical, Both];
        let detector = with(&plain, TestTimeAugmentation::default().with_flips(flips));
        let size = [64.0, 48.0];
        for (view, (flip, flipped)) in [
            (Horizontal, imageops::flip_horizontal(&image)),
            (Vertical, imageops::flip_vertical(&image)),
            (Both, imageops::rotate180(&image)),
        ]
        .into_iter()
        .enumerate()
        {
            let expected = mirrored(&detect(&plain, &flipped), flip, size);
            assert_eq!(seen(&detector, &image, view + 1), expected, "{flip:?}");
        }
        assert_eq!(seen(&detector, &image, 0), detect(&plain, &image));
        // The flip of a symmetric image is the image.
        let mut symmetric = image.clone();
        imageops::replace(&mut symmetric, &imageops::flip_horizontal(&image), 0, 0);
        let left = imageops::crop_imm(&image, 0, 0, 32, 48).to_image();
        imageops::replace(&mut symmetric, &left, 0, 0);
        assert_eq!(imageops::flip_horizontal(&symmetric), symmetric);
        let expected = mirrored(&seen(&detector, &symmetric, 0), Horizontal, size);
        assert_eq!(seen(&detector, &symmetric, 1), expected);
    }

    /// An image that is not as large as the input, in a batch with padding.
    #[test]
    fn flipped_views_of_resized_images_are_mapped_to_the_original() {
        let image = picture(80, 57);
        let plain = untrained(4, SHORT_SIDE, 10);
        let detector = with(
            &plain,
            TestTimeAugmentation::default().with_flips([Horizontal]),
        );
        let flipped = detect(&plain, &imageops::flip_horizontal(&image));
        let expected = mirrored(&flipped, Horizontal, [80.0, 57.0]);
        // The bytes of the pixels are rounded differently.
        let is_expected = |one: &&Detection| {
            let overlaps = |other: &Detection| fcos_burn_boxes::iou(&one.bbox, &other.bbox) > 0.95;
            (expected.iter()).any(|other| one.label == other.label && overlaps(other))
        };
        let found = seen(&detector, &image, 1);
        assert!(found.iter().filter(is_expected).count() >= 8, "{found:?}");
    }

    #[test]
    fn candidates_of_all_views_are_suppressed_once() {
        let image = picture(64, 48);
        let plain = untrained(4, FIXED, 30);
        let augmentation = TestTimeAugmentation::default()
            .with_scales([1.0, 0.5])
            .with_flips([Horizontal]);
        // Nothing is suppressed in a view.
        let all = plain.clone().with_iou_threshold(1.0).unwrap();
        let all = all.with_max_detections(1_000_000).unwrap();
        let all = with(&all, augmentation.clone());
        let pool: Vec<Detection> = (0..4).flat_map(|view| seen(&all, &image, view)).collect();
        for method in [NmsMethod::Greedy, NmsMethod::SoftGaussian { sigma: 0.5 }] {
            let plain = plain.clone().with_nms_method(method).unwrap();
            let nms = plain.model().postprocess().nms();
            let found = detect(&with(&plain, augmentation.clone()), &image);
            assert_close(&found, &nms.apply(pool.clone(), 30));
        }
    }

    #[test]
    fn fusion_takes_the_detections_of_each_view() {
        let image = picture(64, 48);
        let plain = untrained(4, FIXED, 30);
        let augmentation = TestTimeAugmentation::default()
            .with_scales([1.0, 0.5])
            .with_merging(fusion());
        let detector = with(&plain, augmentation);
        let views: Vec<Vec<Detection>> = (0..2).map(|view| seen(&detector, &image, view)).collect();
        let sources = [(1.0, views[0].as_slice()), (1.0, views[1].as_slice())];
        let mut expected = WeightedBoxesFusion::default().fuse(&sources);
        expected.truncate(30);
        assert_close(&detect(&detector, &image), &expected);
        // Across classes, no two boxes of a place are left.
        let across = detector.with_suppression(Suppression::AcrossClasses);
        let found = detect(&across.unwrap(), &image);
        for (place, one) in found.iter().enumerate() {
            for other in &found[..place] {
                assert!(fcos_burn_boxes::iou(&one.bbox, &other.bbox) <= 0.6);
            }
        }
    }

    #[test]
    fn views_do_not_depend_on_batches() {
        let plain = untrained(4, SHORT_SIDE, 8);
        for merging in [ViewMerging::Suppression, fusion()] {
            let augmentation = TestTimeAugmentation::default()
                .with_scales([0.8, 1.25])
                .with_flips([Horizontal, Vertical])
                .with_merging(merging);
            let detector = with(&plain, augmentation);
            let images = [(60, 50), (50, 120), (60, 50), (61, 50)].map(|(w, h)| picture(w, h));
            let expected = images.each_ref().map(|image| detect(&detector, image));
            let inputs = images.iter().map(|image| {
                let input = detector.input().batch(std::slice::from_ref(image)).unwrap();
                Ok::<_, crate::Error>(((), input))
            });
            let streamed = detector.detect_stream(inputs, 3).unwrap();
            for (found, expected) in streamed.zip(&expected) {
                assert_close(&found.unwrap().1, expected);
            }
        }
    }

    #[test]
    fn tiles_are_seen_in_all_views() {
        let image = picture(150, 130);
        let plain = untrained(4, FIXED, 100);
        let augmentation = TestTimeAugmentation::default()
            .with_scales([1.0, 1.5])
            .with_flips([Horizontal]);
        let detector = with(&plain, augmentation);
        // An image of one tile is detected without tiles.
        let whole = detector.detect_tiled(&image, &Tiling::new(150, 130));
        assert_eq!(whole.unwrap(), detect(&detector, &image));
        let tiling = Tiling::new(64, 64).with_overlap(0.3);
        let found = detector.detect_tiled(&image, &tiling).unwrap();
        for Detection { bbox, .. } in &found {
            let [x1, y1, x2, y2] = bbox;
            assert!(*x1 >= 0.0 && *y1 >= 0.0 && *x2 <= 150.0 && *y2 <= 130.0);
        }
        assert_ne!(found, plain.detect_tiled(&image, &tiling).unwrap());
        let again = tiling.with_batch_size(2);
        let again = detector.detect_tiled(&image, &again).unwrap();
        assert_close(&again, &found);
    }

    #[test]
    fn invalid_augmentations_are_refused() {
        let invalid = WeightedBoxesFusion::default().with_iou_threshold(1.5);
        let default = TestTimeAugmentation::default;
        for (augmentation, part) in [
            (default().with_scales([]), "scales is []"),
            (default().with_scales([1.0, 0.0]), "scales is [1.0, 0.0]"),
            (default().with_scales([f32::NAN]), "scales is [NaN]"),
            (default().with_scales([1.0, 1.0]), "without repetitions"),
            (default().with_flips([Both, Both]), "flips is [Both, Both]"),
            (
                default().with_merging(ViewMerging::WeightedBoxesFusion(invalid)),
                "iou_threshold is 1.5",
            ),
        ] {
            let detector = untrained(4, FIXED, 5);
            let error = detector.with_test_time_augmentation(augmentation);
            let error = error.unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
            assert!(error.contains("test_time_augmentation."), "{error}");
        }
        // A size that an image cannot have.
        let wide = Resize::Fixed {
            width: 30_000,
            height: 48,
        };
        let large = default().with_scales([1.0, 2.0]);
        let detector = untrained(4, wide, 5).with_test_time_augmentation(large);
        let error = detector.unwrap_err().to_string();
        assert!(
            error.contains("scales is 2") && error.contains("32768"),
            "{error}"
        );
    }

    #[test]
    fn the_default_is_left_out_of_files() {
        let input = untrained(4, FIXED, 5).input().clone();
        let json = serde_json::to_value(&input).unwrap();
        assert!(json.get("test_time_augmentation").is_none());
        let input = input.with_test_time_augmentation(
            TestTimeAugmentation::default()
                .with_flips([Vertical])
                .with_merging(fusion()),
        );
        let json = serde_json::to_value(&input).unwrap();
        let augmentation = &json["test_time_augmentation"];
        assert_eq!(augmentation["flips"][0], "vertical");
        assert!(augmentation["merging"]["weighted-boxes-fusion"].is_object());
        let read: crate::InputConfig = serde_json::from_value(json).unwrap();
        assert_eq!(read, input);
    }
}
