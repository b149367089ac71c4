//! Inputs, settings and outputs of `detect`.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
};

use fcos_burn::{
    boxes::CocoResult,
    data::{
        DetectionDataset,
        video::{FrameRate, VideoFormat, Y4mReader, Y4mWriter},
    },
    detect::{ImageDetections, json::read_json},
    eval::detections,
};
use image::{Frame, Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifEncoder};

use super::{assert_fails, change_config, command, path, run, stderr, trained};

/// A run whose detections all pass the thresholds, and pictures in two folders.
fn setup(dir: &Path) -> (PathBuf, PathBuf) {
    let run_folder = trained(dir);
    change_config(
        &run_folder,
        "\"score_threshold\": 0.05",
        "\"score_threshold\": 0.0",
    );
    let photos = dir.join("photos");
    for (name, width, height) in [
        ("a/1.png", 64, 64),
        ("b/1.png", 90, 40),
        ("b/deep/2.png", 40, 90),
        ("b/deep/3.png", 64, 64),
    ] {
        let file = photos.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let shade = |x: u32, y: u32| Rgb([(x * 5) as u8, (y * 3) as u8, (x * y + width) as u8]);
        RgbImage::from_fn(width, height, shade).save(file).unwrap();
    }
    (run_folder, photos)
}

/// Runs `detect` with these flags after those of the weights. Returns the detections and the messages.
fn detect(weights: &Path, output: &Path, flags: &[&str]) -> (Vec<ImageDetections>, String) {
    let args = ["--weights", path(weights), "--output", path(output)];
    let output_of = run("detect", &[&args[..], flags].concat());
    let text = stderr(&output_of);
    assert!(output_of.status.success(), "{text}");
    (read_json(&output.join("detections.json")).unwrap(), text)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn all_outputs_hold_the_same_detections_in_the_order_of_the_inputs() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    fs::write(photos.join("b/._1.png"), "attributes of macOS").unwrap();
    let out = dir.path().join("out");
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let inputs = ["b", "a", "b/dee[p]/*.png", "a/1.png"];
    let inputs = inputs.map(|input| place(&format!("photos/{input}")));
    let outputs = ["coco", "found.csv", "yolo", "crops"].map(place);
    let flags = [
        "--input",
        &inputs[0],
        &inputs[1],
        &inputs[2],
        &inputs[3],
        "--max-detections",
        "3",
        "--score-threshold",
        "0",
        "--batch-size",
        "3",
        "--coco",
        &outputs[0],
        "--csv",
        &outputs[1],
        "--yolo",
        &outputs[2],
        "--yolo-scores",
        "--crops",
        &outputs[3],
    ];
    let (found, text) = detect(&weights, &out, &flags);
    let files: Vec<&str> = found.iter().map(|image| image.file.as_str()).collect();
    assert!(
        text.contains("photos/b: 1 hidden image files skipped: ._1.png"),
        "{text}"
    );
    let expected = ["b/1.png", "a/1.png", "b/deep/2.png", "b/deep/3.png"];
    assert_eq!(files, expected.map(|file| place(&format!("photos/{file}"))));
    for (index, image) in found.iter().enumerate() {
        assert_eq!(image.detections.len(), 3);
        let told = format!("{}/4 {}: 3 objects\n", index + 1, image.file);
        assert!(text.contains(&told), "{text}");
    }
    let pictures = ["1.png", "1-2.png", "2.png", "3.png", "detections.json"];
    assert_eq!(names(&out), pictures.map(str::to_owned).into());

    let results: Vec<CocoResult> = read_json(&dir.path().join("coco/results.json")).unwrap();
    let images = dir.path().join("coco/images.json");
    let dataset = DetectionDataset::coco(Path::new("/"), &images).unwrap();
    let read = detections(&dataset, &results).unwrap();
    assert_eq!(read.len(), 4);
    for ((index, read), written) in read.iter().zip(&found) {
        assert_eq!(dataset.images()[*index].file_name, written.file);
        for (read, written) in read.iter().zip(&written.detections) {
            assert_eq!(dataset.categories()[read.label].name, written.category);
            assert_eq!(read.score, written.score);
        }
    }
    let table = fs::read_to_string(dir.path().join("found.csv")).unwrap();
    assert_eq!(table.lines().count(), 1 + 12);
    let labels = ["1.txt", "1-2.txt", "2.txt", "3.txt"];
    assert_eq!(
        names(&dir.path().join("yolo/labels")),
        labels.map(str::to_owned).into()
    );
    let lines = fs::read_to_string(dir.path().join("yolo/labels/1-2.txt")).unwrap();
    let scores: Vec<f32> = lines
        .lines()
        .map(|line| line.split(' ').nth(5).unwrap().parse().unwrap())
        .collect();
    assert!(
        scores
            .iter()
            .eq(found[1].detections.iter().map(|detection| &detection.score))
    );
    let crops = dir.path().join("crops");
    let crops: usize = names(&crops)
        .iter()
        .map(|class| names(&crops.join(class)).len())
        .sum();
    assert_eq!(crops, 12);

    // In one batch or without, with subfolders, without pictures.
    let again = dir.path().join("again");
    let flags = [
        "--recursive",
        "--no-pictures",
        "--score-threshold",
        "0",
        "--max-detections",
        "3",
        "--batch-size",
        "1",
    ];
    let (alone, _) = detect(&weights, &again, &[&[path(&photos)], &flags[..]].concat());
    assert_eq!(names(&again).len(), 1);
    assert_eq!(alone.len(), 4);
    let of = |file: &str| found.iter().find(|image| image.file == file).unwrap();
    for image in &alone {
        for (one, other) in image.detections.iter().zip(&of(&image.file).detections) {
            assert!((one.score - other.score).abs() < 1e-5);
        }
    }
}

#[test]
fn an_unreadable_image_among_others_does_not_stop_them() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    fs::write(photos.join("b/0.png"), "not an image").unwrap();
    let out = dir.path().join("out");
    let flags = [
        "--weights",
        path(&weights),
        "--output",
        path(&out),
        "--recursive",
        path(&photos),
    ];
    let output = run("detect", &flags);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(".png")).collect();
    assert_eq!(lines.len(), 5, "{text}");
    assert!(
        lines[1].starts_with("error: ") && lines[1].contains("b/0.png"),
        "{text}"
    );
    assert!(lines[4].starts_with("5/5 "), "{text}");
    let found: Vec<ImageDetections> = read_json(&out.join("detections.json")).unwrap();
    assert_eq!(found.len(), 4);
    for (input, cause) in [("missing.png", "missing.png"), ("no*.png", "has no images")] {
        let input = dir.path().join(input);
        let flags = [
            "--weights",
            path(&weights),
            "--output",
            path(&out),
            path(&input),
        ];
        assert_fails("detect", &flags, 1, &[cause]);
    }
    let flags = ["--weights", "x", "--output", "x"];
    assert_fails("detect", &flags, 2, &["--input"]);
    let file = dir.path().join("film.y4m");
    fs::write(&file, video()).unwrap();
    let flags = [
        "--weights",
        path(&weights),
        "--output",
        path(&out),
        path(&file),
    ];
    assert_fails("detect", &flags, 1, &["film.y4m is a video", "--input -"]);
}

/// What is wrong with one output does not cost what goes to the others.
#[test]
fn a_picture_that_cannot_be_written_does_not_cost_the_detections() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let [out, csv, crops] = ["out", "found.csv", "crops"].map(|name| dir.path().join(name));
    fs::create_dir_all(out.join("3.png")).unwrap();
    let flags = [
        "--weights",
        path(&weights),
        "--output",
        path(&out),
        "--csv",
        path(&csv),
        "--recursive",
        path(&photos),
    ];
    assert_fails("detect", &flags, 1, &["3.png"]);
    let found: Vec<ImageDetections> = read_json(&out.join("detections.json")).unwrap();
    assert_eq!(found.len(), 4);
    assert!(csv.is_file());

    // The folder of the crops is printed, too, and said to have other files at the second time.
    let more = [
        "--no-pictures",
        "--crops",
        path(&crops),
        "--score-threshold",
        "0",
    ];
    let flags = [&flags[..], &more].concat();
    for is_occupied in [false, true] {
        let output = run("detect", &flags);
        let printed = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(
            printed.lines().any(|line| line == path(&crops)),
            "{printed}"
        );
        let text = stderr(&output);
        assert_eq!(text.contains("crops is not empty"), is_occupied, "{text}");
    }
}

#[test]
fn only_chosen_classes_are_detected_and_evaluated() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let out = dir.path().join("out");
    let flags = [
        "--score-threshold",
        "0",
        "--classes",
        "star, ring",
        "--classes",
        "circle",
    ];
    let (found, _) = detect(
        &weights,
        &out,
        &[&[path(&photos), "--recursive"], &flags[..]].concat(),
    );
    let classes: BTreeSet<&str> = found
        .iter()
        .flat_map(|image| &image.detections)
        .map(|detection| detection.category.as_str())
        .collect();
    assert_eq!(classes, ["circle", "ring", "star"].into());

    let report = dir.path().join("report.json");
    let evaluate = ["--weights", path(&weights), "--report", path(&report)];
    let evaluated = |flags: &[&str]| {
        let output = run("evaluate", &[&evaluate[..], flags].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let report: serde_json::Value = read_json(&report).unwrap();
        let classes = report["class_ap"].as_object().unwrap().keys().cloned();
        (classes.collect::<BTreeSet<String>>(), stderr(&output))
    };
    let (all, _) = evaluated(&[]);
    let (chosen, text) = evaluated(&["--classes", "star,circle"]);
    assert!(all.contains("circle") && all.len() > 1, "{all:?}");
    let expected = all
        .iter()
        .filter(|class| ["star", "circle"].contains(&class.as_str()));
    assert_eq!(chosen, expected.cloned().collect());
    assert!(text.contains("objects of the classes circle, star"));

    let unknown = ["--classes", "Star"];
    let parts = [
        "no class 'Star'",
        "'Star' is not the same name as 'star'",
        "circle, square, triangle, star, cross, ring",
    ];
    assert_fails("evaluate", &[&evaluate[..], &unknown].concat(), 1, &parts);
    let detect = [
        "--weights",
        path(&weights),
        "--output",
        path(&out),
        "--recursive",
        path(&photos),
    ];
    assert_fails("detect", &[&detect[..], &unknown].concat(), 1, &parts);
}

#[test]
fn thresholds_below_those_of_the_run_find_more() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let photo = photos.join("a/1.png");
    change_config(
        &weights,
        "\"score_threshold\": 0.0",
        "\"score_threshold\": 0.9",
    );
    let count = |name: &str, flags: &[&str]| {
        let (found, _) = detect(
            &weights,
            &dir.path().join(name),
            &[&[path(&photo)], flags].concat(),
        );
        found[0].detections.len()
    };
    assert_eq!(count("none", &[]), 0);
    let all = count("all", &["--score-threshold", "0"]);
    assert_eq!(all, 100);
    // Any overlap suppresses, across all classes.
    let low = ["--score-threshold", "0", "--iou-threshold", "0"];
    let within = count("within", &low);
    let across = count("across", &[&low[..], &["--class-agnostic"]].concat());
    assert!(
        across > 0 && across < within && within < all,
        "{across} {within}"
    );
}

#[test]
fn tiles_only_matter_for_images_larger_than_one() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let place = |name: &str| dir.path().join(name);
    let input = [
        path(&photos),
        "--recursive",
        "--score-threshold",
        "0",
        "--batch-size",
        "1",
    ];
    let (plain, _) = detect(&weights, &place("plain"), &input);
    let tiled = |name: &str, flags: &[&str]| {
        let (found, _) = detect(&weights, &place(name), &[&input[..], flags].concat());
        found
    };
    assert_eq!(tiled("one", &["--tile", "90"]), plain);
    let found = tiled("many", &["--tile", "48x32", "--tile-overlap", "0.5"]);
    assert_eq!(found.len(), 4);
    assert!(found[0].detections.len() > plain[0].detections.len());
    let flags = ["--weights", "x", "--input", "x", "--output", "x", "--tile"];
    assert_fails(
        "detect",
        &[&flags[..], &["8"]].concat(),
        2,
        &["from 16 to 32768 pixels"],
    );
    let flags = [
        "--weights",
        "x",
        "--input",
        "x",
        "--output",
        "x",
        "--tile-overlap",
        "0.3",
    ];
    assert_fails("detect", &flags, 2, &["--tile"]);
}

#[test]
fn pictures_of_detections_do_not_overwrite_images() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let out = dir.path().join("out");
    let args = [
        "--weights",
        path(&weights),
        "--output",
        path(&out),
        "--recursive",
        path(&photos),
    ];
    assert_fails(
        "detect",
        &[&args[..], &["--crops", path(&photos)]].concat(),
        1,
        &["another folder"],
    );
}

/// A video of 12 frames with a moving square.
fn video() -> Vec<u8> {
    let rate = FrameRate::new(30_000, 1001).unwrap();
    let mut stream = Vec::new();
    let format = VideoFormat::new(66, 49, rate);
    let mut writer = Y4mWriter::new(&mut stream, "video", format).unwrap();
    for frame in 0..12 {
        let pixel = |x, y| match (x / 8 == frame % 8, y / 8 == 2) {
            (true, true) => Rgb([250, 40, 40]),
            _ => Rgb([90, 100, 110]),
        };
        let image = RgbImage::from_fn(66, 49, pixel);
        writer.write(&image).unwrap();
    }
    stream
}

/// Runs `detect` on a video in standard input.
fn detect_video(weights: &Path, video: &[u8], flags: &[&str]) -> Output {
    let args = ["detect", "--weights", path(weights), "--input", "-"];
    let mut program = Command::new(env!("CARGO_BIN_EXE_fcos-burn"))
        .args(args)
        .args(flags)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = program.stdin.take().unwrap();
    let video = video.to_vec();
    // The program may end before it has read everything.
    let feeder = thread::spawn(move || drop(input.write_all(&video)));
    let output = program.wait_with_output().unwrap();
    feeder.join().unwrap();
    output
}

/// What is printed afterwards neither overwrites the detections nor follows them.
#[cfg(unix)]
#[test]
fn standard_output_holds_just_the_detections() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let file = dir.path().join("found.json");
    let detect = |json: &str| {
        let mut program = command("detect");
        program.args(["--weights", path(&weights), "--no-pictures", path(&photos)]);
        program.arg("--recursive");
        let csv = dir.path().join("found.csv");
        program.args(["--json", json, "--csv", path(&csv)]);
        program
    };
    assert!(detect(path(&file)).output().unwrap().status.success());
    let redirected = dir.path().join("redirected.json");
    let output = fs::File::create(&redirected).unwrap();
    let status = detect("/dev/stdout").stdout(output).status().unwrap();
    assert!(status.success());
    let expected = fs::read_to_string(&file).unwrap();
    assert!(expected.len() > 20, "{expected}");
    assert_eq!(fs::read_to_string(&redirected).unwrap(), expected);
    let piped = detect("/dev/stdout").output().unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), expected);
}

#[test]
fn a_video_comes_out_with_boxes_and_a_line_for_each_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, _) = setup(dir.path());
    let lines = dir.path().join("found/lines.jsonl");
    let flags = [
        "--json",
        path(&lines),
        "--max-detections",
        "2",
        "--score-threshold",
        "0",
    ];
    let output = detect_video(&weights, &video(), &flags);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("66x49 pixels, 29.970 frames/s"), "{text}");
    assert!(text.contains("12 frames, 24 objects, "), "{text}");

    let video = video();
    let before = Y4mReader::new(video.as_slice(), "before").unwrap();
    let after = Y4mReader::new(output.stdout.as_slice(), "after").unwrap();
    assert_eq!(after.format(), before.format());
    let frames: Vec<RgbImage> = after.collect::<Result<_, _>>().unwrap();
    assert_eq!(frames.len(), 12);
    let changed = frames.iter().zip(before).filter(|(after, before)| {
        let before = before.as_ref().unwrap();
        let differs = |(a, b): (&u8, &u8)| a.abs_diff(*b) > 8;
        after.as_raw().iter().zip(before.as_raw()).any(differs)
    });
    assert_eq!(changed.count(), 12, "every frame has boxes");

    let text = fs::read_to_string(&lines).unwrap();
    let found: Vec<ImageDetections> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (number, found) in (1..).zip(&found) {
        assert_eq!(
            (found.frame, found.width, found.height),
            (Some(number), 66, 49)
        );
        assert_eq!(found.detections.len(), 2);
    }
    assert_eq!(found.len(), 12);
}

#[test]
fn broken_videos_and_flags_without_use_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let lines = dir.path().join("lines.jsonl");
    let whole = video();
    let truncated = detect_video(
        &weights,
        &whole[..whole.len() - 9],
        &["--json", path(&lines)],
    );
    let text = stderr(&truncated);
    assert!(!truncated.status.success(), "{text}");
    assert!(text.contains("standard input: frame 12: "), "{text}");
    assert_eq!(fs::read_to_string(&lines).unwrap().lines().count(), 11);

    for (stream, flags, cause) in [
        (&b"RIFF"[..], &[][..], "not a YUV4MPEG2 stream"),
        (
            &whole,
            &["--csv", "found.csv"],
            "--csv is not possible for a video",
        ),
        (&whole, &[path(&photos)], "has to be the only input"),
        #[cfg(unix)]
        (
            &whole,
            &["--json", "/dev/stdout"],
            "standard output has the video",
        ),
    ] {
        let output = detect_video(&weights, stream, flags);
        assert!(output.stdout.is_empty());
        let text = stderr(&output);
        assert!(!output.status.success() && text.contains(cause), "{text}");
    }
}

#[test]
fn a_closed_player_ends_the_video_without_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, _) = setup(dir.path());
    let mut program = Command::new(env!("CARGO_BIN_EXE_fcos-burn"))
        .args(["detect", "--weights", path(&weights), "--input", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(program.stdout.take());
    let mut input = program.stdin.take().unwrap();
    let _ = input.write_all(&video());
    drop(input);
    let output = program.wait_with_output().unwrap();
    let text = stderr(&output);
    assert!(output.status.success() && !text.contains("error"), "{text}");
}

#[test]
fn outputs_do_not_overwrite_images_by_links_or_as_labels() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let image = photos.join("a/1.png");
    let link = dir.path().join("found/1.png");
    fs::create_dir(dir.path().join("found")).unwrap();
    let out = path(link.parent().unwrap()).to_owned();
    let cases: &[(&Path, &[&str], &str)] = &[
        (&image, &["--yolo", path(&photos)], "--yolo"),
        (&image, &["--csv", path(&image)], "--csv"),
        (&image, &["--crops", path(&photos)], "--crops"),
        #[cfg(unix)]
        (&link, &[], "--output"),
    ];
    #[cfg(unix)]
    std::os::unix::fs::symlink(&image, &link).unwrap();
    let before = fs::read(&image).unwrap();
    for (input, flags, flag) in cases {
        let args = [
            "--weights",
            path(&weights),
            "--output",
            &out,
            "--input",
            path(input),
        ];
        let output = run("detect", &[&args[..], flags].concat());
        let text = stderr(&output);
        assert!(!output.status.success() && text.contains(flag), "{text}");
        assert_eq!(fs::read(&image).unwrap(), before);
    }
}

#[test]
fn the_frames_of_an_animation_are_images() {
    let dir = tempfile::tempdir().unwrap();
    let (weights, photos) = setup(dir.path());
    let animation = photos.join("a/street.gif");
    let mut encoder = GifEncoder::new(fs::File::create(&animation).unwrap());
    for shade in [10, 120, 250] {
        let frame = RgbaImage::from_pixel(64, 64, Rgba([shade, shade / 2, 90, 255]));
        encoder.encode_frame(Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let out = dir.path().join("out");
    let flags = ["--max-detections", "1", "--score-threshold", "0", "--input"];
    let folder = photos.join("a");
    let yolo = dir.path().join("yolo");
    let flags = [&flags[..], &[path(&folder), "--yolo", path(&yolo)]].concat();
    let (found, text) = detect(&weights, &out, &flags);
    assert!(
        text.contains("2/2 ") && text.contains("street.gif frame 3: 1 object"),
        "{text}"
    );
    let frames: Vec<Option<u64>> = found.iter().map(|image| image.frame).collect();
    assert_eq!(frames, [None, Some(1), Some(2), Some(3)]);
    let stems = ["1", "street-000001", "street-000002", "street-000003"];
    let pictures = stems.map(|stem| format!("{stem}.png"));
    let written = [&pictures[..], &["detections.json".to_owned()]].concat();
    assert_eq!(names(&out), written.into_iter().collect());
    let labels = stems.map(|stem| format!("{stem}.txt"));
    assert_eq!(names(&yolo.join("labels")), labels.into());
}
