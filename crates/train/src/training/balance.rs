//! What the training data makes of the settings for rare classes.

use fcos_burn_data::{Category, DetectionDataset, RepeatFactors};
use fcos_burn_loss::{ClassBalance, ClassificationLoss};
use fcos_burn_model::{ConfigError, backbone::BackboneConfig};

use crate::{
    RunConfig,
    config::{Sampling, class_weights::by_class},
};

impl<C: BackboneConfig> RunConfig<C> {
    /// The weights of the classes of the training data `train`, for
    /// [`FcosObjective::with_class_balance`](fcos_burn_loss::FcosObjective::with_class_balance).
    ///
    /// # Errors
    ///
    /// Names a class that the data does not have.
    pub fn class_balance(&self, train: &DetectionDataset) -> Result<ClassBalance, ConfigError> {
        let weights = self.class_weights.as_ref();
        let weights = weights.map(|weights| weights.of(train)).transpose()?;
        let alphas = by_class("focal_alpha", &self.focal_alpha, train.categories())?;
        let alphas = match self.objective.classification {
            ClassificationLoss::Focal { alpha, .. } if !self.focal_alpha.is_empty() => {
                Some(alphas.into_iter().map(|own| own.unwrap_or(alpha)).collect())
            }
            _ => None,
        };
        Ok(ClassBalance::default()
            .with_weights(weights)
            .with_focal_alphas(alphas))
    }
}

/// Lines that tell the repeat factors and weights of the classes, if there are some.
pub(super) fn balance_lines<C: BackboneConfig>(
    config: &RunConfig<C>,
    train: &DetectionDataset,
) -> Result<Vec<String>, ConfigError> {
    let mut lines = Vec::new();
    if let Sampling::RepeatFactor { threshold } = config.sampling {
        let factors = RepeatFactors::new(train, threshold);
        lines.push(line("repeat factors", train.categories(), factors.of_classes()));
    }
    let ClassBalance {
        weights,
        focal_alphas,
        ..
    } = config.class_balance(train)?;
    for (what, values) in [("class weights", weights), ("focal alpha", focal_alphas)] {
        lines.extend(values.map(|values| line(what, train.categories(), &values)));
    }
    Ok(lines)
}

fn line(what: &str, categories: &[Category], values: &[f64]) -> String {
    let classes = categories.iter().zip(values);
    let classes: Vec<String> = classes
        .map(|(class, value)| format!("{} {value:.3}", class.name))
        .collect();
    format!("{what}: {}", classes.join(", "))
}
