//! A custom augmentation, which configuration files can name like the built-in ones.

use std::path::Path;

use fcos_burn::{
    data::{
        DataError,
        rand::{Rng, RngExt},
        transforms::{Augmentation, Augmentations, Sample},
    },
    prelude::*,
};
use serde::Deserialize;

/// Converts some images to grayscale.
#[derive(Debug, Deserialize)]
struct RandomGray {
    probability: f64,
}

impl Augmentation for RandomGray {
    fn apply(&self, sample: Sample, rng: &mut dyn Rng) -> Result<Sample, DataError> {
        if !rng.random_bool(self.probability) {
            return Ok(sample);
        }
        // Luma of ITU-R BT.601.
        Ok(sample.recolor(|[red, green, blue]| {
            let weighted = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue);
            [((weighted + 500) / 1000) as u8; 3]
        }))
    }

    fn validate(&self) -> Result<(), DataError> {
        DataError::require_in_range("probability", self.probability, 0.0..=1.0)
    }
}

/// Changes to a configuration, in the format of a file.
const CHANGES: &str = r#"{"input": {"augmentation": [
    {"horizontal_flip": {"probability": 0.5}},
    {"random_gray": {"probability": 0.1}}
]}}"#;

fn run(config: RunConfig, output: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    std::fs::create_dir_all(output)?;
    let changes = output.join("changes.json");
    std::fs::write(&changes, CHANGES)?;
    let config = config.merge_file(&changes)?;
    let augmentations = Augmentations::default().with::<RandomGray>("random_gray")?;
    let trainer = Trainer::new().with_augmentations(augmentations);
    Ok(trainer.train(config, output.join("run"))?)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(RunConfig::small(), Path::new("runs/custom-augmentation")).map(drop)
}

#[cfg(test)]
mod tests {
    use fcos_burn::{
        data::{RgbImage, image::Rgb, sample_rng, shapes::ShapesConfig},
        train::config::TrainingLength,
    };

    use super::*;

    #[test]
    fn gray_is_luma() -> Result<(), DataError> {
        let image = RgbImage::from_pixel(2, 2, Rgb([255, 0, 0]));
        let sample = Sample::new(image, []);
        let gray = RandomGray { probability: 1.0 }.apply(sample, &mut sample_rng(0, 0, 0))?;
        assert_eq!(gray.image().get_pixel(0, 0), &Rgb([76; 3]));
        Ok(())
    }

    #[test]
    fn it_trains_and_must_be_registered_to_resume() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let mut config = RunConfig::small().with_duration(TrainingLength::Epochs(2));
        let shapes = ShapesConfig::default()
            .with_train_images(8)
            .with_val_images(2);
        config.data = DataConfig::shapes(shapes);
        run(config, folder.path())?;
        // The run's configuration names the augmentation, which this trainer does not know.
        let error = Trainer::new().resume(folder.path().join("run"));
        let error = error
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(
            error.contains("random_gray") && error.contains("horizontal_flip"),
            "{error}"
        );
        Ok(())
    }
}
