//! Augmentation with all steps, and with images of a data set of which some are unreadable.
#![allow(missing_docs, clippy::unwrap_used)]

use fcos_burn_data::image::Rgb;
use fcos_burn_data::rand::Rng;
use fcos_burn_data::transforms::{
    Augmentation, AugmentationStrength, Augmentations, Companions, Interpolation, Pipeline, Resize,
    Sample, Transform,
};
use fcos_burn_data::{
    BoundingBox, Category, DataError, DetectionDataset, ImageRecord, ImageSource, Object, RgbImage,
    SampleReader, sample_rng,
};
use proptest::prelude::*;
use serde::Deserialize;

/// Every step with several images or with a new image, at its strongest.
const STRONGEST: &str = r#"[
    {"copy_paste": {"probability": 1, "max_objects": 9, "min_scale": 0.1, "max_scale": 10, "max_overlap": 0.5, "feather": 1}},
    {"mosaic": {"probability": 0.5, "min_tile": 0, "min_scale": 0.1, "max_scale": 10, "min_visible": 0}},
    {"random_affine": {"degrees": 180, "min_scale": 0.1, "max_scale": 10, "translate": 1, "shear": 30, "perspective": 0.5, "min_visible": 0}},
    {"mixup": {"probability": 0.5, "alpha": 0.01, "min_visible": 0}},
    {"hsv_jitter": {"hue": 0.5, "saturation": 1, "value": 1}},
    {"gaussian_blur": {"probability": 0.5, "min_sigma": 0.1, "max_sigma": 20}},
    {"gaussian_noise": {"probability": 0.5, "min_deviation": 0, "max_deviation": 255}},
    {"jpeg_artifacts": {"probability": 0.5, "min_quality": 1, "max_quality": 100}},
    {"random_erasing": {"probability": 0.5, "max_count": 64, "min_area": 0, "max_area": 1, "max_aspect": 100, "max_erased": 0.9}}
]"#;

/// A sample of any small size, whose objects have labels below 5.
fn samples() -> impl Strategy<Value = Sample> {
    let object = (
        [0.0..60_f32, 0.0..60_f32, 0.01..60_f32, 0.01..60_f32],
        0..5_usize,
    );
    (1..60_u32, 1..60_u32, prop::collection::vec(object, 0..6)).prop_map(
        |(width, height, objects)| {
            let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, 200]));
            let objects = objects.into_iter().map(|([x, y, width, height], label)| {
                (BoundingBox::new(x, y, x + width, y + height), label)
            });
            Sample::new(image, objects)
        },
    )
}

proptest! {
    #[test]
    fn samples_stay_valid_and_depend_only_on_the_generator(
        sample in samples(), others in prop::collection::vec(samples(), 1..4), seed in 0..1000_u64,
    ) {
        let strongest: Vec<Transform> = serde_json::from_str(STRONGEST).unwrap();
        let companions = |rng: &mut dyn Rng| -> Result<Sample, DataError> {
            Ok(others[rng.next_u32() as usize % others.len()].clone())
        };
        for steps in [strongest, AugmentationStrength::Strong.steps(1)] {
            let pipeline = Pipeline::new(steps).unwrap();
            let apply = || {
                let rng = &mut sample_rng(seed, 0, 0);
                pipeline.apply_among(sample.clone(), &companions, rng).unwrap()
            };
            let result = apply();
            let (width, height) = sample.image().dimensions();
            prop_assert_eq!(result.image().dimensions(), (width, height));
            prop_assert_eq!(result.boxes().len(), result.labels().len());
            for bbox in result.boxes() {
                prop_assert!(!bbox.is_degenerate() && bbox.clip(width, height) == *bbox, "{:?}", bbox);
            }
            let mut known = others.iter().chain([&sample]).flat_map(Sample::labels);
            let labels: Vec<&usize> = known.by_ref().collect();
            prop_assert!(result.labels().iter().all(|label| labels.contains(&label)));
            prop_assert_eq!(apply(), result);
        }
    }
}

/// Images whose red value is their index. One of them cannot be read.
#[derive(Debug)]
struct Numbered {
    broken: usize,
}

impl ImageSource for Numbered {
    fn image(&self, index: usize) -> Result<RgbImage, DataError> {
        if index == self.broken {
            return Err(DataError::image_source("broken", "connection closed"));
        }
        Ok(RgbImage::from_pixel(20, 10, Rgb([index as u8, 0, 0])))
    }
}

fn numbered() -> DetectionDataset {
    let records = (1..=40).map(|id| {
        let object = Object::new(id, BoundingBox::new(2.0, 3.0, 8.0, 9.0), 0);
        ImageRecord::new(id, format!("{id}"), 20, 10).with_objects(vec![object])
    });
    let classes = Category::list(["cat"]);
    DetectionDataset::new(
        "numbered",
        classes,
        records.collect(),
        Numbered { broken: 7 },
    )
    .unwrap()
}

#[test]
fn companions_are_all_images_resized_and_unreadable_ones_are_replaced() {
    let dataset = numbered();
    let drawn = |epoch| -> (Vec<u8>, usize) {
        let reader = SampleReader::new(1);
        let resize = Resize::Fixed {
            width: 40,
            height: 40,
        };
        let companions = reader.companions(&dataset, epoch, resize, Interpolation::Antialiased);
        let rng = &mut sample_rng(0, 0, 0);
        let images = (0..400).map(|_| {
            let sample = companions.draw(rng).unwrap();
            assert_eq!(sample.image().dimensions(), (40, 40));
            assert_eq!(sample.boxes(), [BoundingBox::new(4.0, 12.0, 16.0, 36.0)]);
            sample.image().get_pixel(0, 0)[0]
        });
        (images.collect(), reader.unreadable().len())
    };
    let (images, unreadable) = drawn(1);
    assert_eq!((images.clone(), unreadable), drawn(1));
    assert_eq!(unreadable, 1);
    let mut seen = images.clone();
    seen.sort_unstable();
    seen.dedup();
    let expected: Vec<u8> = (0..40).filter(|index| *index != 7).collect();
    assert_eq!(seen, expected);
    // The replacement is another one in another epoch.
    let others = drawn(2).0;
    let different = images.iter().zip(&others).filter(|(a, b)| a != b).count();
    assert!((1..40).contains(&different), "{different}");
}

#[test]
fn an_empty_data_set_has_no_companions() {
    let classes = Category::list(["cat"]);
    let none = DetectionDataset::new("none", classes, Vec::new(), Numbered { broken: 0 }).unwrap();
    let reader = SampleReader::new(0);
    let resize = Resize::Fixed {
        width: 4,
        height: 4,
    };
    let companions = reader.companions(&none, 1, resize, Interpolation::Antialiased);
    assert!(companions.draw(&mut sample_rng(0, 0, 0)).is_err());
}

/// A step of another crate that shows another image.
#[derive(Debug, Deserialize)]
struct Swap {}

impl Augmentation for Swap {
    fn apply(&self, sample: Sample, _rng: &mut dyn Rng) -> Result<Sample, DataError> {
        Ok(sample)
    }

    fn apply_among(
        &self,
        _sample: Sample,
        companions: &dyn Companions,
        rng: &mut dyn Rng,
    ) -> Result<Sample, DataError> {
        companions.draw(rng)
    }

    fn is_plain(&self) -> bool {
        false
    }
}

#[test]
fn custom_steps_can_draw_companions_and_be_left_out_of_the_last_epochs() {
    let augmentations = Augmentations::default().with::<Swap>("swap").unwrap();
    let steps: Vec<Transform> =
        serde_json::from_str(r#"[{"swap": {}}, {"horizontal_flip": {"probability": 1}}]"#).unwrap();
    let pipeline = augmentations.pipeline(&steps).unwrap();
    let image = |red| RgbImage::from_fn(2, 1, |x, _| Rgb([red + x as u8; 3]));
    let own = Sample::new(image(10), []);
    let other = |_: &mut dyn Rng| -> Result<Sample, DataError> { Ok(Sample::new(image(50), [])) };
    let first = |pipeline: &Pipeline| {
        let rng = &mut sample_rng(0, 0, 0);
        let result = pipeline.apply_among(own.clone(), &other, rng).unwrap();
        result.image().get_pixel(0, 0)[0]
    };
    assert_eq!(first(&pipeline), 51);
    assert_eq!(first(&pipeline.plain()), 11);
}
