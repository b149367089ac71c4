//! A training run with every option, interrupted and resumed. It is the only test of its process: weights
//! are drawn from a random state that the process shares.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};
use fcos_burn_data::{shapes::ShapesConfig, transforms::Resize};
use fcos_burn_train::{
    Interrupter, Outcome, RunConfig, RunFolder, Trainer,
    config::{
        ClassWeights, DataConfig, Decay, EarlyStopping, IgnoreRule, OptimizerConfig,
        ParameterGroup, Sampling, TrainingLength, Warmup,
    },
    run::EpochRow,
    training::{LineRenderer, initial_model, open_devices},
};

/// A training run with every option of a recipe. AP stays 0, so that it stops after four of six epochs.
fn recipe() -> RunConfig {
    let shapes = ShapesConfig::default()
        .with_train_images(4)
        .with_val_images(2)
        .with_size(64, 64);
    let mut config = RunConfig::small()
        .with_data(DataConfig::shapes(shapes))
        .with_batch_size(2)
        .with_workers(0)
        .with_duration(TrainingLength::Epochs(6))
        .with_validate_every(2)
        .with_early_stopping(Some(EarlyStopping::new(2).with_min_improvement(0.5)))
        .with_sampling(Sampling::RepeatFactor { threshold: 1.0 })
        .with_class_weights(Some(ClassWeights::effective_number()))
        .with_focal_alpha([("ring".to_owned(), 0.5)].into())
        .with_ignore(
            IgnoreRule::default()
                .with_min_side(Some(12.0))
                .with_truncated(true),
        );
    config.input.resize = Resize::Fixed {
        width: 64,
        height: 64,
    };
    config.model.backbone.width = 8;
    config.model.fpn.channels = 8;
    config.model.head.tower_depth = 1;
    config.objective.label_smoothing = Some(0.01);
    let group = ParameterGroup::new("^head").with_learning_rate_factor(0.5);
    config.optimization = config
        .optimization
        .with_optimizer(OptimizerConfig::Sgd {
            momentum: 0.9,
            dampening: 0.0,
            nesterov: true,
        })
        .with_learning_rate(0.01)
        .with_warmup(Warmup::none())
        .with_decay(Decay::one_cycle())
        .with_norm_weight_decay(Some(0.0))
        .with_layer_decay(Some(0.7))
        .with_groups(vec![group.with_weight_decay(Some(1e-3))])
        .with_freeze(vec![r"^backbone\.stem".to_owned()])
        .with_average_decay(Some(0.9));
    config
}

type State = (Vec<EpochRow>, [Vec<u32>; 3]);

/// What a resumed run must have in common with an uninterrupted one: the rows, but for their
/// duration, and the bits of the last, the averaged and the kept weights.
fn state(run: &Path) -> State {
    let folder = RunFolder::open(run).unwrap();
    let mut rows = folder.read_metrics().unwrap();
    rows.iter_mut().for_each(|row| row.seconds = 0.0);
    let config: RunConfig = folder.read_config().unwrap();
    let devices = open_devices(&config).unwrap();
    // Clones share running statistics, which loading writes to.
    let model = || initial_model(&config, &devices[0]).unwrap();
    let checkpoint = (folder.checkpoints()).last(&model(), &config.optimization);
    let checkpoint = checkpoint.unwrap();
    let kept = model().load(folder.model_path()).unwrap();
    let average = checkpoint.average.unwrap();
    let bits = [&checkpoint.model, average.model(), &kept].map(|model| {
        let mut bits = Bits::default();
        model.visit(&mut bits);
        bits.0
    });
    (rows, bits)
}

fn assert_same(found: &State, expected: &State) {
    assert_eq!(found.0, expected.0);
    // `assert_eq` would print all weights.
    let differ = found.1.iter().zip(&expected.1).map(|(a, b)| a != b);
    assert_eq!(differ.collect::<Vec<_>>(), [false; 3]);
}

#[derive(Default)]
struct Bits(Vec<u32>);

impl ModuleVisitor for Bits {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let values = param.val().into_data();
        self.0.extend(values.iter::<f32>().map(f32::to_bits));
    }
}

#[test]
fn a_recipe_with_every_option_is_resumed_to_the_bit() {
    let dir = tempfile::tempdir().unwrap();
    let [whole, run] = ["whole", "run"].map(|name| dir.path().join(name));
    let outcome = Trainer::new().train(recipe(), &whole).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    let expected = state(&whole);
    let rows = expected.0.iter();
    let validated: Vec<bool> = rows.map(|row| row.validation.is_some()).collect();
    assert_eq!(validated, [false, true, false, true]);
    let log = fs::read_to_string(whole.join("train.log")).unwrap();
    for part in [
        "stopped early: AP has not risen by more than 50.00 above the 0.0 of epoch 2 in 2 epochs",
        "repeat factors: ",
        "class weights: ",
        "focal alpha: ",
    ] {
        assert!(log.contains(part), "{log}");
    }

    // Two steps are an epoch. The run is interrupted within an epoch, after the last step of one, and
    // after the validation of one.
    let stopped = || {
        let interrupter = Interrupter::new();
        interrupter.stop(None);
        Trainer::new().with_interrupter(interrupter)
    };
    let stopped_by_line = |start: &'static str| {
        let interrupter = Interrupter::new();
        let trainer = Trainer::new().with_interrupter(interrupter.clone());
        trainer.with_renderer(Box::new(LineRenderer::new(move |line| {
            if line.starts_with(start) {
                interrupter.stop(None);
            }
        })))
    };
    let interrupted = |outcome: Outcome, iteration| {
        assert!(matches!(outcome, Outcome::Interrupted), "{outcome:?}");
        let checkpoints = RunFolder::open(&run).unwrap().checkpoints();
        assert_eq!(checkpoints.iterations().unwrap()[0], iteration);
    };
    interrupted(stopped().train(recipe(), &run).unwrap(), 1);
    interrupted(stopped().resume(&run).unwrap(), 2);
    let before_its_row = stopped_by_line("epoch 2/6  AP");
    interrupted(before_its_row.resume(&run).unwrap(), 4);
    let outcome = Trainer::new().resume(&run).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    assert_same(&state(&run), &expected);

    // A run that has stopped early does not go on.
    let outcome = Trainer::new().resume(&run).unwrap();
    assert!(matches!(outcome, Outcome::Finished(_)));
    assert_same(&state(&run), &expected);
}
