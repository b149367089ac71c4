//! A custom loss term in addition to PSE. Like the built-in terms, it is logged, plotted, and divided
//! by the number of positive locations of the whole batch.

use std::{path::Path, sync::Arc};

use burn::tensor::Tensor;
use fcos_burn::{
    loss::{LossTerm, TermInput},
    prelude::*,
};

/// The squared difference between the logarithms of the predicted and the target area.
#[derive(Debug)]
struct AreaLoss {
    weight: f64,
}

impl LossTerm for AreaLoss {
    fn name(&self) -> &str {
        "Area loss"
    }

    fn sum(&self, input: &TermInput) -> Tensor<1> {
        // Adding a pixel keeps the logarithm of the empty background boxes finite.
        let log_area = |boxes: &Tensor<2>| {
            let sides = boxes.clone().narrow(1, 2, 2) - boxes.clone().narrow(1, 0, 2);
            let area = sides.clamp_min(0.0).prod_dim(1).squeeze_dim::<1>(1);
            area.add_scalar(1.0).log()
        };
        let difference = log_area(&input.predicted_boxes) - log_area(&input.target_boxes);
        input
            .sum_over_positives(difference.square())
            .mul_scalar(self.weight)
    }
}

fn run(config: RunConfig, output: &Path) -> Result<Outcome, fcos_burn::train::Error> {
    let term = Arc::new(AreaLoss { weight: 0.1 });
    Trainer::new().with_term(term).train(config, output)
}

fn main() -> Result<(), fcos_burn::train::Error> {
    run(RunConfig::small(), Path::new("runs/custom-loss")).map(drop)
}

#[cfg(test)]
mod tests {
    use fcos_burn::{
        data::shapes::ShapesConfig,
        train::{RunFolder, config::TrainingLength},
    };

    use super::*;

    #[test]
    fn the_term_is_recorded_and_plotted() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let mut config = RunConfig::small().with_duration(TrainingLength::Epochs(2));
        config.data = DataConfig::shapes(
            ShapesConfig::default()
                .with_train_images(16)
                .with_val_images(2),
        );
        run(config, folder.path())?;
        let rows = RunFolder::open(folder.path())?.read_metrics()?;
        assert!(rows.iter().all(|row| row.train["Area loss"] > 0.0));
        // The objective is the sum of its terms.
        for row in &rows {
            let losses = row.train.iter().filter(|(name, _)| name.ends_with(" loss"));
            let sum: f64 = losses.map(|(_, value)| value).sum();
            assert!(
                (sum - row.train["Loss"]).abs() < 1e-3 * sum,
                "{:?}",
                row.train
            );
        }
        let plot = std::fs::read_to_string(folder.path().join("plots/losses.svg"))?;
        assert!(plot.contains("Area loss"));
        Ok(())
    }
}
