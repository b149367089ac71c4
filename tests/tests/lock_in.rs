//! A detector trained from scratch learns its classes with every seed. The association loss must
//! not lock it in to wrong classes.
//!
//! The association loss has four times its default weight here. With β = 1 and eq. (12), rounding
//! decides whether a run locks in. With β = 4 and the tower initialization of FCOS, every run does
//! within seconds.
#![allow(clippy::unwrap_used)]

use fcos_burn::{
    data::shapes::ShapesConfig,
    data::transforms::Resize,
    detect::device::DeviceName,
    eval::CocoMetric,
    loss::{AssociationLoss, AssociationScore},
    model::head::TowerInit,
    train::config::{DataConfig, TrainingLength},
    train::{Outcome, RunConfig, RunFolder, Trainer},
};

const SEEDS: [u64; 3] = [0, 1, 2];

/// A smaller version of the small preset, with six classes. Random guesses would have a class
/// accuracy of one sixth.
fn config(seed: u64) -> RunConfig {
    let shapes = ShapesConfig::default()
        .with_train_images(1200)
        .with_val_images(300)
        .with_size(64, 64)
        .with_max_objects(2)
        .with_min_size(16.0);
    let mut config = RunConfig::small();
    config.input.resize = Resize::Fixed {
        width: shapes.width,
        height: shapes.height,
    };
    config.data = DataConfig::shapes(shapes);
    config.model.backbone.width = 16;
    config.model.fpn.channels = 32;
    config.model.head.tower_depth = 1;
    config.objective.association = Some(AssociationLoss::Pse { beta: 4.0, k: 1.0 });
    config.duration = TrainingLength::Epochs(3);
    config.batch_size = 8;
    config.devices = vec![DeviceName::CPU];
    config.seed = seed;
    config
}

/// The same with the tower initialization of FCOS, and level ranges and a box-loss weight to match.
fn fcos_towers(seed: u64, score: AssociationScore) -> RunConfig {
    let mut config = config(seed);
    config.model.head.tower_init = TowerInit::Fcos;
    config.model.assignment.range_bounds = vec![32.0, 64.0, 128.0, 256.0];
    config.objective.lambda = 1.0;
    config.objective.association_score = score;
    config
}

/// Trains and returns the class accuracy of the last epoch and the AP, both as fractions.
fn trained(config: RunConfig) -> [f64; 2] {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("run");
    let outcome = Trainer::new().train(config, &folder).unwrap();
    let Outcome::Finished(evaluation) = outcome else {
        panic!("the training was interrupted")
    };
    let rows = RunFolder::open(&folder).unwrap().read_metrics().unwrap();
    let accuracy = rows.last().unwrap().train["Class accuracy"];
    [accuracy, evaluation.metric(CocoMetric::AP).unwrap()]
}

#[test]
fn the_default_learns_classes_with_every_seed() {
    for seed in SEEDS {
        let [accuracy, ap] = trained(config(seed));
        assert!(
            accuracy > 0.65 && ap > 0.3,
            "seed {seed}: {accuracy}, AP {ap}"
        );
    }
}

/// Shows that the limits above can fail, and that the choice of score makes the difference.
#[test]
fn the_highest_score_locks_in_but_the_score_of_the_true_class_does_not() {
    for seed in SEEDS {
        let [accuracy, ap] = trained(fcos_towers(seed, AssociationScore::MaxOverClasses));
        assert!(
            accuracy < 0.4 && ap < 0.2,
            "seed {seed}: {accuracy}, AP {ap}"
        );
        let [accuracy, ap] = trained(fcos_towers(seed, AssociationScore::GroundTruthClass));
        assert!(
            accuracy > 0.55 && ap > 0.25,
            "seed {seed}: {accuracy}, AP {ap}"
        );
    }
}
