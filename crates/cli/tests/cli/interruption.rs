//! Interrupted, killed and failed runs: they can be resumed, with the same result as an
//! uninterrupted run.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};

use fcos_burn::{
    detect::{ImageDetections, json::read_json},
    train::run::EpochRow,
    train::training::FailedStep,
    train::{RunConfig, RunFolder, Trainer},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::{
    data::{RED_BLUE, read, training, write_split},
    *,
};

/// Three epochs of eight steps. Batches have different sizes, and images are combined, except in the
/// last epoch.
const SHORT: &str = r#"{
    "model": {"backbone": {"width": 8}, "fpn": {"channels": 8}, "head": {"tower_depth": 1}},
    "data": {"source": {"shapes": {
        "train_images": 16, "val_images": 3, "width": 64, "height": 64, "max_objects": 2
    }}},
    "input": {
        "resize": {"fixed": {"width": 64, "height": 64}},
        "multi_scale": {"min": 0.5, "max": 1.5}
    },
    "augment": "strong",
    "plain_epochs": 1,
    "optimization": {"decay": {"cosine": {"end": 0.1}}, "average_decay": 0.9},
    "duration": {"epochs": 3},
    "batch_size": 2,
    "devices": ["cpu", "cpu"]
}"#;

/// An uninterrupted run of [`SHORT`], and its duration.
static UNDISTURBED: LazyLock<(TempDir, Duration)> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let output = begin(dir.path()).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    (dir, started.elapsed())
});

fn folder(dir: &Path) -> PathBuf {
    dir.join("run")
}

fn spawn(args: &[&str]) -> Child {
    command("train")
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Writes [`SHORT`] to a file in `dir`.
fn short_config(dir: &Path) -> PathBuf {
    let config = dir.join("short.json");
    fs::write(&config, SHORT).unwrap();
    config
}

/// Starts the run in `dir`, or resumes it if there is one.
fn begin(dir: &Path) -> Child {
    let run = folder(dir);
    if run.join("config.json").exists() {
        return spawn(&["--resume", path(&run)]);
    }
    let config = short_config(dir);
    spawn(&["--config", path(&config), "--output", path(&run)])
}

/// Waits until `run`, which `child` writes, can be resumed.
fn wait_for_a_checkpoint(run: &Path, child: &mut Child) {
    while !run.join("config.json").exists() {
        assert_eq!(child.try_wait().unwrap(), None, "the training has ended");
        sleep(Duration::from_millis(1));
    }
}

/// Resumes the run in `dir`, which must end like the uninterrupted one.
fn assert_resumes(dir: &Path) {
    let output = begin(dir).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert_undisturbed(dir);
}

fn signal(child: &Child, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// The run in `dir` ended with the weights, metrics and detections of the uninterrupted one.
fn assert_undisturbed(dir: &Path) {
    let open = |dir: &Path| RunFolder::open(folder(dir)).unwrap();
    let (found, expected) = (open(dir), open(UNDISTURBED.0.path()));
    let config: RunConfig = found.read_config().unwrap();
    let rows = |run: &RunFolder| -> Vec<EpochRow> {
        let mut rows = run.read_metrics().unwrap();
        rows.iter_mut().for_each(|row| row.seconds = 0.0);
        rows
    };
    assert_eq!(rows(&found), rows(&expected));
    let last = |run: &RunFolder, name: &str| run.checkpoints().path().join("24").join(name);
    for (found, expected) in [
        (found.model_path(), expected.model_path()),
        (last(&found, "model.bpk"), last(&expected, "model.bpk")),
        (last(&found, "average.bpk"), last(&expected, "average.bpk")),
    ] {
        // `assert_eq` would print all weights.
        let bits = |file| weights(&config, file).into_iter().map(f32::to_bits);
        assert!(bits(&found).eq(bits(&expected)), "{}", found.display());
    }
    assert_eq!(
        fs::read(found.results_path()).unwrap(),
        fs::read(expected.results_path()).unwrap()
    );
}

#[test]
fn a_run_killed_at_any_moment_resumes_exactly() {
    const KILLS: usize = 20;
    let longest = UNDISTURBED.1;
    let mut rng = StdRng::seed_from_u64(1);
    let mut kills = 0;
    while kills < KILLS {
        let dir = tempfile::tempdir().unwrap();
        loop {
            let mut child = begin(dir.path());
            if kills < KILLS {
                sleep(longest.mul_f64(rng.random_range(0.0..1.0)));
                if child.try_wait().unwrap().is_none() {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    kills += 1;
                    continue;
                }
            }
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            assert_undisturbed(dir.path());
            break;
        }
    }
}

#[test]
fn ctrl_c_and_sigterm_keep_the_last_step() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = begin(dir.path());
        let run = folder(dir.path());
        wait_for_a_checkpoint(&run, &mut child);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(
            text.contains(&format!("--resume {}", run.display())),
            "{text}"
        );
        assert_resumes(dir.path());
    }
}

#[test]
fn a_held_out_part_survives_an_interruption() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = dir.join("data");
    let objects: Vec<&str> = ["red", "blue"].into_iter().cycle().take(20).collect();
    write_split(&data, "train", &RED_BLUE, &objects);
    let started = |run: &Path| {
        let mut args = training(dir, &data, run);
        let epochs = args.iter().position(|arg| arg == "--epochs").unwrap() + 1;
        args[epochs] = "10".to_owned();
        spawn(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let (whole, stopped) = (dir.join("whole"), dir.join("stopped"));
    let output = started(&whole).wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let mut child = started(&stopped);
    wait_for_a_checkpoint(&stopped, &mut child);
    signal(&child, "-INT");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let output = run("train", &["--resume", path(&stopped)]);
    assert!(output.status.success(), "{}", stderr(&output));
    let results = |run: &Path| read(&run.join("results.json"));
    assert_eq!(results(&stopped), results(&whole));
}

#[test]
fn training_continues_if_standard_error_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = begin(dir.path());
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_undisturbed(dir.path());

    // Standard output is the result, so closing it is an error.
    let mut child = command("evaluate")
        .args(["--weights", path(&folder(dir.path()))])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = error_line(&output);
    assert!(error.contains("standard output: Broken pipe"), "{error}");
}

#[test]
fn a_folder_has_one_training_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (config, run) = (short_config(dir.path()), folder(dir.path()));
    let first = [
        "--config",
        path(&config),
        "--output",
        path(&run),
        "--epochs",
        "10000",
    ];
    let starts = || {
        let log = fs::read_to_string(run.join("train.log")).unwrap_or_default();
        log.matches("iterations per epoch").count()
    };
    let wait_for_start = |child: &mut Child, number| {
        while starts() < number {
            assert!(child.try_wait().unwrap().is_none());
            sleep(Duration::from_millis(10));
        }
    };
    let mut child = spawn(&first);
    wait_for_start(&mut child, 1);
    for again in [&["--resume", path(&run)][..], &first] {
        assert_fails(
            "train",
            again,
            1,
            &["train.log", "another training is running"],
        );
    }
    assert_eq!(starts(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    // The lock is released when the process ends.
    let mut child = spawn(&["--resume", path(&run)]);
    wait_for_start(&mut child, 2);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_step() {
    let dir = tempfile::tempdir().unwrap();
    let (config, run) = (short_config(dir.path()), folder(dir.path()));
    let mut child = spawn(&[
        "--config",
        path(&config),
        "--output",
        path(&run),
        "--image-size",
        "1024x1024",
        "--batch-size",
        "16",
    ]);
    wait_for_a_checkpoint(&run, &mut child);
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    let mut line = String::new();
    while !line.contains("Ctrl-C again to exit immediately") {
        line.clear();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0);
    }
    signal(&child, "-INT");
    let mut rest = String::new();
    lines.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(!rest.contains("--resume"), "{rest}");
}

#[test]
fn a_non_finite_step_stops_the_run_and_keeps_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (config, run) = (short_config(dir.path()), folder(dir.path()));
    // The first step makes the weights so large that the second overflows.
    assert_fails(
        "train",
        &[
            "--config",
            path(&config),
            "--lr",
            "1e38",
            "--output",
            path(&run),
        ],
        1,
        &[
            "in iteration 2 (epoch 1)",
            "with the images shapes-train",
            "failed-step",
            "lower learning rate",
        ],
    );
    let folder = RunFolder::open(&run).unwrap();
    let config: RunConfig = folder.read_config().unwrap();
    assert_eq!(folder.checkpoints().iterations().unwrap(), [0]);
    let first = folder.checkpoints().path().join("0/model.bpk");
    assert!(
        weights(&config, &first)
            .iter()
            .all(|weight| weight.is_finite())
    );

    let step = FailedStep::read(&run).unwrap();
    assert_eq!((step.iteration, step.images.len()), (2, 2));
    let replayed = Trainer::new().replay(&step, &run).unwrap();
    assert_eq!(replayed.len(), step.metrics.len());
    for (metric, value) in replayed {
        assert_eq!(value.to_string(), step.metrics[metric.name()]);
    }
}

/// Runs `script` with a separate small file system at `$1`, mounted with the options `mount`;
/// `None` if mounting is not possible.
fn on_small_disk(dir: &Path, mount: &str, script: &str, args: &[&str]) -> Option<Output> {
    let shell = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c"]);
        command.arg(format!(
            r#"mount -t tmpfs -o {mount} tmpfs "$1" && {script}"#
        ));
        command.arg("sh").arg(dir);
        command
    };
    let can_mount = shell("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !can_mount {
        eprintln!("skipped: cannot mount a file system");
        return None;
    }
    Some(shell(script).args(args).output().unwrap())
}

/// The path of the program, for a shell.
fn train_program() -> String {
    command("train").get_program().to_str().unwrap().to_owned()
}

#[test]
fn a_full_disk_leaves_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, config) = (dir.path().join("disk"), short_config(dir.path()));
    fs::create_dir(&disk).unwrap();
    let script = r#"{ "$2" train --config "$3" --output "$1/run"; code=$?; cp -r "$1/run" "$4"; exit $code; }"#;
    let args = [&train_program(), path(&config), path(dir.path())];
    let Some(output) = on_small_disk(&disk, "size=6m", script, &args) else {
        return;
    };
    let error = error_line(&output);
    assert!(error.contains("No space left on device"), "{error}");
    assert!(error.contains("disk/run"), "{error}");
    // With enough space, it resumes.
    assert_resumes(dir.path());
}

#[test]
fn a_read_only_folder_is_a_one_line_error() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, config) = (dir.path().join("disk"), short_config(dir.path()));
    fs::create_dir(&disk).unwrap();
    let script = r#""$2" train --config "$3" --output "$1/run""#;
    let args = [&train_program(), path(&config)];
    let Some(output) = on_small_disk(&disk, "ro", script, &args) else {
        return;
    };
    let error = error_line(&output);
    assert!(error.contains("disk/run"), "{error}");
    assert!(error.contains("Read-only file system"), "{error}");
}

#[test]
fn a_run_is_not_resumed_with_other_data_or_another_model() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    let config = run_folder.join("config.json");
    let original = fs::read_to_string(&config).unwrap();
    for (from, to, parts) in [
        (
            r#""train_images": 4"#,
            r#""train_images": 5"#,
            &["training split has 5 images, but had 4"][..],
        ),
        (
            r#""min_size": 8.0"#,
            r#""min_size": 9.0"#,
            &["training split has"],
        ),
        (
            r#""channels": 8"#,
            r#""channels": 16"#,
            &["checkpoint/2/model.bpk", "fpn"],
        ),
        (
            r#""adamw": {
        "betas": [
          0.9,
          0.999
        ],
        "epsilon": 1e-8
      }"#,
            r#""sgd": {"momentum": 0.9}"#,
            &["checkpoint/2/optimizer.bpk", "state of another optimizer"],
        ),
        (
            r#""epochs": 1"#,
            r#""iterations": 1"#,
            &["checkpoint", "is of iteration 2", "has only 1"],
        ),
        (
            r#""batch_size": 2"#,
            r#""batch_size": 1"#,
            &["an epoch has 4 steps, but had 2"],
        ),
    ] {
        assert!(original.contains(from), "{original}");
        fs::write(&config, original.replace(from, to)).unwrap();
        assert_fails("train", &["--resume", path(&run_folder)], 1, parts);
    }
    fs::write(&config, original).unwrap();
    let metrics = run_folder.join("metrics.json");
    let rows = fs::read_to_string(&metrics).unwrap();
    fs::write(&metrics, rows.replace("\"epoch\": 1", "\"epoch\": 3")).unwrap();
    let parts = ["metrics.json", "epoch 3 instead of epoch 1"];
    assert_fails("train", &["--resume", path(&run_folder)], 1, &parts);
}

#[test]
fn an_interrupted_detection_keeps_what_it_has_found() {
    let dir = tempfile::tempdir().unwrap();
    let run_folder = trained(dir.path());
    let images = dir.path().join("images");
    fs::create_dir(&images).unwrap();
    let first = images.join("0000.png");
    image::RgbImage::new(64, 64).save(&first).unwrap();
    let count = 4000;
    for number in 1..count {
        fs::hard_link(&first, images.join(format!("{number:04}.png"))).unwrap();
    }
    let (json, csv) = (dir.path().join("found.json"), dir.path().join("found.csv"));
    let tiled = ["--tile", "32"];
    for (name, code, more) in [("-INT", 130, &[][..]), ("-TERM", 143, &tiled)] {
        let mut child = command("detect")
            .args([
                "--weights",
                path(&run_folder),
                "--no-pictures",
                path(&images),
            ])
            .args(["--json", path(&json), "--csv", path(&csv)])
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap());
        let mut told = String::new();
        while !told.contains("\n3/4000 ") {
            assert_ne!(messages.read_line(&mut told).unwrap(), 0, "{told}");
        }
        signal(&child, name);
        messages.read_to_string(&mut told).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        let found: Vec<ImageDetections> = read_json(&json).unwrap();
        let done = found.len();
        assert!((3..count).contains(&done), "{done}");
        let end = format!("interrupted after {done} of {count} images");
        assert!(told.lines().any(|line| line.starts_with(&end)), "{told}");
        // The last image that was told is the last one that was written.
        assert!(told.contains(&format!("\n{done}/{count} ")), "{told}");
        assert!(
            !told.contains(&format!("\n{}/{count} ", done + 1)),
            "{told}"
        );
        let written = String::from_utf8(output.stdout).unwrap();
        assert_eq!(written, format!("{}\n{}\n", json.display(), csv.display()));
        fs::remove_file(&json).unwrap();
        fs::remove_file(&csv).unwrap();
    }
}
