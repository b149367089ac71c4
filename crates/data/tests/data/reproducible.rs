//! Random draws and their results are part of the API: the same seed must give the same training after an update.
#![allow(missing_docs, clippy::unwrap_used)]

use fcos_burn_data::shapes::{ShapesConfig, ShapesSplit};
use fcos_burn_data::transforms::{Interpolation, Pipeline, Resize, Transform};
use fcos_burn_data::{DetectionDataset, SampleOrder, SampleReader, epoch_order, sample_rng};
use rand::Rng;

/// FNV-1a.
fn digest(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

fn shapes() -> DetectionDataset {
    let config: ShapesConfig =
        serde_json::from_str(r#"{"seed": 3, "train_images": 12, "width": 64, "height": 48}"#)
            .unwrap();
    DetectionDataset::shapes(&config, ShapesSplit::Train).unwrap()
}

#[test]
fn sample_generators_and_epoch_orders_are_stable() {
    let words: Vec<u64> = (0..3)
        .map(|index| sample_rng(7, 2, index).next_u64())
        .collect();
    assert_eq!(
        words,
        [
            6_231_131_949_931_516_905,
            3_188_772_875_681_690_946,
            9_393_903_192_236_433_661
        ]
    );
    assert_eq!(
        epoch_order(8, 7, 1, SampleOrder::Shuffled),
        [4, 0, 3, 5, 2, 6, 7, 1]
    );
}

#[test]
fn generated_annotations_are_stable() {
    let dataset = shapes();
    let objects = dataset.images().iter().flat_map(|image| &image.objects);
    let bytes = objects.flat_map(|object| {
        let sides = object.bbox.to_xyxy().map(f32::to_le_bytes).into_iter();
        let area = dataset.to_coco().annotations[object.id as usize - 1].area;
        sides
            .flatten()
            .chain(area.unwrap().to_le_bytes())
            .chain([object.label as u8])
            .collect::<Vec<u8>>()
    });
    assert_eq!(digest(bytes), 15_365_289_231_011_588_137);
}

#[test]
fn augmented_samples_are_stable() {
    let dataset = shapes();
    let reader = SampleReader::new(5);
    let resize = Resize::Fixed {
        width: 64,
        height: 48,
    };
    let companions = reader.companions(&dataset, 1, resize, Interpolation::Antialiased);
    for (steps, expected) in [
        (
            r#"[{"horizontal_flip": {"probability": 0.5}}]"#,
            0x4f6a_7040_f154_255a,
        ),
        (
            r#"[{"vertical_flip": {"probability": 0.5}}]"#,
            0x9ae8_47d5_9629_6087,
        ),
        (
            r#"[{"resize": {"short_side": {"short": 60, "long": 90}}}]"#,
            0x47a6_8c35_70f2_8a26,
        ),
        (
            r#"[{"scale_jitter": {"min": 0.75, "max": 1.25}}]"#,
            0x01df_7d79_b4a9_b35b,
        ),
        (
            r#"[{"random_crop": {"probability": 0.5, "min_scale": 0.6, "min_visible": 0.4}}]"#,
            0xd917_6d7a_8cda_3bb5,
        ),
        (
            r#"[{"color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03}}]"#,
            0xe4f0_8304_b16b_81dc,
        ),
        (
            r#"[
                {"horizontal_flip": {"probability": 0.5}},
                {"resize": {"fixed": {"width": 80, "height": 60}}},
                {"scale_jitter": {"min": 0.75, "max": 1.25}},
                {"random_crop": {"probability": 0.5, "min_scale": 0.6, "min_visible": 0.4}},
                {"color_jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3, "hue": 0.03}}
            ]"#,
            0x9477_d835_d771_a335,
        ),
        (
            r#"[{"random_affine": {"degrees": 10, "shear": 5, "perspective": 0.1}}]"#,
            0x7bd1_9b08_e3ed_9629,
        ),
        (r#"[{"hsv_jitter": {}}]"#, 0x3eb2_6e16_06b9_9636),
        (
            r#"[{"gaussian_blur": {"probability": 1}}]"#,
            0xd815_8e5e_0aa6_2bdf,
        ),
        (
            r#"[{"gaussian_noise": {"probability": 1}}]"#,
            0xd168_9098_400f_b4e7,
        ),
        (
            r#"[{"jpeg_artifacts": {"probability": 1}}]"#,
            0x880a_61d5_1d1c_b561,
        ),
        (
            r#"[{"random_erasing": {"probability": 1}}]"#,
            0xdc65_1aed_2836_8bdd,
        ),
        (r#"[{"mosaic": {}}]"#, 0x152d_7109_1a1b_8f53),
        (r#"[{"mixup": {"probability": 1}}]"#, 0x9831_63d0_50c5_b14e),
        (
            r#"[{"copy_paste": {"probability": 1}}]"#,
            0x67b2_a8ff_5396_e808,
        ),
    ] {
        let transforms: Vec<Transform> = serde_json::from_str(steps).unwrap();
        let pipeline = Pipeline::new(transforms).unwrap();
        let mut bytes = Vec::new();
        for index in 0..dataset.len() {
            let sample = dataset.sample(index).unwrap();
            let sample = pipeline
                .apply_among(sample, &companions, &mut sample_rng(5, 1, index))
                .unwrap();
            bytes.extend(sample.image().as_raw());
            let sides = sample.boxes().iter().flat_map(|bbox| bbox.to_xyxy());
            bytes.extend(sides.flat_map(f32::to_le_bytes));
            bytes.extend(sample.labels().iter().map(|label| *label as u8));
        }
        assert_eq!(digest(bytes), expected, "{steps}");
    }
}
