//! Image files of every kind through every reader: readable files give their pixels, others an error that names the
//! file.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeSet;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use fcos_burn_data::transforms::{Interpolation, Resize};
use fcos_burn_data::{DataError, DetectionDataset, Finding, SampleReader, image_files, read_image};
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, Frame, ImageFormat, Luma, Rgb, RgbImage, Rgba};
use tempfile::TempDir;

const LEFT: [u8; 3] = [200, 60, 30];
const RIGHT: [u8; 3] = [20, 160, 90];

/// 20×10 pixels, with different colors in the left and the right half.
fn picture() -> RgbImage {
    RgbImage::from_fn(20, 10, |x, _| Rgb(if x < 10 { LEFT } else { RIGHT }))
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut target = Cursor::new(&mut bytes);
    image.into().write_to(&mut target, format).unwrap();
    bytes
}

/// A file written by `images/generate.py` with Pillow.
fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new("tests/images").join(name)).unwrap()
}

/// Name and content of a file, and the colors of its left and right halves.
type Readable = (&'static str, Vec<u8>, [[u8; 3]; 2]);

fn readable() -> Vec<Readable> {
    let colors = [LEFT, RIGHT];
    let png = |image: DynamicImage| encoded(image, ImageFormat::Png);
    let rgb = DynamicImage::from(picture());
    let translucent = image::RgbaImage::from_fn(20, 10, |x, y| {
        let [r, g, b] = picture().get_pixel(x, y).0;
        Rgba([r, g, b, 128])
    });
    let gray = image::GrayImage::from_fn(20, 10, |x, _| Luma([if x < 10 { 40 } else { 220 }]));
    let mut animation = Vec::new();
    let mut encoder = GifEncoder::new(&mut animation);
    for image in [picture(), RgbImage::new(20, 10)] {
        encoder
            .encode_frame(Frame::new(DynamicImage::from(image).into_rgba8()))
            .unwrap();
    }
    drop(encoder);
    vec![
        ("plain.png", png(rgb.clone()), colors),
        ("a png.jpg", png(rgb.clone()), colors),
        ("палитра.png", fixture("palette.png"), colors),
        ("cmyk.jpg", fixture("cmyk.jpg"), colors),
        ("gray.png", png(gray.into()), [[40; 3], [220; 3]]),
        ("sixteen.png", png(rgb.to_rgb16().into()), colors),
        ("alpha.png", png(translucent.into()), colors),
        ("animated.gif", animation, colors),
        (
            "lossless.webp",
            encoded(rgb.clone(), ImageFormat::WebP),
            colors,
        ),
        (
            "tagged.tif",
            encoded(rgb.clone(), ImageFormat::Tiff),
            colors,
        ),
        ("old.bmp", encoded(rgb, ImageFormat::Bmp), colors),
    ]
}

/// Name and content of a file, and part of the error message.
type Unreadable = (&'static str, Vec<u8>, &'static str);

fn unreadable() -> Vec<Unreadable> {
    let half = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let jpeg = encoded(picture(), ImageFormat::Jpeg);
    let truncated = jpeg[..jpeg.len() - 20].to_vec();
    vec![
        ("empty.png", Vec::new(), "format"),
        ("text.jpg", b"this is text".to_vec(), "format"),
        ("half.png", half(encoded(picture(), ImageFormat::Png)), ""),
        ("half.jpg", half(jpeg), ""),
        ("truncated.jpg", truncated, "the file is truncated"),
        ("half.gif", half(encoded(picture(), ImageFormat::Gif)), ""),
        ("bomb.png", fixture("bomb.png"), "imit"),
    ]
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A data set of `images` in each layout, each image with one object.
fn in_every_layout(images: &[(&str, &[u8])]) -> Vec<(&'static str, TempDir)> {
    let [coco, voc, yolo] = [(); 3].map(|()| TempDir::new().unwrap());
    let (mut listed, mut annotated) = (Vec::new(), Vec::new());
    for (id, (name, bytes)) in (1..).zip(images) {
        write(&coco.path().join(name), bytes);
        listed.push(serde_json::json!({"id": id, "file_name": name, "width": 20, "height": 10}));
        annotated.push(serde_json::json!(
            {"id": id, "image_id": id, "category_id": 1, "bbox": [1, 1, 5, 5]}
        ));
        // Names must differ without their extensions.
        let stem = name.replace('.', "-");
        let extension = Path::new(name).extension().unwrap().to_str().unwrap();
        let file = format!("{stem}.{extension}");
        write(&voc.path().join("JPEGImages").join(&file), bytes);
        let xml = format!(
            "<annotation><filename>{file}</filename><size><width>20</width><height>10</height></size>\
             <object><name>thing</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></object>\
             </annotation>"
        );
        write(
            &voc.path().join(format!("Annotations/{stem}.xml")),
            xml.as_bytes(),
        );
        write(&yolo.path().join("images/train").join(&file), bytes);
        let label = b"0 0.2 0.4 0.2 0.4\n";
        write(&yolo.path().join(format!("labels/train/{stem}.txt")), label);
    }
    let json = serde_json::json!(
        {"images": listed, "annotations": annotated, "categories": [{"id": 1, "name": "thing"}]}
    );
    write(
        &coco.path().join("annotations.json"),
        json.to_string().as_bytes(),
    );
    write(&yolo.path().join("classes.txt"), b"thing\n");
    vec![("COCO", coco), ("VOC", voc), ("YOLO", yolo)]
}

fn near(found: [u8; 3], expected: [u8; 3]) -> bool {
    found
        .into_iter()
        .zip(expected)
        .all(|(a, b)| a.abs_diff(b) <= 4)
}

#[test]
fn readable_images_of_every_kind_give_their_pixels() {
    let images = readable();
    let files: Vec<(&str, &[u8])> = images
        .iter()
        .map(|(name, bytes, _)| (*name, &bytes[..]))
        .collect();
    for (layout, dir) in in_every_layout(&files) {
        let dataset = DetectionDataset::open(dir.path(), None).unwrap();
        assert_eq!(dataset.len(), images.len(), "{layout}");
        assert!(
            dataset.report().is_clean(),
            "{layout}: {}",
            dataset.report()
        );
        assert!(dataset.unreadable_images(|_| {}).is_empty(), "{layout}");
        for (index, record) in dataset.images().iter().enumerate() {
            assert_eq!(record.objects.len(), 1, "{layout}: {}", record.file_name);
            let (name, _, [left, right]) = images
                .iter()
                .find(|(name, ..)| {
                    let stem = name.replace('.', "-");
                    record.file_name == *name || record.file_name.contains(&stem)
                })
                .unwrap();
            let pixels = dataset.image(index).unwrap();
            assert_eq!(pixels.dimensions(), (20, 10));
            let [l, r] = [4, 15].map(|x| pixels.get_pixel(x, 5).0);
            assert!(
                near(l, *left) && near(r, *right),
                "{layout}: {name}: {l:?} {r:?}"
            );
        }
    }
}

#[test]
fn image_files_of_a_folder_are_sorted_by_name() {
    let dir = TempDir::new().unwrap();
    for name in ["b.PNG", "a.jpeg", "notes.txt", "c", ".gif"] {
        write(&dir.path().join(name), b"");
    }
    fs::create_dir(dir.path().join("folder.png")).unwrap();
    let files = image_files(dir.path()).unwrap();
    let names: Vec<_> = files.iter().map(|path| path.file_name().unwrap()).collect();
    assert_eq!(names, ["a.jpeg", "b.PNG"]);
    let missing = image_files(dir.path().join("absent")).unwrap_err();
    assert!(missing.to_string().ends_with("absent: no such folder"));
}

#[test]
fn errors_name_the_unreadable_image() {
    for (name, bytes, part) in unreadable() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join(name);
        write(&path, &bytes);
        let error = read_image(&path).unwrap_err().to_string();
        assert!(error.starts_with(path.to_str().unwrap()), "{error}");
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    }
    #[cfg(unix)]
    {
        let dir = TempDir::new().unwrap();
        let pipe = dir.path().join("pipe.jpg");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let error = read_image(&pipe).unwrap_err().to_string();
        assert!(error.ends_with("not a regular file"), "{error}");
    }
    let missing = read_image(Path::new("no/such.png"))
        .unwrap_err()
        .to_string();
    assert!(missing.starts_with("no/such.png: "), "{missing}");
}

#[test]
fn unreadable_images_are_found_in_every_layout() {
    let (good, bad) = (readable(), unreadable());
    let good = good.iter().map(|(name, bytes, _)| (*name, &bytes[..]));
    let bad_files = bad.iter().map(|(name, bytes, _)| (*name, &bytes[..]));
    let files: Vec<(&str, &[u8])> = good.chain(bad_files).collect();
    for (layout, dir) in in_every_layout(&files) {
        let dataset = DetectionDataset::open(dir.path(), None).unwrap();
        let checked = std::sync::atomic::AtomicUsize::new(0);
        let found = dataset.unreadable_images(|_| {
            checked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        });
        assert_eq!(checked.into_inner(), dataset.len());
        // Images without a valid header are found when the data set is opened.
        let findings = [Finding::UnreadableImage, Finding::SizeMismatch];
        let dropped = findings.map(|finding| dataset.report().tally(finding));
        let count: usize = dropped.iter().map(|tally| tally.count).sum();
        assert_eq!(found.len() + count, bad.len(), "{layout}: {found:?}");
        let messages: Vec<String> = found.iter().map(|(_, cause)| cause.to_string()).collect();
        for (name, ..) in &bad {
            let stem = name.replace('.', "-");
            let names_it = |text: &&String| text.contains(name) || text.contains(&stem);
            let of_it = messages
                .iter()
                .chain(dropped.iter().flat_map(|tally| &tally.examples))
                .filter(names_it)
                .count();
            assert_eq!(of_it, 1, "{layout}: {name} in {messages:?} and {dropped:?}");
        }
    }
}

/// 40 image files. The first `unreadable` files are truncated after the header.
fn forty_images(unreadable: usize) -> (TempDir, DetectionDataset) {
    let png = encoded(picture(), ImageFormat::Png);
    let half = &png[..png.len() / 2];
    let names: Vec<String> = (0..40).map(|index| format!("{index:02}.png")).collect();
    let content = |index| {
        if index < unreadable { half } else { &png }
    };
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .enumerate()
        .map(|(index, name)| (name.as_str(), content(index)))
        .collect();
    let (_, dir) = in_every_layout(&files).swap_remove(0);
    let dataset = DetectionDataset::open(dir.path(), None).unwrap();
    (dir, dataset)
}

#[test]
fn a_few_unreadable_images_are_replaced_and_counted() {
    let (dir, dataset) = forty_images(2);
    let reader = SampleReader::new(3);
    let read = |reader: &SampleReader, epoch| -> Vec<usize> {
        let sample = |index| reader.sample(&dataset, epoch, index).unwrap().0;
        (0..40).map(sample).collect()
    };
    let first = read(&reader, 1);
    assert!(first[..2].iter().all(|index| *index >= 2), "{first:?}");
    assert_eq!(first[2..], (2..40).collect::<Vec<_>>());
    // Replacements differ between epochs and are the same for the same seed.
    let replacements: BTreeSet<usize> = (1..10).map(|epoch| read(&reader, epoch)[0]).collect();
    assert!(replacements.len() > 1);
    assert_eq!(read(&SampleReader::new(3), 1), first);
    let unreadable = reader.unreadable();
    assert_eq!(unreadable.len(), 2);
    assert!(unreadable[1].starts_with(dir.path().join("01.png").to_str().unwrap()));
}

#[test]
fn a_resized_image_is_decoded_once_while_there_is_memory() {
    let (dir, dataset) = forty_images(0);
    let size = Resize::Fixed {
        width: 8,
        height: 6,
    };
    let read = |reader: &SampleReader, index| {
        reader.resized(&dataset, 1, index, size, Interpolation::Antialiased)
    };
    let (none, some) = (SampleReader::new(3), SampleReader::new(3).with_memory(4096));
    let first: Vec<_> = (0..40).map(|index| read(&none, index).unwrap()).collect();
    assert_eq!(first[0].1.image().dimensions(), (8, 6));
    for (index, found) in first.iter().enumerate() {
        assert_eq!(read(&some, index).unwrap(), *found);
    }
    dir.close().unwrap();
    assert!(read(&none, 0).is_err());
    // Clones share the memory.
    assert_eq!(read(&some.clone(), 0).unwrap(), first[0]);
    // There was no room for all: some are read again, in vain.
    assert!(some.unreadable().is_empty());
    for index in 0..40 {
        let _ = read(&some, index);
    }
    assert!(!some.unreadable().is_empty());
}

#[test]
fn many_unreadable_images_are_an_error() {
    let (_dir, dataset) = forty_images(3);
    let reader = SampleReader::new(3);
    let errors: Vec<DataError> = (0..40)
        .filter_map(|index| reader.sample(&dataset, 1, index).err())
        .collect();
    let message = errors.first().unwrap().to_string();
    let start = "3 of 40 images cannot be read, more than 5%: ";
    assert!(message.starts_with(start), "{message}");
    assert!(message.contains(".png: "), "{message}");
    assert!(matches!(
        reader.sample(&dataset, 1, 40),
        Err(DataError::IndexOutOfRange { index: 40, len: 40 })
    ));
}
