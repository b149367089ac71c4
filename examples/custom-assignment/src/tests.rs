use fcos_burn::{
    data::shapes::ShapesConfig,
    model::locations::LocationRule,
    train::{RunFolder, config::TrainingLength},
};

use super::*;

const OBJECT: LabeledBox = LabeledBox {
    bbox: [0.0, 0.0, 40.0, 40.0],
    label: 1,
};

#[test]
fn the_nearest_locations_are_assigned() {
    let locations = Locations::new([64, 64], &[8], LocationRule::HalfStride);
    let assignment = Nearest { count: 1 }.assign(&[OBJECT], &locations);
    let positive = assignment.labels.iter().position(|label| *label == 1);
    // The location in row 2 and column 2 is the center of the box, (20, 20).
    assert_eq!(positive, Some(2 * 8 + 2));
}

#[test]
fn the_best_predictions_are_assigned() {
    let locations = Locations::new([16, 16], &[8], LocationRule::HalfStride);
    let object = LabeledBox {
        bbox: [0.0, 0.0, 16.0, 16.0],
        label: 0,
    };
    let boxes = [
        [0.0, 0.0, 8.0, 8.0],
        object.bbox,
        object.bbox,
        [0.0, 0.0, 1.0, 1.0],
    ];
    let predictions = ImagePredictions::new(1, &[4.0, -1.0, 1.0, 4.0], &boxes);
    let assignment = TaskAligned { count: 1 }.assign(&[object], &locations, &predictions);
    assert_eq!(assignment.labels, [-1, -1, 0, -1]);
}

#[test]
fn both_rules_train() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mut config = RunConfig::small().with_duration(TrainingLength::Epochs(2));
    let shapes = ShapesConfig::default()
        .with_train_images(16)
        .with_val_images(2);
    config.data = DataConfig::shapes(shapes);
    for (name, trainer) in [
        (
            "nearest",
            Trainer::new().with_assignment(Arc::new(Nearest { count: 4 })),
        ),
        (
            "aligned",
            Trainer::new().with_prediction_assignment(Arc::new(TaskAligned { count: 4 })),
        ),
    ] {
        let run = folder.path().join(name);
        trainer.train(config.clone(), &run)?;
        let rows = RunFolder::open(&run)?.read_metrics()?;
        // At most four locations for each of one to three objects in each of eight images.
        let positives = rows[0].train["Positives"];
        assert!((8.0..=96.0).contains(&positives), "{name}: {positives}");
    }
    Ok(())
}
