//! YUV4MPEG2 streams: colors against published values and textbook formulas, and malformed streams.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, Read, Write};

use fcos_burn_data::DataError;
use fcos_burn_data::video::{FrameRate, VideoFormat, Y4mReader, Y4mWriter};
use image::{Rgb, RgbImage};

/// A stream of one frame with these samples, each `bytes` bytes.
fn stream(header: &str, bytes: usize, samples: &[u16]) -> Vec<u8> {
    let mut stream = format!("YUV4MPEG2 {header}\nFRAME\n").into_bytes();
    for sample in samples {
        stream.extend(&sample.to_le_bytes()[..bytes]);
    }
    stream
}

fn read_one(stream: &[u8]) -> RgbImage {
    let mut reader = Y4mReader::new(stream, "test").unwrap();
    let image = reader.next().unwrap().unwrap();
    assert!(reader.next().is_none());
    image
}

fn largest_difference(found: &RgbImage, expected: &RgbImage) -> u8 {
    assert_eq!(found.dimensions(), expected.dimensions());
    let pairs = found.as_raw().iter().zip(expected.as_raw());
    pairs.map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

#[test]
fn primary_colors_have_the_published_luma_and_chroma() {
    let bt601 = [
        (RED, [81, 90, 240]),
        (GREEN, [145, 54, 34]),
        (BLUE, [41, 240, 110]),
        (WHITE, [235, 128, 128]),
        (BLACK, [16, 128, 128]),
    ];
    let bt709 = [
        (RED, [63, 102, 240]),
        (GREEN, [173, 42, 26]),
        (BLUE, [32, 240, 118]),
        (WHITE, [235, 128, 128]),
        (BLACK, [16, 128, 128]),
    ];
    // JPEG.
    let full = [
        (RED, [76, 85, 255]),
        (GREEN, [150, 44, 21]),
        (BLUE, [29, 255, 107]),
        (WHITE, [255, 128, 128]),
        (BLACK, [0, 128, 128]),
    ];
    let bt709_10_bits = [
        (RED, [250, 409, 960]),
        (GREEN, [691, 167, 105]),
        (BLUE, [127, 960, 471]),
        (WHITE, [940, 512, 512]),
        (BLACK, [64, 512, 512]),
    ];
    let cases = [
        ("W1 H576 F25:1 C444", 576, 1, bt601, 2),
        ("W1 H1 F25:1 C444 XCOLORRANGE=LIMITED", 1, 1, bt601, 2),
        ("W1 H577 F25:1 C444", 577, 1, bt709, 2),
        ("W1280 H1 F25:1 C444", 1280, 1, bt709, 2),
        ("W1 H1 F25:1 C444 XCOLORRANGE=FULL", 1, 1, full, 2),
        ("W1 H720 F25:1 C444p10", 720, 2, bt709_10_bits, 1),
    ];
    for (header, pixels, bytes, colors, tolerance) in cases {
        for (color, planes) in colors {
            let samples: Vec<u16> = planes.iter().flat_map(|s| vec![*s; pixels]).collect();
            let image = read_one(&stream(header, bytes, &samples));
            let expected = RgbImage::from_pixel(image.width(), image.height(), Rgb(color));
            let difference = largest_difference(&image, &expected);
            assert!(
                difference <= tolerance,
                "{header}: {color:?}: {:?}",
                image.get_pixel(0, 0)
            );
        }
    }
}

#[test]
fn gray_ramps_are_exact_and_within_one_level_if_the_stream_has_fewer_levels() {
    for (header, bytes, levels, black) in [
        ("Cmono", 1, 219.0, 16.0),
        ("Cmono XCOLORRANGE=FULL", 1, 255.0, 0.0),
        ("Cmono12", 2, 219.0 * 16.0, 256.0),
        ("Cmono12 XCOLORRANGE=FULL", 2, 4095.0, 0.0),
    ] {
        let samples = (0..256).map(|gray| (f64::from(gray) / 255.0 * levels + black).round());
        let samples: Vec<u16> = samples.map(|sample| sample as u16).collect();
        let image = read_one(&stream(&format!("W256 H1 F25:1 {header}"), bytes, &samples));
        let ramp = RgbImage::from_fn(256, 1, |x, _| Rgb([x as u8; 3]));
        let tolerance = u8::from(levels < 255.0);
        assert!(largest_difference(&image, &ramp) <= tolerance, "{header}");
    }
}

#[test]
fn values_outside_the_range_are_clipped() {
    let image = read_one(&stream("W2 H1 F25:1 Cmono", 1, &[0, 255]));
    assert_eq!(image.into_raw(), [0, 0, 0, 255, 255, 255]);
    // 16 bits where 10 are expected.
    let image = read_one(&stream(
        "W1 H1 F25:1 C444p10",
        2,
        &[u16::MAX, u16::MAX, 512],
    ));
    assert_eq!(image.get_pixel(0, 0)[2], 255);
}

/// The conversion as BT.601 and BT.709 state it, for one pixel, with 64-bit numbers.
fn textbook([luma, cb, cr]: [u16; 3], depth: i32, full: bool, [kr, kb]: [f64; 2]) -> [u8; 3] {
    let unit = 2_f64.powi(depth - 8);
    let top = 2_f64.powi(depth) - 1.0;
    let (y, pb, pr) = match full {
        true => (
            f64::from(luma) / top,
            (f64::from(cb) - 128.0 * unit) / top,
            (f64::from(cr) - 128.0 * unit) / top,
        ),
        false => (
            (f64::from(luma) / unit - 16.0) / 219.0,
            (f64::from(cb) / unit - 128.0) / 224.0,
            (f64::from(cr) / unit - 128.0) / 224.0,
        ),
    };
    let red = y + 2.0 * (1.0 - kr) * pr;
    let blue = y + 2.0 * (1.0 - kb) * pb;
    let green = (y - kr * red - kb * blue) / (1.0 - kr - kb);
    [red, green, blue].map(|value| (value * 255.0).round().clamp(0.0, 255.0) as u8)
}

#[test]
fn every_kind_of_color_and_odd_size_agrees_with_the_textbook() {
    let spaces = [
        ("C420", 2, 2, 8),
        ("C420jpeg", 2, 2, 8),
        ("C420mpeg2", 2, 2, 8),
        ("C420paldv", 2, 2, 8),
        ("", 2, 2, 8),
        ("C422", 2, 1, 8),
        ("C444", 1, 1, 8),
        ("C420p10", 2, 2, 10),
        ("C422p10", 2, 1, 10),
        ("C444p10", 1, 1, 10),
        ("C420p12", 2, 2, 12),
        ("C422p12", 2, 1, 12),
        ("C444p12", 1, 1, 12),
    ];
    let sizes: [(usize, usize); 7] = [(1, 1), (2, 2), (5, 3), (7, 8), (16, 9), (1281, 3), (3, 601)];
    for (space, across, down, depth) in spaces {
        for (width, height) in sizes {
            for full in [false, true] {
                let (columns, rows) = (width.div_ceil(across), height.div_ceil(down));
                let count = width * height + 2 * columns * rows;
                // Any values.
                let values = (0..count).map(|index| (index * 2_654_435_761) >> 7);
                let samples: Vec<u16> = values.map(|value| (value % (1 << depth)) as u16).collect();
                let range = if full { "XCOLORRANGE=FULL" } else { "" };
                let header = format!("W{width} H{height} F25:1 {space} {range}");
                let bytes = if depth > 8 { 2 } else { 1 };
                let image = read_one(&stream(&header, bytes, &samples));
                let weights = match width >= 1280 || height > 576 {
                    true => [0.2126, 0.0722],
                    false => [0.299, 0.114],
                };
                let expected = RgbImage::from_fn(width as u32, height as u32, |x, y| {
                    let (x, y) = (x as usize, y as usize);
                    let chroma = width * height + y / down * columns + x / across;
                    let cr = chroma + columns * rows;
                    let pixel = [samples[y * width + x], samples[chroma], samples[cr]];
                    Rgb(textbook(pixel, depth, full, weights))
                });
                // Numbers that are halves up to rounding may go either way.
                assert!(largest_difference(&image, &expected) <= 1, "{header}");
            }
        }
    }
}

/// Smooth, with every color but no sharp edge.
fn smooth(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (
            x as f32 / width.max(2) as f32,
            y as f32 / height.max(2) as f32,
        );
        Rgb([x, y, 1.0 - (x + y) / 2.0].map(|value| (255.0 * value) as u8))
    })
}

#[test]
fn smooth_pictures_of_any_size_return_almost_unchanged() {
    for (width, height) in [
        (320, 240),
        (321, 241),
        (1281, 721),
        (255, 1),
        (1, 255),
        (1, 1),
    ] {
        let picture = smooth(width, height);
        let format = VideoFormat::new(width, height, FrameRate::default());
        let mut bytes = Vec::new();
        let mut writer = Y4mWriter::new(&mut bytes, "test", format).unwrap();
        writer.write(&picture).unwrap();
        let found = read_one(&bytes);
        let difference = largest_difference(&found, &picture);
        assert!(difference <= 4, "{width}x{height}: {difference}");
    }
}

#[test]
fn the_writer_writes_what_the_format_says() {
    let rate = FrameRate::new(30_000, 1001).unwrap();
    let format = VideoFormat::new(5, 3, rate).with_pixel_aspect(10, 11);
    let mut bytes = Vec::new();
    let mut writer = Y4mWriter::new(&mut bytes, "test", format).unwrap();
    for _ in 0..2 {
        writer.write(&RgbImage::from_pixel(5, 3, Rgb(RED))).unwrap();
    }
    let frame = [b"FRAME\n".as_slice(), &[81; 15], &[90; 6], &[240; 6]].concat();
    let header = b"YUV4MPEG2 W5 H3 F30000:1001 Ip A10:11 C420jpeg XCOLORRANGE=LIMITED\n";
    assert_eq!(bytes, [header.as_slice(), &frame, &frame].concat());
    let reader = Y4mReader::new(bytes.as_slice(), "test").unwrap();
    assert_eq!(reader.format(), format);
    assert!(!reader.is_interlaced());
}

#[test]
fn the_writer_refuses_frames_of_another_size() {
    let format = VideoFormat::new(8, 6, FrameRate::default());
    let mut writer = Y4mWriter::new(Vec::new(), "out.y4m", format).unwrap();
    writer.write(&RgbImage::new(8, 6)).unwrap();
    let error = writer.write(&RgbImage::new(6, 8)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "out.y4m: frame 2: 6x8 pixels in a video of 8x6"
    );
    let format = VideoFormat::new(0, 6, FrameRate::default());
    assert!(Y4mWriter::new(Vec::new(), "out.y4m", format).is_err());
}

/// A pipe whose reader ends after some bytes.
struct Pipe(usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.min(bytes.len()) {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            count => {
                self.0 -= count;
                Ok(count)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_broken_pipe_is_an_error_of_that_kind() {
    let format = VideoFormat::new(8, 6, FrameRate::default());
    let mut writer = Y4mWriter::new(Pipe(200), "standard output", format).unwrap();
    let error = (0..3).find_map(|_| writer.write(&RgbImage::new(8, 6)).err());
    let Some(DataError::Io { path, source }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(path.to_str(), Some("standard output"));
    assert!(Y4mWriter::new(Pipe(0), "standard output", format).is_err());
}

#[test]
fn headers_give_rate_aspect_and_interlacing() {
    let read = |fields: &str| {
        let stream = format!("YUV4MPEG2 W4 H2 {fields}\n");
        let reader = Y4mReader::new(stream.as_bytes(), "test").unwrap();
        (reader.format(), reader.is_interlaced())
    };
    let (format, interlaced) = read("F24000:1001 Ip A0:0 C420mpeg2 XYSCSS=420MPEG2");
    assert_eq!(format.frame_rate.ratio(), (24_000, 1001));
    assert_eq!(format.pixel_aspect, (0, 0));
    assert!(!interlaced);
    // ffmpeg assumes 25 frames per second, too.
    let (format, interlaced) = read("F0:0 It A59:54");
    assert_eq!(format.frame_rate, FrameRate::default());
    assert_eq!(format.pixel_aspect, (59, 54));
    assert!(interlaced);
    assert!(read("Ib").1 && read("Im").1);
    assert!(!read("I?").1);
}

/// Two frames of 5×3 pixels and 27 bytes, the first with parameters.
fn two_frames() -> Vec<u8> {
    let mut bytes = b"YUV4MPEG2 W5 H3 F25:1 C420jpeg\nFRAME Ixyz\n".to_vec();
    bytes.extend([100; 27]);
    bytes.extend(b"FRAME\n");
    bytes.extend([120; 27]);
    bytes
}

#[test]
fn truncated_streams_are_errors_that_name_the_frame() {
    let whole = two_frames();
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let first = header + "FRAME Ixyz\n".len() + 27;
    for length in 0..=whole.len() {
        let frames = match Y4mReader::new(&whole[..length], "in.y4m") {
            Ok(reader) => reader.collect::<Vec<_>>(),
            Err(error) => {
                assert!(length < header, "{length}: {error}");
                assert!(error.to_string().starts_with("in.y4m: "), "{error}");
                continue;
            }
        };
        let complete = usize::from(length >= first) + usize::from(length == whole.len());
        let (good, bad): (Vec<_>, Vec<_>) = frames.into_iter().partition(Result::is_ok);
        assert_eq!(good.len(), complete, "{length}");
        let errors: Vec<String> = bad
            .iter()
            .map(|f| f.as_ref().unwrap_err().to_string())
            .collect();
        let expected = format!(
            "in.y4m: frame {}: the stream ends inside the frame",
            complete + 1
        );
        match [header, first, whole.len()].contains(&length) {
            true => assert!(errors.is_empty(), "{length}"),
            false => assert_eq!(errors, [expected], "{length}"),
        }
    }
}

#[test]
fn malformed_headers_are_refused_with_the_cause() {
    let long = format!("YUV4MPEG2 W4 H4 F25:1 X{}\n", "a".repeat(2000));
    let huge = format!("YUV4MPEG2 W{0} H{0} F25:1 C420\n", usize::MAX);
    let cases: [(&[u8], &str); 25] = [
        (b"", "the stream is empty"),
        (b"\n", "not a YUV4MPEG2 stream"),
        (b"YUV4MPEG W4 H4 F25:1\n", "not a YUV4MPEG2 stream"),
        (&[0; 4000], "not a YUV4MPEG2 stream"),
        (b"\0\0\0\x20ftypisom\n", "not a YUV4MPEG2 stream"),
        (b"YUV4MPEG2 W4 H4", "truncated or too long"),
        (long.as_bytes(), "truncated or too long"),
        (b"YUV4MPEG2 \n", "malformed header"),
        (b"YUV4MPEG2 W4 F25:1\n", "malformed header"),
        (b"YUV4MPEG2 H4 F25:1\n", "malformed header"),
        (b"YUV4MPEG2 W0 H4 F25:1\n", "malformed header"),
        (b"YUV4MPEG2 W4 H0 F25:1\n", "malformed header"),
        (b"YUV4MPEG2 W-4 H4 F25:1\n", "malformed header"),
        (b"YUV4MPEG2 W4.5 H4 F25:1\n", "malformed header"),
        (b"YUV4MPEG2 W\xff H4 F25:1\n", "W\\xff H4"),
        (
            b"YUV4MPEG2 W99999999999999999999 H4 F25:1\n",
            "malformed header",
        ),
        (b"YUV4MPEG2 W4 H4 F25\n", "malformed header"),
        (b"YUV4MPEG2 W4 H4 F99999999999:1\n", "malformed header"),
        (b"YUV4MPEG2 W100000 H100000 F25:1\n", "512 MiB"),
        (b"YUV4MPEG2 W12000 H12000 F25:1 C444p12\n", "512 MiB"),
        (
            b"YUV4MPEG2 W4294967296 H4294967296 F25:1 Cmono\n",
            "512 MiB",
        ),
        (huge.as_bytes(), "512 MiB"),
        (
            b"YUV4MPEG2 W4 H4 F25:1 C411\n",
            "color '411' is not supported",
        ),
        (b"YUV4MPEG2 W4 H4 F25:1 C420p16\n", "color '420p16' is not"),
        (
            b"YUV4MPEG2 W4 H4 F25:1 C\x1b[2J\n",
            "color '\\x1b[2J' is not",
        ),
    ];
    for (bytes, cause) in cases {
        let Err(error) = Y4mReader::new(bytes, "standard input") else {
            panic!("{cause}: accepted");
        };
        assert!(matches!(error, DataError::Video { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.starts_with("standard input: "), "{message}");
        assert!(message.contains(cause), "{message}");
        assert!(message.len() < 400, "{message}");
    }
}

#[test]
fn malformed_headers_of_frames_end_the_stream_with_an_error() {
    let whole = two_frames();
    let second = whole.len() - 27 - 6;
    for header in [&b"frame\n"[..], b"FRAMES\n", b"\n", &[0; 2000]] {
        let mut bytes = whole[..second].to_vec();
        bytes.extend(header);
        bytes.extend([120; 2000]);
        let mut reader = Y4mReader::new(bytes.as_slice(), "in.y4m").unwrap();
        assert!(reader.next().unwrap().is_ok());
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert_eq!(error, "in.y4m: frame 2: malformed header of a frame");
        assert!(reader.next().is_none());
    }
}

/// Gives one byte at a time, with interruptions, and fails at the end if asked to.
struct Trickle<'a> {
    bytes: &'a [u8],
    interrupted: bool,
    failure: Option<io::ErrorKind>,
}

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        match (self.bytes, self.failure) {
            ([], Some(kind)) => Err(kind.into()),
            (bytes, _) => {
                let count = bytes.len().min(buffer.len()).min(1);
                buffer[..count].copy_from_slice(&bytes[..count]);
                self.bytes = &bytes[count..];
                Ok(count)
            }
        }
    }
}

#[test]
fn slow_and_interrupted_streams_are_read_whole_and_failures_are_kept() {
    let bytes = two_frames();
    let trickle = |bytes, failure| Trickle {
        bytes,
        interrupted: false,
        failure,
    };
    let reader = Y4mReader::new(trickle(&bytes, None), "test").unwrap();
    let frames: Vec<_> = reader.map(Result::unwrap).collect();
    let direct = Y4mReader::new(bytes.as_slice(), "test").unwrap();
    assert_eq!(frames, direct.map(Result::unwrap).collect::<Vec<_>>());

    let reset = Some(io::ErrorKind::ConnectionReset);
    let mut reader = Y4mReader::new(trickle(&bytes[..60], reset), "test").unwrap();
    let error = reader.next().unwrap().unwrap_err();
    let DataError::Frame { frame, source, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(frame, 1);
    let source = source.downcast_ref::<io::Error>().unwrap();
    assert_eq!(source.kind(), io::ErrorKind::ConnectionReset);
    let failed = Y4mReader::new(trickle(&bytes[..5], reset), "test");
    assert!(matches!(failed.err(), Some(DataError::Io { .. })));
}

/// A stream of `frames` times the same frame.
struct Endless {
    header: io::Cursor<Vec<u8>>,
    frame: io::Cursor<Vec<u8>>,
    frames: usize,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.header.read(buffer)?;
        if count > 0 {
            return Ok(count);
        }
        let count = self.frame.read(buffer)?;
        if count > 0 || self.frames == 0 {
            return Ok(count);
        }
        self.frames -= 1;
        self.frame.set_position(0);
        self.frame.read(buffer)
    }
}

/// The peak memory of this process in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.unwrap().trim().trim_end_matches(" kB");
    kib.parse().unwrap()
}

/// `cargo test --release -p fcos-burn-data --test data video -- --ignored --nocapture` prints memory and speed.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "takes minutes; measures the memory of the process, so that it must run alone"]
fn memory_is_flat_over_ten_thousand_frames() {
    let (width, height) = (1280, 720);
    let format = VideoFormat::new(width, height, FrameRate::default());
    let mut bytes = Vec::new();
    let mut writer = Y4mWriter::new(&mut bytes, "test", format).unwrap();
    writer.write(&smooth(width, height)).unwrap();
    let start = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let frame = bytes.split_off(start);
    let stream = Endless {
        header: io::Cursor::new(bytes),
        frame: io::Cursor::new(frame),
        frames: 9_999,
    };
    let reader = Y4mReader::new(stream, "test").unwrap();
    let mut writer = Y4mWriter::new(io::sink(), "test", reader.format()).unwrap();
    let (mut count, mut early) = (0, 0);
    let started = std::time::Instant::now();
    for frame in reader {
        writer.write(&frame.unwrap()).unwrap();
        count += 1;
        if count == 100 {
            early = peak();
        }
    }
    let rate = f64::from(count) / started.elapsed().as_secs_f64();
    let late = peak();
    println!(
        "{count} frames of {width}x{height}, read and written: {rate:.0} frames/s; \
         peak memory {early} KiB after 100 frames, {late} KiB at the end"
    );
    assert_eq!(count, 10_000);
    assert!(late < early + 4096);
}
