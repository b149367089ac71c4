//! Training runs that start from the weights in the program.

use std::{fs, path::Path};

use safetensors::SafeTensors;

use super::{
    assert_fails,
    data::{RED_BLUE, data_set},
    path, run, stderr,
};

const BUILTIN: &str = "starting from the built-in weights";
const SCRATCH: &str = "starting from random weights";

/// Trains on `data` with a learning rate that changes no weight; the messages, and the weights as a
/// safetensors file of 16 bits.
fn train(dir: &Path, data: &str, name: &str, more: &[&str]) -> (String, Vec<u8>) {
    let (folder, file) = (dir.join(name), dir.join(format!("{name}.safetensors")));
    let args = ["--data", data, "--epochs", "1", "--lr", "1e-30"];
    let output = ["--output", path(&folder)];
    let trained = run("train", &[&args, more, &output].concat());
    assert!(trained.status.success(), "{}", stderr(&trained));
    let args = ["--weights", path(&folder), "--output", path(&file)];
    let format = ["--format", "safetensors", "--half"];
    let exported = run("export", &[&args[..], &format].concat());
    assert!(exported.status.success(), "{}", stderr(&exported));
    (stderr(&trained), fs::read(file).unwrap())
}

/// The number of convolutions that are those of the built-in weights, and the names of the others.
fn convolutions(weights: &[u8]) -> (usize, Vec<String>) {
    let builtin = SafeTensors::deserialize(fcos_burn_builtin::WEIGHTS).unwrap();
    let weights = SafeTensors::deserialize(weights).unwrap();
    let mut convolutions = builtin.tensors();
    convolutions.retain(|(_, tensor)| tensor.shape().len() == 4);
    let (same, others): (Vec<_>, Vec<_>) = convolutions.into_iter().partition(|(name, tensor)| {
        let found = weights.tensor(name).unwrap();
        halves(found.data()).eq(halves(tensor.data()))
    });
    let others = others.into_iter().map(|(name, _)| name);
    (same.len(), others.collect())
}

/// The bits of numbers of 16 bits. An optimizer can turn 0 into -0.
fn halves(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let halves = bytes.chunks_exact(2);
    halves.map(|half| match u16::from_le_bytes([half[0], half[1]]) {
        0x8000 => 0,
        half => half,
    })
}

#[test]
fn own_data_starts_from_the_built_in_weights() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "data", &RED_BLUE);
    let data = path(&data);

    let (text, weights) = train(dir, data, "default", &[]);
    assert!(
        text.contains(BUILTIN) && text.contains("--from-scratch"),
        "{text}"
    );
    let (same, others) = convolutions(&weights);
    assert!(same > 20, "{same}");
    assert_eq!(others, ["head.class_logits.weight"]);

    let (text, named) = train(dir, data, "named", &["--weights", "builtin"]);
    assert!(text.contains(BUILTIN), "{text}");
    assert!(named == weights);

    let (text, weights) = train(dir, data, "scratch", &["--from-scratch"]);
    assert!(text.contains(SCRATCH), "{text}");
    assert_eq!(convolutions(&weights).0, 0);
}

#[test]
fn the_configuration_of_a_run_repeats_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "data", &RED_BLUE);
    let data = path(&data);
    let (_, from_run) = train(dir, data, "first", &["--seed", "5", "--from-scratch"]);
    let first = dir.join("first");
    let starts = [
        ("scratch", vec!["--from-scratch"], true),
        ("builtin", vec![], false),
        ("run", vec!["--weights", path(&first)], false),
        (
            "body",
            vec!["--weights", path(&first), "--new-classifier"],
            false,
        ),
    ];
    let mut found = vec![from_run];
    for (name, flags, is_random) in starts {
        let (_, weights) = train(dir, data, name, &flags);
        let config = dir.join(name).join("config.json");
        let repeat = format!("{name}-again");
        let (text, again) = train(dir, data, &repeat, &["--config", path(&config)]);
        assert!(again == weights, "{name}");
        assert_eq!(text.contains(SCRATCH), is_random, "{name}: {text}");
        let [one, other] = [name, repeat.as_str()]
            .map(|name| fs::read_to_string(dir.join(name).join("config.json")).unwrap());
        assert_eq!(one, other);
        found.push(weights);
    }
    for (index, weights) in found.iter().enumerate() {
        assert!(!found[index + 1..].contains(weights), "{index}");
    }

    // A model that flags change is no longer that of the built-in weights.
    let config = dir.join("builtin").join("config.json");
    let flags = ["--config", path(&config), "--centerness"];
    let (text, _) = train(dir, data, "centerness", &flags);
    assert!(text.contains(SCRATCH), "{text}");
    let config = dir.join("run").join("config.json");
    let flags = ["--config", path(&config), "--backbone", "resnet34"];
    assert_fails("train", &flags, 1, &[path(&first), "--backbone chooses"]);
    let set = ["--set", "initial_weights=random"];
    assert_fails("train", &set, 1, &["--from-scratch"]);

    // Flags override the file.
    let config = dir.join("scratch").join("config.json");
    let flags = ["--config", path(&config), "--weights", "builtin"];
    let (text, weights) = train(dir, data, "flag", &flags);
    assert!(text.contains(BUILTIN) && weights == found[2], "{text}");
}

#[test]
fn other_models_and_generated_data_start_from_random_weights() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let data = data_set(dir, "data", &RED_BLUE);
    let model = dir.join("model.json");
    fs::write(&model, r#"{"model": {"head": {"tower_depth": 1}}}"#).unwrap();
    let (text, _) = train(dir, path(&data), "model", &["--config", path(&model)]);
    assert!(text.contains(SCRATCH) && !text.contains(BUILTIN), "{text}");

    let few = ["--set", "data.source.shapes.train_images=8"];
    let few = [&few[..], &["--set", "data.source.shapes.val_images=2"]].concat();
    let (text, weights) = train(dir, "shapes", "shapes", &few);
    assert!(!text.contains(BUILTIN), "{text}");
    assert_eq!(convolutions(&weights).0, 0);
}

#[test]
fn the_built_in_weights_only_start_trainings() {
    let weights = ["--weights", "builtin"];
    assert_fails("evaluate", &weights, 1, &["`train` starts from them"]);
    let train = ["--weights", "builtin", "--from-scratch"];
    assert_fails("train", &train, 2, &["--from-scratch"]);
}
