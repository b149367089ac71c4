//! Weights that have a name. None of these tests reaches a server.

use std::{
    collections::HashMap,
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Output,
};

use safetensors::{SafeTensors, tensor::TensorView};
use tempfile::TempDir;

use super::{command, error_line, fine_tuning, path, run, stderr, torchvision_weights};

/// Runs a command with an empty cache folder, and an address to fetch from that nobody listens at.
struct Setup {
    cache: TempDir,
    mirror: String,
}

impl Setup {
    fn new() -> Self {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        Self {
            cache: tempfile::tempdir().unwrap(),
            mirror: format!("http://{}/models", closed.local_addr().unwrap()),
        }
    }

    fn run(&self, name: &str, args: &[&str]) -> Output {
        command(name)
            .args(args)
            .current_dir(self.cache.path())
            .env("FCOS_BURN_CACHE", self.cache.path())
            .env("FCOS_BURN_MIRROR", &self.mirror)
            .output()
            .unwrap()
    }

    /// `detect` with these weights.
    fn detect(&self, weights: &str, more: &[&str]) -> Output {
        fs::write(self.cache.path().join("a.jpg"), "").unwrap();
        let args = ["--weights", weights, "--input", "a.jpg", "--output", "out"];
        self.run("detect", &[&args[..], more].concat())
    }

    fn file(&self, name: &str) -> PathBuf {
        let folder = self.cache.path().join("weights");
        fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }
}

fn assert_parts(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "no '{part}': {line}");
    }
}

#[test]
fn names_are_listed_with_the_state_of_their_files() {
    let setup = Setup::new();
    let set_length = |name, length| {
        let file = File::create(setup.file(name)).unwrap();
        file.set_len(length).unwrap();
    };
    set_length("resnet18-f37072fd.pth", 46_830_571);
    set_length("resnet34-b627a593.pth.part", 1_500_000);
    let output = setup.run("weights", &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let table = String::from_utf8(output.stdout).unwrap();
    let line = |start: &str| {
        let mut lines = table.lines().filter(|line| line.starts_with(start));
        lines.next().unwrap().trim_end().to_owned()
    };
    let detector = line("torchvision/fcos_resnet50_fpn ");
    assert_parts(&detector, &["detector", "COCO", "129.6", "BSD-3-Clause"]);
    assert!(detector.ends_with("no"), "{detector}");
    assert!(line("torchvision/resnet18 ").ends_with("yes"), "{table}");
    assert!(line("torchvision/resnet34 ").ends_with("1.5 MB"), "{table}");
    let folder = line("cache folder: ");
    assert!(
        folder.ends_with(path(&setup.cache.path().join("weights"))),
        "{folder}"
    );
}

#[test]
fn a_server_that_is_down_is_named() {
    let setup = Setup::new();
    let address = format!("{}/fcos_resnet50_fpn_coco-99b0c9b7.pth", setup.mirror);
    let weights = "torchvision/fcos_resnet50_fpn";
    assert_parts(&error_line(&setup.detect(weights, &[])), &[&address]);
    let output = setup.run("train", &["--weights", "torchvision/resnet18"]);
    let address = format!("{}/resnet18-f37072fd.pth", setup.mirror);
    assert_parts(&error_line(&output), &[&address]);
}

#[test]
fn nothing_is_fetched_offline() {
    let setup = Setup::new();
    let weights = "torchvision/fcos_resnet50_fpn";
    let line = error_line(&setup.detect(weights, &["--offline"]));
    let folder = path(setup.cache.path());
    assert_parts(&line, &[weights, "not in the cache", folder, "--offline"]);

    fs::write(
        setup.file("fcos_resnet50_fpn_coco-99b0c9b7.pth"),
        "something else",
    )
    .unwrap();
    let line = error_line(&setup.detect(weights, &["--offline"]));
    assert_parts(&line, &["99b0c9b7.pth is corrupt", "--offline"]);
}

#[test]
fn unknown_names_are_refused_with_a_similar_one() {
    let setup = Setup::new();
    let output = setup.run("train", &["--weights", "torchvision/resnet5"]);
    assert_parts(
        &error_line(&output),
        &["did you mean", "torchvision/resnet50"],
    );
    let line = error_line(&setup.detect("resnet34", &[]));
    assert_parts(&line, &["did you mean torchvision/resnet34?"]);
    let output = setup.run("weights", &["torchvision/resnet18", "resnet"]);
    assert_parts(&error_line(&output), &["named resnet:"]);
}

#[test]
fn a_backbone_is_not_fetched_as_a_detector() {
    let setup = Setup::new();
    let line = error_line(&setup.detect("torchvision/resnet18", &[]));
    assert_parts(&line, &["torchvision/resnet18 is only a backbone"]);
    assert!(!line.contains("127.0.0.1"), "{line}");
}

#[test]
fn mirrors_without_https_are_refused() {
    let setup = Setup {
        mirror: "http://example.com/models".to_owned(),
        ..Setup::new()
    };
    let line = error_line(&setup.detect("torchvision/fcos_resnet50_fpn", &[]));
    assert_parts(&line, &["http://example.com/models", "only HTTPS"]);
}

#[test]
fn files_come_before_names() {
    let setup = Setup::new();
    let folder = setup.cache.path().join("torchvision");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("resnet18"), "not weights").unwrap();
    let line = error_line(&setup.detect("torchvision/resnet18", &[]));
    assert_parts(&line, &["cannot read weights from torchvision/resnet18"]);
}

/// Weights of ResNet-18 under the names of torchvision's classification network.
fn classification_weights(dir: &Path) -> PathBuf {
    let bytes = fs::read(torchvision_weights(dir)).unwrap();
    let detector = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: HashMap<String, TensorView<'_>> = detector
        .tensors()
        .into_iter()
        .filter_map(|(name, tensor)| {
            Some((name.strip_prefix("backbone.body.")?.to_owned(), tensor))
        })
        .collect();
    let classifier = detector
        .tensor("head.classification_head.cls_logits.bias")
        .unwrap();
    tensors.insert("fc.bias".to_owned(), classifier);
    let file = dir.join("resnet18.pth");
    safetensors::serialize_to_file(tensors, None, &file).unwrap();
    file
}

#[test]
fn a_classification_network_sets_the_backbone() {
    let dir = tempfile::tempdir().unwrap();
    let weights = classification_weights(dir.path());
    let config = dir.path().join("config.json");
    let write_config = |backbone: &str| {
        let text = format!(
            r#"{{"model": {{{backbone} "fpn": {{"channels": 8}}, "head": {{"tower_depth": 1}}}},
                "data": {{"source": {{"shapes": {{"train_images": 2, "val_images": 1}}}}}}}}"#
        );
        fs::write(&config, text).unwrap();
    };
    let run_folder = dir.path().join("run");
    let args = fine_tuning(&weights, &config, &run_folder);

    write_config("");
    let line = error_line(&run(
        "train",
        &[&args[..], &["--backbone", "resnet50"]].concat(),
    ));
    assert_parts(
        &line,
        &[
            "resnet18.pth have the backbone resnet18",
            "--backbone chooses resnet50",
            "leave it out",
        ],
    );
    write_config(r#""backbone": {"width": 24},"#);
    let line = error_line(&run("train", &args));
    assert_parts(&line, &["--config chooses resnet18 of width 24"]);

    write_config("");
    let output = run("train", &args);
    let text = stderr(&output);
    assert!(output.status.success(), "{text}");
    assert_parts(&text, &["torchvision's ResNet, without fc.bias"]);
    let saved = fs::read_to_string(run_folder.join("config.json")).unwrap();
    let saved: serde_json::Value = serde_json::from_str(&saved).unwrap();
    assert_eq!(saved["model"]["backbone"]["depth"], "resnet18");
    assert_eq!(saved["model"]["backbone"]["width"], 64);
}
