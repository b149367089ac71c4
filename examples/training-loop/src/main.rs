//! A custom training loop from the parts of the library: loader, step, optimizer, checkpoints,
//! evaluation and run folder, without burn-train's learner.

use std::path::Path;

use burn::{data::dataloader::DataLoader, module::Module, train::TrainStep};
use fcos_burn::{
    prelude::*,
    train::{
        RunFolder,
        data::{BatchLoader, EpochPlan, FirstBatch, TrainCollate},
        run::Position,
        step::StepMetric,
        training::{Splits, initial_model, open_devices, trainable},
    },
};

/// Trains for `steps` steps, with a checkpoint every 50, and evaluates the last weights.
fn run(
    mut config: RunConfig,
    steps: usize,
    output: &Path,
) -> Result<Evaluation, Box<dyn std::error::Error>> {
    config.validate()?;
    let Splits { train, val, .. } = Splits::open(&mut config)?;

    let devices = open_devices(&config)?;
    let host = devices[0].clone().without_autodiff();
    let model = initial_model(&config, &devices[0])?;
    let mut optimizer = config.optimization.optimizer(&model)?;
    let mut scheduler = config.optimization.scheduler(&model, steps)?;
    let mut detector = trainable(&config, model, devices)?;
    let plan = EpochPlan::training(&config)?.with_max_batches(steps);
    let collate = TrainCollate::new(&config)?;
    let loader = BatchLoader::new(train, collate, plan, host.clone(), FirstBatch::START);

    let (folder, log) = RunFolder::create(output)?;
    let mut position = Position::default();
    while position.iteration < steps {
        for batch in loader.iter() {
            let step = TrainStep::step(&detector, batch?);
            let metrics = step.item.read()?;
            if let Some((metric, value)) = metrics.not_finite() {
                return Err(format!("{} is {value}", metric.name()).into());
            }
            detector = detector.optimize(&mut optimizer, scheduler.step(), step.grads);
            position.iteration += 1;
            if position.iteration % 50 == 0 || position.iteration == steps {
                let checkpoints = folder.checkpoints();
                checkpoints.save(&position, detector.detector(), &optimizer, None)?;
                let loss = metrics.metric(&StepMetric::Loss).unwrap_or(f64::NAN);
                log.line(&format!("step {}: loss {loss:.3}", position.iteration))?;
            }
        }
    }
    config.write(folder.config_path())?;
    detector.detector().save(folder.model_path())?;

    let (model, input) = (detector.detector().valid(), config.input.clone());
    let classes = config.data.categories.clone();
    let detector = Detector::new(&model, input, classes, host, config.precision);
    let found = detector.detect_dataset(&val, config.batch_size, config.workers, |_| {})?;
    let evaluation = Evaluation::new(&val, &found)?;
    println!("{}", evaluation.table());
    Ok(evaluation)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(RunConfig::small(), 1000, Path::new("runs/training-loop")).map(drop)
}

#[test]
fn its_run_folder_can_be_loaded() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let shapes = fcos_burn::data::shapes::ShapesConfig::default();
    let mut config = RunConfig::small();
    config.data = DataConfig::shapes(shapes.with_train_images(16).with_val_images(4));
    assert_eq!(run(config, 3, folder.path())?.images, 4);
    Detector::load(folder.path(), &DeviceName::CPU, Precision::F32)?;
    Ok(())
}
