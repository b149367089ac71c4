//! The search for hyperparameters.

use std::fs;

use fcos_burn::train::{InitialWeights, RunConfig};
use serde_json::Value;

use super::{TINY, assert_fails, command, path, run, stderr};

#[test]
fn a_search_ends_with_a_configuration_for_training() {
    let dir = tempfile::tempdir().unwrap();
    let [config, space, search, output] =
        ["tiny.json", "space.json", "search", "run"].map(|name| dir.path().join(name));
    fs::write(&config, TINY).unwrap();
    let rates = r#"{"optimization.learning_rate": {"log_uniform": [0.0001, 0.01]}}"#;
    fs::write(&space, rates).unwrap();
    let args = [
        "--config",
        path(&config),
        "--space",
        path(&space),
        "--epochs",
        "2",
        "--batch-size",
        "2",
        "--output",
        path(&search),
    ];
    // The time is over after the first epoch.
    let first = run(
        "tune",
        &[&args[..], &["--trials", "1", "--seconds", "0.000001"]].concat(),
    );
    let text = stderr(&first);
    assert!(first.status.success(), "{text}");
    assert!(text.contains("the time is over"), "{text}");
    assert_fails("tune", &args, 1, &["already holds a search"]);

    let second = run("tune", &["--resume", path(&search), "--trials", "2"]);
    let text = stderr(&second);
    assert!(second.status.success(), "{text}");
    assert!(text.contains("trial 0 epoch 2: AP "), "{text}");
    assert!(!text.contains("trial 0 epoch 1: AP "), "{text}");
    let fewer = ["--resume", path(&search), "--trials", "1"];
    assert_fails("tune", &fewer, 1, &["at least 2, as so many have ended"]);
    let more = ["--resume", path(&search), "--epochs", "3"];
    assert_fails("tune", &more, 2, &["cannot be used with"]);
    let other = ["--resume", path(&search)];
    assert_fails(
        "train",
        &other,
        1,
        &["is the folder of a search", "tune --resume"],
    );
    let table = String::from_utf8(second.stdout).unwrap();
    assert!(table.starts_with("# 2 of 2 trials"), "{table}");
    assert_eq!(table, fs::read_to_string(search.join("tuning.md")).unwrap());
    let results: Value =
        serde_json::from_str(&fs::read_to_string(search.join("tuning.json")).unwrap()).unwrap();
    assert_eq!(results["results"].as_array().unwrap().len(), 2);

    let best = search.join("config.json");
    let trained = run(
        "train",
        &["--config", path(&best), "--output", path(&output)],
    );
    assert!(trained.status.success(), "{}", stderr(&trained));
    let [of_best, of_run]: [RunConfig; 2] =
        [best, output.join("config.json")].map(|p| RunConfig::read(&p).unwrap());
    assert_eq!(of_best, of_run);
    let other = ["--resume", path(&output)];
    assert_fails(
        "tune",
        &other,
        1,
        &["is the folder of a training", "train --resume"],
    );

    // It states what the trials started from, wherever it is read.
    assert_eq!(of_best.initial_weights, Some(InitialWeights::Random));
    let tuned = command("tune")
        .args([
            "--weights",
            "run",
            "--config",
            "tiny.json",
            "--space",
            "space.json",
        ])
        .args(["--epochs", "1", "--trials", "1", "--output", "from-run"])
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(tuned.status.success(), "{}", stderr(&tuned));
    let best: RunConfig = RunConfig::read(dir.path().join("from-run/config.json")).unwrap();
    let stated = Some(InitialWeights::All(output.clone()));
    assert_eq!(best.initial_weights, stated);

    fs::write(&space, r#"{"optimization.rate": {"uniform": [0, 1]}}"#).unwrap();
    let other = dir.path().join("other");
    let args = [&args[..8], &["--output", path(&other)]].concat();
    assert_fails("tune", &args, 1, &["optimization.rate"]);
    let paper = ["--preset", "paper", "--output", path(&other)];
    let cause = "duration is 90000 iterations, but must be a number of epochs";
    assert_fails("tune", &paper, 1, &[cause]);
    assert!(!other.exists());
    assert_fails("tune", &args[..8], 2, &["--output <DIR>"]);
    assert_fails("tune", &["--resume", path(&other)], 1, &["tuning.json"]);
}
