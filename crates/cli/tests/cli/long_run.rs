//! Long runs: memory and the number of threads do not grow after the first quarter.
//!
//! `cargo test --release --workspace --test cli long_run -- --ignored --nocapture`
//! takes ten minutes on two cores.

use std::{
    process::Stdio,
    thread::sleep,
    time::{Duration, Instant},
};

use super::*;

const INTERVAL: Duration = Duration::from_millis(50);

/// The resources that a process uses at one time.
struct Sample {
    seconds: f64,
    resident_kib: f64,
    threads: f64,
}

/// Runs a command to its end, and samples its resources twenty times a second.
fn watch(name: &str, args: &[&str]) -> Vec<Sample> {
    let mut child = command(name)
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let mut samples = Vec::new();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        // The file is gone if the process has just ended.
        let text = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let value = |key: &str| -> Option<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        if let (Some(resident_kib), Some(threads)) = (value("VmRSS"), value("Threads")) {
            samples.push(Sample {
                seconds: started.elapsed().as_secs_f64(),
                resident_kib,
                threads,
            });
        }
        sleep(INTERVAL);
    };
    assert!(status.success(), "{name} {args:?}");
    samples
}

/// After the first quarter of a run of `count` steps or images, memory grows by less than 5%, and
/// the number of threads never exceeds its earlier maximum.
fn assert_flat(what: &str, unit: &str, count: usize, samples: &[Sample]) {
    assert!(
        samples.len() >= 40,
        "{what}: only {} samples",
        samples.len()
    );
    let (warm_up, rest) = samples.split_at(samples.len() / 4);
    let mean =
        |value: &dyn Fn(&Sample) -> f64| rest.iter().map(value).sum::<f64>() / rest.len() as f64;
    let (time, memory) = (mean(&|s| s.seconds), mean(&|s| s.resident_kib));
    let covariance = mean(&|s| (s.seconds - time) * (s.resident_kib - memory));
    let slope = covariance / mean(&|s| (s.seconds - time).powi(2));
    let seconds = samples.last().map_or(0.0, |last| last.seconds);
    let growth = slope * seconds * 0.75;
    let most = |samples: &[Sample]| samples.iter().map(|s| s.threads).fold(0.0, f64::max);
    let (before, after) = (most(warm_up), most(rest));
    eprintln!(
        "{what}, {count} {unit}s: {:.0} MiB, {:+.3} KiB per {unit}, at most {after} threads",
        memory / 1024.0,
        slope * seconds / count as f64,
    );
    assert!(
        growth < memory / 20.0,
        "{what}: grew by {growth:.0} KiB to {memory:.0}"
    );
    assert!(after <= before, "{what}: {before} threads, then {after}");
}

#[test]
#[ignore = "takes minutes"]
fn memory_is_flat_over_two_thousand_training_steps() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let samples = watch("train", &["--epochs", "8", "--output", path(&run)]);
    assert!(run.join("checkpoint/2000").is_dir());
    assert_flat("training", "step", 2000, &samples);
}

#[test]
#[ignore = "takes a minute"]
fn memory_is_flat_over_ten_thousand_evaluated_images() {
    let dir = tempfile::tempdir().unwrap();
    let run = trained(dir.path());
    change_config(&run, "\"val_images\": 3", "\"val_images\": 10000");
    let samples = watch("evaluate", &["--weights", path(&run)]);
    assert_flat("evaluation", "image", 10_000, &samples);
}
