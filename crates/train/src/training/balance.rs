//! Class weights and repeat factors of the training data.

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

/// Log lines with the repeat factors and weights of the classes, if the configuration sets any.
pub(super) fn balance_lines<C: BackboneConfig>(
    config: &RunConfig<C>,
    train: &DetectionDataset,
) -> Result<Vec<String>, ConfigError> {
    let mut lines = Vec::new();
    if let Sampling::RepeatFactor { threshold } = config.sampling {
        let factors = RepeatFactors::new(train, threshold);
        lines.push(line(
            "repeat factors",
            train.categories(),
            factors.of_classes(),
        ));
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::{BoundingBox, DataError, ImageRecord, ImageSource, Object};
    use image::RgbImage;

    use super::*;
    use crate::config::ClassWeights;

    #[derive(Debug)]
    struct Black;

    impl ImageSource for Black {
        fn image(&self, _index: usize) -> Result<RgbImage, DataError> {
            Ok(RgbImage::new(32, 32))
        }
    }

    /// Four images with 2, 1 and 1 cells and one platelet, and a crowd of platelets.
    fn blood() -> DetectionDataset {
        let labels: [&[usize]; 4] = [&[0, 0], &[0, 1], &[0], &[]];
        let images = labels.iter().enumerate().map(|(index, labels)| {
            let bbox = BoundingBox::new(4.0, 4.0, 12.0, 12.0);
            let objects = labels.iter().map(|&label| Object::new(0, bbox, label));
            let crowd = Object::new(0, bbox, 1).with_iscrowd(true);
            let objects = objects.chain((index == 3).then_some(crowd));
            ImageRecord::new(index as u64 + 1, index.to_string(), 32, 32)
                .with_objects(objects.collect())
        });
        let categories = Category::list(["cell", "platelet"]);
        DetectionDataset::new("blood", categories, images.collect(), Black).unwrap()
    }

    #[test]
    fn classes_are_weighted_by_their_training_objects_or_by_name() {
        let train = blood();
        let config = RunConfig::small();
        assert_eq!(config.class_balance(&train), Ok(ClassBalance::default()));
        let effective = ClassWeights::EffectiveNumber { beta: 0.5 };
        let weights = |weights| {
            let config = RunConfig::small().with_class_weights(Some(weights));
            config
                .class_balance(&train)
                .map(|balance| balance.weights.unwrap())
        };
        // E(4) = 15/8 and E(1) = 1: weights in the ratio 8 : 15, with a mean of 1.
        let found = weights(effective).unwrap();
        for (weight, expected) in found.iter().zip([16.0 / 23.0, 30.0 / 23.0]) {
            assert!((weight - expected).abs() < 1e-12, "{found:?}");
        }
        let given = |class: &str| ClassWeights::Given([(class.to_owned(), 4.0)].into());
        assert_eq!(weights(given("platelet")), Ok(vec![1.0, 4.0]));
        let error = weights(given("plate")).unwrap_err().to_string();
        assert_eq!(
            error,
            "class_weights.given is plate, but must be named after classes of the data: cell, platelet"
        );
    }

    #[test]
    fn the_lines_list_factors_and_weights_by_class() {
        let train = blood();
        let config = RunConfig::small();
        assert!(balance_lines(&config, &train).unwrap().is_empty());
        let config = config
            .with_sampling(Sampling::RepeatFactor { threshold: 1.0 })
            .with_class_weights(Some(ClassWeights::EffectiveNumber { beta: 0.5 }))
            .with_focal_alpha([("platelet".to_owned(), 0.5)].into());
        config.validate().unwrap();
        let lines = [
            // √(4/3) and √4.
            "repeat factors: cell 1.155, platelet 2.000",
            "class weights: cell 0.696, platelet 1.304",
            "focal alpha: cell 0.250, platelet 0.500",
        ];
        assert_eq!(balance_lines(&config, &train).unwrap(), lines);
    }
}
