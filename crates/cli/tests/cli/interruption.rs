//! Trainings that are stopped, killed or cannot go on: what is left can be gone on with,
//! and gives what would have come without.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Stdio},
    sync::LazyLock,
    thread::sleep,
    time::{Duration, Instant},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use fcos_burn::{
    train::run::EpochRow,
    train::training::FailedStep,
    train::{RunConfig, RunFolder, Trainer},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

use super::*;

/// Three epochs of eight steps.
const SHORT: &str = r#"{
    "model": {"backbone": {"width": 8}, "fpn": {"channels": 8}, "head": {"tower_depth": 1}},
    "data": {"source": {"shapes": {
        "train_images": 16, "val_images": 3, "width": 64, "height": 64, "max_objects": 2
    }}},
    "input": {"resize": {"fixed": {"width": 64, "height": 64}}},
    "optimization": {"decay": {"cosine": {"end": 0.1}}, "average_decay": 0.9},
    "duration": {"epochs": 3},
    "batch_size": 2,
    "devices": ["cpu", "cpu"]
}"#;

/// A run of [`SHORT`] that nothing disturbed, and how long it took.
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

/// A file with [`SHORT`] in `dir`.
fn short_config(dir: &Path) -> PathBuf {
    let config = dir.join("short.json");
    fs::write(&config, SHORT).unwrap();
    config
}

/// Begins the run in `dir`, or goes on with it if there is one.
fn begin(dir: &Path) -> Child {
    let run = folder(dir);
    if run.join("config.json").exists() {
        return spawn(&["--resume", path(&run)]);
    }
    let config = short_config(dir);
    spawn(&["--config", path(&config), "--output", path(&run)])
}

/// Waits until there is something to go on with in `run`.
fn wait_for_a_checkpoint(run: &Path) {
    while !run.join("config.json").exists() {
        sleep(Duration::from_millis(1));
    }
}

/// Goes on with the run in `dir`, which then ends as the undisturbed one.
fn assert_goes_on(dir: &Path) {
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

/// The bits of all weights in a file of the run's model.
fn weights(config: &RunConfig, file: &Path) -> Vec<u32> {
    struct Bits(Vec<u32>);
    impl ModuleVisitor for Bits {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().into_data();
            self.0.extend(values.iter::<f32>().map(f32::to_bits));
        }
    }
    let device = DeviceName::CPU.open(Precision::F32).unwrap();
    let model = config.model.init(&device).unwrap().load(file).unwrap();
    let mut bits = Bits(Vec::new());
    model.visit(&mut bits);
    bits.0
}

/// The run in `dir` ended as the undisturbed one did: weights, metrics, detections.
fn assert_undisturbed(dir: &Path) {
    let open = |dir: &Path| RunFolder::open(&folder(dir)).unwrap();
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
        // Equality alone: a failure would print all of them.
        let equal = weights(&config, &found) == weights(&config, &expected);
        assert!(equal, "{}", found.display());
    }
    assert_eq!(
        fs::read(found.results_path()).unwrap(),
        fs::read(expected.results_path()).unwrap()
    );
}

#[test]
fn killed_at_any_moment_it_goes_on_as_if_it_had_not_been() {
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
fn ctrl_c_and_a_request_to_terminate_keep_the_last_step() {
    for (name, code) in [("-INT", 130), ("-TERM", 143)] {
        let dir = tempfile::tempdir().unwrap();
        let child = begin(dir.path());
        let run = folder(dir.path());
        wait_for_a_checkpoint(&run);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(
            text.contains(&format!("--resume {}", run.display())),
            "{text}"
        );
        assert_goes_on(dir.path());
    }
}

#[test]
fn a_training_goes_on_where_nobody_reads_its_progress() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = begin(dir.path());
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_undisturbed(dir.path());

    // What a command was asked for is another matter.
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
    let mut child = spawn(&first);
    wait_for_a_checkpoint(&run);
    for again in [&["--resume", path(&run)][..], &first] {
        assert_fails(
            "train",
            again,
            1,
            &["train.log", "another training goes on"],
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // Whoever had it is gone.
    let began = || {
        let log = fs::read_to_string(run.join("train.log")).unwrap();
        log.matches("iterations an epoch").count()
    };
    assert_eq!(began(), 1);
    let mut child = spawn(&["--resume", path(&run)]);
    while began() < 2 {
        assert!(child.try_wait().unwrap().is_none());
        sleep(Duration::from_millis(10));
    }
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
    wait_for_a_checkpoint(&run);
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    signal(&child, "-INT");
    let mut line = String::new();
    while !line.contains("Ctrl-C again stops at once") {
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
fn a_step_that_is_not_finite_ends_the_run_before_it_changes_the_weights() {
    let dir = tempfile::tempdir().unwrap();
    let (config, run) = (short_config(dir.path()), folder(dir.path()));
    // The first step's weights are so large that the second overflows.
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
    let finite = |bits: &u32| f32::from_bits(*bits).is_finite();
    assert!(weights(&config, &first).iter().all(finite));

    let step = FailedStep::read(&run).unwrap();
    assert_eq!((step.iteration, step.images.len()), (2, 2));
    let replayed = Trainer::new().replay(&step, &run).unwrap();
    assert_eq!(replayed.len(), step.metrics.len());
    for (metric, value) in replayed {
        assert_eq!(value.to_string(), step.metrics[metric.name()]);
    }
}

/// Runs `script` with a small file system of its own at `$1`, mounted with the options
/// `mount`; `None` where that cannot be had.
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
    let there = shell("true")
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: no file system can be mounted here");
        return None;
    }
    Some(shell(script).args(args).output().unwrap())
}

/// The training program, for a shell.
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
    // On a disk with space it goes on.
    assert_goes_on(dir.path());
}

#[test]
fn a_folder_that_cannot_be_written_is_one_line() {
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
fn a_run_does_not_go_on_with_other_data_or_another_model() {
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
            r#""optimizer": "adamw""#,
            r#""optimizer": {"sgd": {"momentum": 0.9}}"#,
            &["checkpoint/2/optimizer.bpk", "state of another optimizer"],
        ),
        (
            r#""epochs": 1"#,
            r#""iterations": 1"#,
            &["checkpoint", "iteration 2 of a training of 1"],
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
    let parts = ["metrics.json", "epoch 3 where epoch 1 should be"];
    assert_fails("train", &["--resume", path(&run_folder)], 1, &parts);
}
