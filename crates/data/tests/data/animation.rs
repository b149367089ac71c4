//! Animated GIF, WebP and PNG files by frame, and still pictures as a single frame.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fcos_burn_data::{Animation, AnimationFrame, DataError, read_image};
use image::codecs::gif::GifEncoder;
use image::codecs::webp::WebPEncoder;
use image::imageops;
use image::{Frame, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use tempfile::TempDir;

/// Large enough for the frames of every test.
const MANY: usize = 1000;

fn read(path: &Path) -> Vec<Result<AnimationFrame, DataError>> {
    let frames: Vec<_> = Animation::open(path).unwrap().take(MANY).collect();
    assert!(frames.len() < MANY);
    frames
}

fn read_whole(path: &Path) -> Vec<AnimationFrame> {
    read(path).into_iter().map(Result::unwrap).collect()
}

/// A file written by `images/generate.py` with Pillow.
fn fixture(name: &str) -> PathBuf {
    Path::new("tests/images").join(name)
}

/// What `images/generate.py` draws: a square that moves over two colors.
fn drawn(frame: u32) -> RgbImage {
    RgbImage::from_fn(20, 10, |x, y| {
        let square = (6 * frame..6 * frame + 4).contains(&x) && (2..6).contains(&y);
        Rgb(match (square, x < 10) {
            (true, _) => [250, 250, 10],
            (false, true) => [200, 60, 30],
            (false, false) => [20, 160, 90],
        })
    })
}

/// Whether all values are the same or, where the decoder blends colors with weights of 0 or 1, almost the same.
fn near(found: &RgbImage, expected: &RgbImage) -> bool {
    let mut pairs = found.as_raw().iter().zip(expected.as_raw());
    found.dimensions() == expected.dimensions() && pairs.all(|(a, b)| a.abs_diff(*b) <= 1)
}

#[test]
fn animations_give_whole_frames_and_delays() {
    let folder = TempDir::new().unwrap();
    for name in ["animated.gif", "animated.webp", "animated.png"] {
        // The extension does not matter.
        let path = folder.path().join(format!("{name}.jpg"));
        fs::copy(fixture(name), &path).unwrap();
        assert!(Animation::open(&path).unwrap().is_animated());
        let frames = read_whole(&path);
        assert_eq!(frames.len(), 3, "{name}");
        for ((frame, delay), index) in frames.iter().zip([40, 80, 120]).zip(0..) {
            assert!(near(&frame.image, &drawn(index)), "{name}: frame {index}");
            assert_eq!(frame.delay, Duration::from_millis(delay), "{name}");
        }
        assert!(frames[0].image == read_image(&path).unwrap(), "{name}");
    }
}

#[test]
fn every_frame_is_upright() {
    let path = fixture("animated-rotated.webp");
    let frames = read_whole(&path);
    for (frame, index) in frames.iter().zip(0..) {
        let upright = imageops::rotate90(&drawn(index));
        assert!(near(&frame.image, &upright), "frame {index}");
    }
    assert_eq!(frames.len(), 3);
    assert!(frames[0].image == read_image(&path).unwrap());
}

fn gif(frame: RgbaImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    GifEncoder::new(&mut bytes)
        .encode_frame(Frame::new(frame))
        .unwrap();
    bytes
}

#[test]
fn still_pictures_are_one_frame_that_equals_the_image() {
    let folder = TempDir::new().unwrap();
    let mut paths = vec![
        fixture("cmyk.jpg"),
        fixture("exif-rotated.jpg"),
        fixture("palette.png"),
    ];
    let mut add = |name: &str, bytes: Vec<u8>| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        paths.push(path);
    };
    for format in [ImageFormat::WebP, ImageFormat::Tiff, ImageFormat::Bmp] {
        let mut bytes = Vec::new();
        drawn(1)
            .write_to(&mut Cursor::new(&mut bytes), format)
            .unwrap();
        add(format.extensions_str()[0], bytes);
    }
    // Transparent pixels have a color in the file.
    let transparent = RgbaImage::from_fn(6, 4, |x, _| {
        Rgba([200, 60, 30, if x < 3 { 0 } else { 255 }])
    });
    add("transparent.gif", gif(transparent));
    // EXIF with one entry: orientation 6.
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06".to_vec();
    exif.extend([0; 6]);
    let mut rotated = Vec::new();
    let mut encoder = WebPEncoder::new_lossless(&mut rotated);
    encoder.set_exif_metadata(exif).unwrap();
    let color = image::ExtendedColorType::Rgb8;
    encoder.write_image(&drawn(0), 20, 10, color).unwrap();
    add("rotated.webp", rotated);
    for path in paths {
        assert!(!Animation::open(&path).unwrap().is_animated());
        let frames = read_whole(&path);
        let expected = read_image(&path).unwrap();
        assert_eq!(frames.len(), 1, "{}", path.display());
        assert_eq!(frames[0].image, expected, "{}", path.display());
        assert_eq!(frames[0].delay, Duration::ZERO);
    }
}

#[test]
fn errors_name_the_file_and_the_frame_and_end_the_iteration() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("broken.gif");
    // Frames are read only when asked for: the damaged end does not matter before.
    let mut bytes = fs::read(fixture("animated.gif")).unwrap();
    bytes.truncate(bytes.len() - 8);
    fs::write(&path, bytes).unwrap();
    let mut animation = Animation::open(&path).unwrap();
    assert_eq!(animation.next().unwrap().unwrap().image, drawn(0));
    assert_eq!(animation.next().unwrap().unwrap().image, drawn(1));
    let error = animation.next().unwrap().unwrap_err();
    let start = format!("{}: frame 3: ", path.display());
    assert!(error.to_string().starts_with(&start), "{error}");
    assert!(animation.next().is_none());

    fs::write(&path, b"this is text").unwrap();
    let error = Animation::open(&path).unwrap().next().unwrap().unwrap_err();
    assert!(matches!(error, DataError::Image { .. }), "{error:?}");
    let missing = Animation::open(folder.path().join("missing.gif"));
    assert!(matches!(missing.err(), Some(DataError::Io { .. })));
}

#[test]
fn a_still_gif_without_its_end_is_still() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("still.gif");
    let mut bytes = gif(RgbaImage::from_pixel(9, 7, [200, 10, 30, 255].into()));
    assert_eq!(bytes.pop(), Some(0x3b));
    fs::write(&path, bytes).unwrap();
    let mut animation = Animation::open(&path).unwrap();
    assert!(!animation.is_animated());
    assert_eq!(
        animation.next().unwrap().unwrap().image,
        read_image(&path).unwrap()
    );
    assert!(animation.next().is_none());
}

#[test]
fn large_canvases_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("large.gif");
    let mut bytes = fs::read(fixture("animated.gif")).unwrap();
    // Width and height of the canvas.
    bytes[6..10].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let error = Animation::open(&path).err().unwrap().to_string();
    assert!(error.contains("imit"), "{error}");
    // A canvas of 2^24 by 2^6 pixels, in the header of an extended WebP file.
    let path = folder.path().join("large.webp");
    let mut bytes = fs::read(fixture("animated.webp")).unwrap();
    assert_eq!(&bytes[12..16], b"VP8X");
    bytes[24..30].copy_from_slice(&[0xff, 0xff, 0xff, 0x3f, 0, 0]);
    fs::write(&path, bytes).unwrap();
    let error = Animation::open(&path).err().unwrap().to_string();
    assert!(error.contains("imit"), "{error}");
}

#[test]
fn damaged_animations_give_frames_or_errors_in_little_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("damaged");
    let started = Instant::now();
    let (mut all, mut refused) = (0, 0);
    for name in ["animated.gif", "animated.webp", "animated.png"] {
        let whole = fs::read(fixture(name)).unwrap();
        let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
        let changed = (0..whole.len()).flat_map(|at| {
            [0x00, 0xff].map(|value| {
                let mut bytes = whole.clone();
                bytes[at] = value;
                bytes
            })
        });
        for bytes in cut.chain(changed) {
            fs::write(&path, bytes).unwrap();
            all += 1;
            match Animation::open(&path) {
                Ok(frames) => {
                    let last = frames.take(MANY).last();
                    refused += usize::from(last.is_some_and(|frame| frame.is_err()));
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > all / 4, "{refused} of {all}");
    assert!(started.elapsed() < Duration::from_secs(60));
}
