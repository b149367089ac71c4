//! Steps written outside the crate and named in a configuration.
#![allow(missing_docs, clippy::unwrap_used)]

use fcos_burn_data::image::Rgb;
use fcos_burn_data::rand::{Rng, RngExt};
use fcos_burn_data::transforms::{
    Augmentation, Augmentations, Geometry, HorizontalFlip, Pipeline, Sample, Transform,
};
use fcos_burn_data::{BoundingBox, DataError, RgbImage, sample_rng};
use serde::Deserialize;
use serde_json::json;

/// Makes some images gray.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RandomGray {
    probability: f64,
}

impl Augmentation for RandomGray {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !rng.random_bool(self.probability) {
            return Ok(sample);
        }
        Ok(sample.recolor(|[r, g, b]| {
            let sum = u16::from(r) + u16::from(g) + u16::from(b);
            [(sum / 3) as u8; 3]
        }))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)
    }
}

/// Swaps width and height, and fails on square images.
#[derive(Debug, Deserialize)]
struct Transpose {}

impl Augmentation for Transpose {
    fn apply(&self, sample: Sample, _rng: &mut dyn Rng) -> Result<Sample, DataError> {
        let (width, height) = sample.image().dimensions();
        if width == height {
            return Err(DataError::augmentation("transpose", "the image is square"));
        }
        let image = RgbImage::from_fn(height, width, |x, y| *sample.image().get_pixel(y, x));
        let swapped = sample.boxes().iter();
        let swapped = swapped.map(|b| BoundingBox::new(b.y1, b.x1, b.y2, b.x2));
        let objects = swapped.zip(sample.labels().iter().copied());
        Ok(Sample::new(image, objects))
    }
}

fn augmentations() -> Augmentations {
    Augmentations::default()
        .with::<RandomGray>("random_gray")
        .unwrap()
        .with::<Transpose>("transpose")
        .unwrap()
}

fn pipeline(steps: serde_json::Value) -> Result<Pipeline, DataError> {
    let steps: Vec<Transform> = serde_json::from_value(steps).unwrap();
    augmentations().pipeline(&steps)
}

fn sample(width: u32, height: u32) -> Sample {
    let image = RgbImage::from_pixel(width, height, Rgb([10, 20, 60]));
    Sample::new(image, [(BoundingBox::new(1.0, 2.0, 3.0, 5.0), 7)])
}

#[test]
fn custom_steps_run_among_others_in_order() {
    let steps = json!([
        {"transpose": {}},
        {"horizontal_flip": {"probability": 1.0}},
        {"random_gray": {"probability": 1}},
    ]);
    let result = pipeline(steps)
        .unwrap()
        .apply(sample(8, 6), &mut sample_rng(0, 0, 0))
        .unwrap();
    assert_eq!(result.image().dimensions(), (6, 8));
    assert_eq!(result.boxes(), [BoundingBox::new(1.0, 1.0, 4.0, 3.0)]);
    assert_eq!(result.image().get_pixel(0, 0), &Rgb([30; 3]));
}

#[test]
fn custom_steps_draw_from_the_generator_of_the_sample() {
    let pipeline = pipeline(json!([{"random_gray": {"probability": 0.5}}])).unwrap();
    let gray = |index| {
        let mut rng = sample_rng(1, 2, index);
        let result = pipeline.apply(sample(8, 6), &mut rng).unwrap();
        *result.image().get_pixel(0, 0) == Rgb([30; 3])
    };
    let expected: Vec<bool> = (0..40)
        .map(|index| sample_rng(1, 2, index).random_bool(0.5))
        .collect();
    assert_eq!((0..40).map(gray).collect::<Vec<_>>(), expected);
    assert!(expected.contains(&true) && expected.contains(&false));
}

#[test]
fn errors_for_unknown_names_list_the_known_names() {
    let error = pipeline(json!([{"random_grey": {}}])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown augmentation 'random_grey'; known augmentations: resize, scale_jitter, random_crop, random_affine, \
         horizontal_flip, vertical_flip, color_jitter, hsv_jitter, gaussian_blur, gaussian_noise, jpeg_artifacts, \
         random_erasing, mosaic, mixup, copy_paste, random_gray, transpose"
    );
    let gray = Transform::Custom {
        name: "random_gray".into(),
        options: json!({"probability": 0.5}),
    };
    let error = Pipeline::new(vec![gray]).unwrap_err().to_string();
    assert!(
        error.starts_with("unknown augmentation 'random_gray'; "),
        "{error}"
    );
}

#[test]
fn names_can_be_registered_only_once() {
    for taken in ["random_gray", "horizontal_flip"] {
        let error = augmentations().with::<RandomGray>(taken).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("an augmentation named '{taken}' already exists")
        );
    }
    assert!(augmentations().with::<RandomGray>("often_gray").is_ok());
}

#[test]
fn errors_for_wrong_options_name_the_step() {
    for (options, message) in [
        (
            json!({}),
            "options of the augmentation 'random_gray': missing field `probability`",
        ),
        (
            json!({"probability": "often"}),
            "options of the augmentation 'random_gray': invalid type: string \"often\", expected f64",
        ),
        (
            json!({"probability": 1.5}),
            "random_gray.probability is 1.5, but must be between 0 and 1",
        ),
    ] {
        let error = pipeline(json!([{"random_gray": options}])).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn errors_of_a_step_are_errors_of_the_pipeline() {
    let error = pipeline(json!([{"transpose": {}}]))
        .unwrap()
        .apply(sample(8, 8), &mut sample_rng(0, 0, 0))
        .unwrap_err();
    assert_eq!(error.to_string(), "transpose: the image is square");
}

#[test]
fn steps_can_be_added_without_a_name() {
    let flip = HorizontalFlip::default().with_probability(1.0);
    let pipeline = Pipeline::new(vec![Transform::HorizontalFlip(flip)])
        .unwrap()
        .with_step(RandomGray { probability: 1.0 })
        .unwrap();
    let result = pipeline
        .apply(sample(8, 6), &mut sample_rng(0, 0, 0))
        .unwrap();
    assert_eq!(result.boxes(), [BoundingBox::new(5.0, 2.0, 7.0, 5.0)]);
    assert_eq!(result.image().get_pixel(0, 0), &Rgb([30; 3]));
    let invalid = Pipeline::default().with_step(RandomGray { probability: -1.0 });
    assert!(matches!(invalid, Err(DataError::Config { .. })));
}

#[test]
fn recoloring_keeps_the_boxes() {
    let sample = sample(8, 6);
    let filtered = RgbImage::from_pixel(8, 6, Rgb([1, 2, 3]));
    let result = sample.clone().map_to(filtered.clone(), Geometry::IDENTITY);
    assert_eq!(result.image(), &filtered);
    assert_eq!(result.boxes(), sample.boxes());
}
