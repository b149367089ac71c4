//! `reproduce` on the command line: tables and figures, exit codes, errors.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce"));
    command.args(args).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that `reproduce` fails with `code` and a message that contains each of `parts`.
fn assert_fails(args: &[&str], code: i32, parts: &[&str]) {
    let output = run(args);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    for part in parts {
        assert!(text.contains(part), "{args:?}: no '{part}' in {text}");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A tiny detector that trains in seconds on the built-in data set.
const TINY: &str = r#"{
    "model": {
        "backbone": {"width": 8},
        "fpn": {"channels": 8},
        "head": {"tower_depth": 1}
    },
    "data": {"source": {"shapes": {
        "train_images": 4, "val_images": 3, "width": 64, "height": 64, "max_objects": 2
    }}},
    "input": {"resize": {"fixed": {"width": 64, "height": 64}}}
}"#;

#[test]
fn a_table_trains_each_run_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tiny.json");
    fs::write(&config, TINY).unwrap();
    let output = dir.path().join("results");
    let reproduce = |epochs: &str, seeds: &str, only: &str| {
        let args = ["--config", path(&config), "--epochs", epochs];
        let more = ["--seeds", seeds, "--resamples", "100", "--only", only];
        let output = ["--output", path(&output)];
        run(&[&["table1"], &args[..], &more, &output].concat())
    };
    // One row, then two: the first is not trained again.
    let first = reproduce("1", "2", "none");
    assert!(first.status.success(), "{}", stderr(&first));
    assert_eq!(stderr(&first).matches("== none").count(), 2);
    let both = reproduce("1", "2", "none,varifocal");
    assert!(both.status.success(), "{}", stderr(&both));
    let messages = stderr(&both);
    assert!(!messages.contains("== none"), "{messages}");
    assert_eq!(messages.matches("== varifocal loss").count(), 2);

    let table = fs::read_to_string(output.join("table1.md")).unwrap();
    assert_eq!(table, String::from_utf8(both.stdout).unwrap());
    for part in ["| none | 2 |", "| varifocal loss | 2 |", "AR100", "95%"] {
        assert!(table.contains(part), "{table}");
    }
    let json = fs::read_to_string(output.join("table1.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rows"][1]["name"], "varifocal");
    let run = |row: usize, seed: usize| &json["rows"][row]["runs"][seed];
    let ap = |row, seed| {
        run(row, seed)["evaluation"]["figures"]["AP"]
            .as_f64()
            .unwrap()
    };
    let mean = ((ap(1, 0) - ap(0, 0)) + (ap(1, 1) - ap(0, 1))) / 2.0;
    let reported = json["rows"][1]["difference"]["AP"]["mean"]
        .as_f64()
        .unwrap();
    assert!((mean - reported).abs() < 1e-12, "{mean}, {reported}");
    let bootstrap = &run(1, 0)["bootstrap"]["AP"];
    let difference = bootstrap["difference"].as_f64().unwrap();
    assert!((difference - (ap(1, 0) - ap(0, 0))).abs() < 1e-12);
    let of_mean = json["rows"][1]["bootstrap"]["AP"]["difference"].as_f64();
    assert!((of_mean.unwrap() - mean).abs() < 1e-12);

    // The table includes all finished runs, whatever is asked for.
    let fewer = reproduce("1", "1", "none");
    assert_eq!(String::from_utf8(fewer.stdout).unwrap(), table);

    // Runs of another duration are rejected.
    let other = reproduce("2", "2", "none");
    assert_eq!(other.status.code(), Some(1));
    assert!(
        stderr(&other).contains("another duration"),
        "{}",
        stderr(&other)
    );
    // So are runs that started from other weights.
    let trained = output.join("runs/none/seed-0");
    let folder = path(&output);
    assert_fails(
        &[
            "table1",
            "--weights",
            path(&trained),
            "--config",
            path(&config),
            "--epochs",
            "1",
            "--output",
            folder,
        ],
        1,
        &["another initial_weights"],
    );
    assert_fails(&["table1", "--only", "nothing"], 2, &["varifocal"]);
    assert_fails(&["table1", "--beta", "2"], 2, &["--beta"]);
}

#[test]
fn figure_3_is_written_with_its_values() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&["figure3", "--output", path(dir.path())]);
    assert!(output.status.success(), "{}", stderr(&output));
    for variant in ["focal", "pse-0.25", "pse-1", "soft-label-focal"] {
        for kind in ["loss", "gradient"] {
            let picture = dir.path().join(format!("figure3-{variant}-{kind}.svg"));
            let svg = fs::read_to_string(picture).unwrap();
            assert_eq!(svg.contains("closed form"), variant != "focal");
        }
    }
    let rows = fs::read_to_string(dir.path().join("figure3.csv")).unwrap();
    assert_eq!(rows.lines().count(), 80 * 80 + 1);
}
