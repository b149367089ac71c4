//! EXIF orientations: pixels, sizes and boxes refer to the upright image, unless the annotated size matches only the
//! stored pixels.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Cursor;
use std::path::Path;

use fcos_burn_data::{BoundingBox, DataFolder, DetectionDataset, Finding, read_image};
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ImageEncoder, ImageFormat, Rgb, RgbImage};
use serde_json::json;
use tempfile::TempDir;

/// 24×16 pixels in six blocks of different colors, so that all rotations and reflections differ.
fn upright() -> RgbImage {
    const COLORS: [[u8; 3]; 6] = [
        [250, 10, 10],
        [10, 250, 10],
        [10, 10, 250],
        [250, 250, 10],
        [10, 250, 250],
        [120, 120, 120],
    ];
    RgbImage::from_fn(24, 16, |x, y| Rgb(COLORS[(x / 8 + 3 * (y / 8)) as usize]))
}

/// The pixels that a camera stores with this `orientation`. The EXIF standard defines it by where the stored row 0 and
/// column 0 are in the upright picture.
fn stored(upright: &RgbImage, orientation: u16) -> RgbImage {
    let (width, height) = upright.dimensions();
    let (right, bottom) = (width - 1, height - 1);
    let size = match orientation {
        1..=4 => (width, height),
        _ => (height, width),
    };
    RgbImage::from_fn(size.0, size.1, |column, row| {
        let (x, y) = match orientation {
            1 => (column, row),                  // row 0: top, column 0: left
            2 => (right - column, row),          // top, right
            3 => (right - column, bottom - row), // bottom, right
            4 => (column, bottom - row),         // bottom, left
            5 => (row, column),                  // left, top
            6 => (right - row, column),          // right, top
            7 => (right - row, bottom - column), // right, bottom
            _ => (row, bottom - column),         // left, bottom
        };
        *upright.get_pixel(x, y)
    })
}

/// A TIFF header with one directory of one entry: the orientation.
fn exif(orientation: u16) -> Vec<u8> {
    let [high, low] = orientation.to_be_bytes();
    let mut bytes = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
    bytes.extend([high, low, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// An uncompressed TIFF file of 8-bit RGB.
fn tiff(image: &RgbImage, orientation: u16) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let pixels = image.as_raw();
    let entries: [(u16, u16, u32, u32); 10] = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        // The bits per sample follow the directory.
        (258, 3, 3, 8 + 2 + 10 * 12 + 4),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8 + 2 + 10 * 12 + 4 + 6),
        (274, 3, 1, u32::from(orientation)),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, pixels.len() as u32),
    ];
    let mut bytes = b"II\x2a\0\x08\0\0\0\x0a\0".to_vec();
    for (tag, kind, count, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend([0, 0, 0, 0, 8, 0, 8, 0, 8, 0]);
    bytes.extend(pixels);
    bytes
}

fn encoded(image: &RgbImage, orientation: u16, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (width, height) = image.dimensions();
    let color = image::ExtendedColorType::Rgb8;
    match format {
        ImageFormat::Jpeg => {
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 100);
            encoder.set_exif_metadata(exif(orientation)).unwrap();
            encoder.write_image(image, width, height, color).unwrap();
        }
        ImageFormat::Png => {
            let mut encoder = PngEncoder::new(&mut bytes);
            encoder.set_exif_metadata(exif(orientation)).unwrap();
            encoder.write_image(image, width, height, color).unwrap();
        }
        ImageFormat::WebP => {
            let mut encoder = WebPEncoder::new_lossless(&mut bytes);
            encoder.set_exif_metadata(exif(orientation)).unwrap();
            encoder.write_image(image, width, height, color).unwrap();
        }
        _ => bytes = tiff(image, orientation),
    }
    bytes
}

const FORMATS: [(&str, ImageFormat); 4] = [
    ("jpg", ImageFormat::Jpeg),
    ("png", ImageFormat::Png),
    ("webp", ImageFormat::WebP),
    ("tif", ImageFormat::Tiff),
];

fn write(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// JPEG blends colors across the borders of its blocks of 16 pixels.
fn assert_near(found: &RgbImage, expected: &RgbImage, context: &str) {
    assert_eq!(found.dimensions(), expected.dimensions(), "{context}");
    for (x, y, pixel) in expected.enumerate_pixels() {
        if [3, 4, 11, 12, 19, 20].contains(&x) && [3, 4, 11, 12].contains(&y) {
            let found = found.get_pixel(x, y);
            let near = pixel
                .0
                .iter()
                .zip(found.0)
                .all(|(a, b)| a.abs_diff(b) <= 60);
            assert!(near, "{context}: {x},{y}: {found:?}, expected {pixel:?}");
        }
    }
}

#[test]
fn every_orientation_of_every_format_is_read_upright() {
    let dir = TempDir::new().unwrap();
    for (extension, format) in FORMATS {
        for orientation in 1..=8 {
            let path = dir.path().join(format!("{orientation}.{extension}"));
            write(
                &path,
                encoded(&stored(&upright(), orientation), orientation, format),
            );
            let context = format!("{extension} {orientation}");
            assert_near(&read_image(&path).unwrap(), &upright(), &context);
            // An invalid orientation is ignored.
            write(&path, encoded(&upright(), 9, format));
            assert_near(&read_image(&path).unwrap(), &upright(), &context);
        }
    }
}

/// Some writers put the marker of JPEG's segment before WebP metadata.
#[test]
fn webp_metadata_may_have_the_marker_of_jpeg() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.webp");
    let image = stored(&upright(), 6);
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut bytes);
    let marked = [b"Exif\0\0".to_vec(), exif(6)].concat();
    encoder.set_exif_metadata(marked).unwrap();
    let color = image::ExtendedColorType::Rgb8;
    encoder
        .write_image(&image, image.width(), image.height(), color)
        .unwrap();
    write(&path, bytes);
    assert_near(&read_image(&path).unwrap(), &upright(), "marked");
}

/// Writes one image file for each orientation.
fn write_images(folder: &Path) -> Vec<String> {
    let name = |orientation: u16| format!("{orientation}.jpg");
    for orientation in 1..=8 {
        let image = stored(&upright(), orientation);
        let bytes = encoded(&image, orientation, ImageFormat::Jpeg);
        write(&folder.join(name(orientation)), bytes);
    }
    (1..=8).map(name).collect()
}

/// A COCO file with the same box in every image.
fn coco(names: &[String], size: impl Fn(usize) -> Option<(u32, u32)>) -> String {
    let images = names
        .iter()
        .enumerate()
        .map(|(index, name)| match size(index) {
            Some((width, height)) => {
                json!({"id": index, "file_name": name, "width": width, "height": height})
            }
            None => json!({"id": index, "file_name": name}),
        });
    let objects = (0..names.len()).map(
        |index| json!({"id": index + 1, "image_id": index, "category_id": 1, "bbox": [1, 2, 8, 6]}),
    );
    json!({
        "images": images.collect::<Vec<_>>(),
        "annotations": objects.collect::<Vec<_>>(),
        "categories": [{"id": 1, "name": "a"}],
    })
    .to_string()
}

#[test]
fn sizes_and_pixels_are_upright() {
    let dir = TempDir::new().unwrap();
    let names = write_images(dir.path());
    for size in [Some((24, 16)), None] {
        write(&dir.path().join("gt.json"), coco(&names, |_| size));
        let dataset = DetectionDataset::coco(dir.path(), dir.path().join("gt.json")).unwrap();
        assert!(dataset.report().is_clean(), "{}", dataset.report());
        let [remark] = dataset.report().remarks() else {
            panic!("one remark")
        };
        let start = "images with an EXIF orientation, rotated upright: 7 (2.jpg, 3.jpg, ";
        assert!(remark.starts_with(start), "{remark}");
        for (index, record) in dataset.images().iter().enumerate() {
            assert_eq!((record.width, record.height), (24, 16));
            assert_eq!(record.objects[0].bbox, BoundingBox::new(1.0, 2.0, 9.0, 8.0));
            assert_near(
                &dataset.image(index).unwrap(),
                &upright(),
                &record.file_name,
            );
        }
    }
}

#[test]
fn stored_pixels_are_used_if_only_they_have_the_annotated_size() {
    let dir = TempDir::new().unwrap();
    let names = write_images(dir.path());
    let size = |index| Some(if index < 4 { (24, 16) } else { (16, 24) });
    write(&dir.path().join("gt.json"), coco(&names, size));
    let dataset = DetectionDataset::coco(dir.path(), dir.path().join("gt.json")).unwrap();
    assert!(dataset.report().is_clean());
    let remarks = dataset.report().remarks().join("\n");
    assert!(
        remarks.contains("stored pixels: 4 (5.jpg, 6.jpg, 7.jpg, 8.jpg)"),
        "{remarks}"
    );
    for index in 4..8 {
        let expected = stored(&upright(), index as u16 + 1);
        let image = dataset.image(index).unwrap();
        assert_eq!(image.dimensions(), expected.dimensions());
        let pixel = |image: &RgbImage| image.get_pixel(3, 3).0;
        let near = pixel(&image)
            .iter()
            .zip(pixel(&expected))
            .all(|(a, b)| a.abs_diff(b) < 60);
        assert!(near, "{index}");
    }
    // A size that matches neither is an error.
    write(
        &dir.path().join("gt.json"),
        coco(&names, |_| Some((20, 20))),
    );
    let refused = DetectionDataset::coco(dir.path(), dir.path().join("gt.json"));
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("is 24x16 pixels but was annotated as 20x20"),
        "{error}"
    );
}

#[test]
fn voc_and_yolo_boxes_refer_to_the_upright_picture() {
    let dir = TempDir::new().unwrap();
    let names = write_images(&dir.path().join("voc"));
    write_images(&dir.path().join("yolo"));
    for name in &names {
        let stem = name.trim_end_matches(".jpg");
        let xml = format!(
            "<annotation><filename>{name}</filename><size><width>24</width><height>16</height></size><object>\
             <name>a</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>8</ymax></bndbox></object></annotation>"
        );
        write(&dir.path().join(format!("voc/{stem}.xml")), xml);
        // Center 5, 5 and size 8 x 6 of 24 x 16 pixels.
        let label = format!("0 {} 0.3125 {} 0.375\n", 5.0 / 24.0, 8.0 / 24.0);
        write(&dir.path().join(format!("yolo/{stem}.txt")), label);
    }
    write(&dir.path().join("yolo/classes.txt"), "a\n");
    for folder in ["voc", "yolo"] {
        let folder = DataFolder::open(dir.path().join(folder)).unwrap();
        let dataset = folder.read("all").unwrap();
        assert_eq!(dataset.len(), 8);
        assert!(dataset.report().is_clean(), "{}", dataset.report());
        let remarks = dataset.report().remarks().join("\n");
        assert!(remarks.contains("rotated upright: 7 ("), "{remarks}");
        for (index, record) in dataset.images().iter().enumerate() {
            let found = record.objects[0].bbox.to_xyxy();
            let near = found
                .iter()
                .zip([1.0, 2.0, 9.0, 8.0])
                .all(|(a, b)| (a - b).abs() < 1e-3);
            assert!(near, "{found:?}");
            assert_near(
                &dataset.image(index).unwrap(),
                &upright(),
                &record.file_name,
            );
        }
    }
}

/// A header may be longer than the prefix that is read first, also in a truncated file.
#[test]
fn long_headers_are_read() {
    let dir = TempDir::new().unwrap();
    let plain = encoded(&stored(&upright(), 6), 6, ImageFormat::Jpeg);
    // Comments between SOI and the metadata.
    let comment = |length: usize| {
        let mut bytes = vec![0xff, 0xfe];
        bytes.extend(u16::try_from(length + 2).unwrap().to_be_bytes());
        bytes.extend(vec![7; length]);
        bytes
    };
    for comments in [1, 9] {
        let long = [&plain[..2], &comment(60_000).repeat(comments), &plain[2..]].concat();
        write(&dir.path().join("a.jpg"), long);
        write(
            &dir.path().join("gt.json"),
            coco(&["a.jpg".to_string()], |_| None),
        );
        let dataset = DetectionDataset::coco(dir.path(), dir.path().join("gt.json")).unwrap();
        assert_eq!(
            (dataset.images()[0].width, dataset.images()[0].height),
            (24, 16)
        );
        assert_near(&dataset.image(0).unwrap(), &upright(), "long");
    }
}

/// Phones write HEIF files, and people rename them.
#[test]
fn images_in_unsupported_formats_are_named() {
    let dir = TempDir::new().unwrap();
    let png = {
        let mut bytes = Vec::new();
        upright()
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        bytes
    };
    write(
        &dir.path().join("a.jpg"),
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    );
    write(
        &dir.path().join("b.avif"),
        b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    );
    write(&dir.path().join("c.jpg"), png);
    let names = ["a.jpg", "b.avif", "c.jpg"].map(String::from);
    write(
        &dir.path().join("gt.json"),
        coco(&names, |_| Some((24, 16))),
    );
    let dataset = DetectionDataset::coco(dir.path(), dir.path().join("gt.json")).unwrap();
    assert_eq!(dataset.len(), 1);
    let [heif, avif] = &dataset.report().tally(Finding::UnreadableImage).examples[..] else {
        panic!("two images")
    };
    assert!(
        heif.starts_with("a.jpg ") && heif.contains("HEIF"),
        "{heif}"
    );
    assert!(
        avif.starts_with("b.avif ") && avif.contains("AVIF"),
        "{avif}"
    );
}

#[test]
#[ignore = "measures"]
fn headers_a_second() {
    let Some(root) = std::env::var_os("FCOS_DATASETS") else {
        eprintln!("skipped: FCOS_DATASETS is not set");
        return;
    };
    let dir = Path::new(&root).join("bccd");
    for _ in 0..3 {
        let started = std::time::Instant::now();
        let dataset = DetectionDataset::open(&dir, Some("trainval")).unwrap();
        let seconds = started.elapsed().as_secs_f64();
        eprintln!(
            "{} images in {seconds:.4} s: {:.0} a second",
            dataset.len(),
            dataset.len() as f64 / seconds
        );
    }
}
