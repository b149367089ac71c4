//! The values that trials draw.

use std::{collections::BTreeMap, path::Path};

use fcos_burn_data::{
    rand::RngExt,
    sample_rng,
    transforms::{ColorJitter, ScaleJitter, Transform},
};
use fcos_burn_detect::json::read_json;
use fcos_burn_loss::AssociationLoss;
use fcos_burn_model::{ConfigError, backbone::BackboneConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Error, RunConfig};

/// The fields of a configuration that all trials have in common.
const COMMON: [&str; 2] = ["data", "duration"];

/// Modifies the seed so that trials share no random numbers with training runs.
const TRIALS: u64 = 0x5472_6961_6c73_0000;

/// The values of a trial, by their path in the configuration, such as `optimization.learning_rate`.
pub type TrialValues = BTreeMap<String, Value>;

/// The distribution of each value that a search varies, by its path in the configuration.
///
/// A path names fields, and elements of lists by their index. In a JSON file:
///
/// ```json
/// {
///   "optimization.learning_rate": {"log_uniform": [0.0005, 0.01]},
///   "objective.association.pse.beta": {"uniform": [0.25, 2]},
///   "input.augmentation.0.horizontal_flip.probability": {"uniform": [0, 0.5]},
///   "batch_size": {"choice": [4, 8, 16]}
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SearchSpace(BTreeMap<String, Distribution>);

/// The distribution of a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Distribution {
    /// Numbers between two bounds.
    Uniform([f64; 2]),
    /// Numbers between two bounds above 0, whose logarithm is uniform.
    LogUniform([f64; 2]),
    /// One of these values, each with the same probability.
    Choice(Vec<Value>),
}

impl SearchSpace {
    /// A space around `base`:
    ///
    /// | Value | Distribution |
    /// |---|---|
    /// | learning rate | log-uniform, from a quarter to four times |
    /// | weight decay, if there is one | log-uniform, from a quarter to four times |
    /// | β and k of an association loss, if there is one | log-uniform, from a quarter (k: half) to four times (k: twice) |
    /// | image size | 0.8, 1 or 1.25 times |
    /// | augmentation, unless [`augment`](RunConfig::augment) names one | that of `base`; or with mild or strong jitter of color and scale, where it has none |
    pub fn around<C: BackboneConfig>(base: &RunConfig<C>) -> Self {
        let around = |value: f64, factor: f64| {
            let bounds = [value / factor, value * factor].map(rounded);
            Distribution::LogUniform(bounds)
        };
        let mut space = Self::default();
        let optimization = &base.optimization;
        let rate = optimization.learning_rate;
        space.insert("optimization.learning_rate", around(rate, 4.0));
        let decay = optimization.weight_decay;
        if decay > 0.0 {
            space.insert("optimization.weight_decay", around(decay, 4.0));
        }
        let (name, beta, k) = match base.objective.association {
            Some(AssociationLoss::Pse { beta, k }) => ("pse", beta, k),
            Some(AssociationLoss::Pce { beta, k }) => ("pce", beta, k),
            _ => ("", 0.0, 0.0),
        };
        for (field, value, factor) in [("beta", beta, 4.0), ("k", k, 2.0)] {
            if value > 0.0 {
                let path = format!("objective.association.{name}.{field}");
                space.insert(path, around(value, factor));
            }
        }
        let mut sizes: Vec<Value> = Vec::new();
        for factor in [0.8, 1.0, 1.25] {
            let size = json!(base.input.resize.scaled(factor));
            if !sizes.contains(&size) {
                sizes.push(size);
            }
        }
        space.insert("input.resize", Distribution::Choice(sizes));
        let augmentations = augmentations(&base.input.augmentation);
        // The steps of a named augmentation would replace the drawn ones.
        if base.augment.is_none() && augmentations.len() > 1 {
            space.insert("input.augmentation", Distribution::Choice(augmentations));
        }
        space
    }

    /// Reads a space from a JSON file.
    ///
    /// # Errors
    ///
    /// Names the file and what is malformed in it.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(read_json(path)?)
    }

    /// Leaves out a value, if the space has it.
    pub fn remove(&mut self, path: &str) {
        self.0.remove(path);
    }

    /// Adds a value, or replaces its distribution.
    pub fn insert(&mut self, path: impl Into<String>, distribution: Distribution) {
        self.0.insert(path.into(), distribution);
    }

    /// The varied values, by path.
    pub fn distributions(&self) -> &BTreeMap<String, Distribution> {
        &self.0
    }

    /// Checks every distribution.
    ///
    /// # Errors
    ///
    /// Names the first invalid one, or the first that is of the duration or the data. Fails if there is none.
    pub fn validate(&self) -> Result<(), ConfigError> {
        ConfigError::ensure(!self.0.is_empty(), "space", "empty", "a list of values")?;
        for (path, distribution) in &self.0 {
            let root = path.split('.').next().unwrap_or_default();
            let is_common = COMMON.contains(&root);
            let requirement =
                "left out: trials are compared after the same epochs, on the same data";
            ConfigError::ensure(!is_common, format!("space.{path}"), "given", requirement)?;
            let (holds, requirement) = match distribution {
                Distribution::Uniform([low, high]) => (
                    low.is_finite() && high.is_finite() && low <= high,
                    "two finite bounds, the lower one first",
                ),
                Distribution::LogUniform([low, high]) => (
                    *low > 0.0 && high.is_finite() && low <= high,
                    "two finite bounds above 0, the lower one first",
                ),
                Distribution::Choice(values) => (!values.is_empty(), "at least one value"),
            };
            let value = serde_json::to_string(distribution).unwrap_or_default();
            ConfigError::ensure(holds, format!("space.{path}"), value, requirement)?;
        }
        Ok(())
    }

    /// The values of a trial, which depend only on the seed and the number of the trial. Drawn numbers have three
    /// significant digits, or more if their bounds are close to each other.
    pub fn sample(&self, seed: u64, trial: usize) -> TrialValues {
        let values = self.0.iter().zip(0..).map(|((path, distribution), place)| {
            let mut rng = sample_rng(seed ^ TRIALS, trial as u64, place);
            let value = match distribution {
                Distribution::Uniform([low, high]) => {
                    let value = low + (high - low) * rng.random::<f64>();
                    json!(rounded_between(value, *low, *high))
                }
                Distribution::LogUniform([low, high]) => {
                    let power = low.ln() + (high.ln() - low.ln()) * rng.random::<f64>();
                    json!(rounded_between(power.exp(), *low, *high))
                }
                Distribution::Choice(values) => values[rng.random_range(0..values.len())].clone(),
            };
            (path.clone(), value)
        });
        values.collect()
    }
}

/// A number with three significant digits.
fn rounded(value: f64) -> f64 {
    format!("{value:.2e}").parse().unwrap_or(value)
}

/// A drawn number with three significant digits, or with so many that a thousandth of the distance between its bounds
/// counts. It stays within them.
fn rounded_between(value: f64, low: f64, high: f64) -> f64 {
    let magnitude = |value: f64| value.abs().log10().floor();
    let digits = 2.0 + (magnitude(value) - magnitude(high - low)).clamp(0.0, 14.0);
    let rounded = format!("{value:.*e}", digits as usize).parse();
    rounded.unwrap_or(value).max(low).min(high)
}

/// The steps of a training run, and these with mild and with strong jitter, where they have none.
fn augmentations(own: &[Transform]) -> Vec<Value> {
    let has = |found: fn(&Transform) -> bool| own.iter().any(found);
    let has_color = has(|step| matches!(step, Transform::ColorJitter(_)));
    let has_scale = has(|step| matches!(step, Transform::ScaleJitter(_)));
    let with = |color: f32, scale: f32| {
        let mut steps = own.to_vec();
        if !has_color {
            let jitter = ColorJitter::default()
                .with_brightness(color)
                .with_contrast(color)
                .with_saturation(color)
                .with_hue(color / 10.0);
            steps.push(Transform::ColorJitter(jitter));
        }
        if !has_scale {
            let jitter = ScaleJitter::default().with_range(1.0 - scale, 1.0 + scale);
            steps.push(Transform::ScaleJitter(jitter));
        }
        steps
    };
    let mut all = vec![json!(own)];
    if !(has_color && has_scale) {
        all.extend([json!(with(0.2, 0.125)), json!(with(0.4, 0.375))]);
    }
    all
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_data::transforms::AugmentationStrength;

    use super::*;

    fn space() -> SearchSpace {
        serde_json::from_value(json!({
            "optimization.learning_rate": {"log_uniform": [0.001, 0.1]},
            "objective.association.pse.beta": {"uniform": [-1, 3]},
            "batch_size": {"choice": [4, 8, 16]},
        }))
        .unwrap()
    }

    #[test]
    fn a_trial_depends_on_seed_and_number_only() {
        let space = space();
        assert_eq!(space.sample(3, 5), space.sample(3, 5));
        assert_ne!(space.sample(3, 5), space.sample(3, 6));
        assert_ne!(space.sample(3, 5), space.sample(4, 5));
    }

    /// Means and bounds of many draws; the mean of a log-uniform variable is that of its logarithm.
    #[test]
    fn values_have_their_distributions() {
        const TRIALS: usize = 4000;
        let space = space();
        let trials: Vec<TrialValues> = (0..TRIALS).map(|trial| space.sample(1, trial)).collect();
        let numbers = |path: &str| -> Vec<f64> {
            let value = |trial: &TrialValues| trial[path].as_f64().unwrap();
            trials.iter().map(value).collect()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / TRIALS as f64;
        let rates = numbers("optimization.learning_rate");
        assert!(rates.iter().all(|rate| (0.001..=0.1).contains(rate)));
        let logs: Vec<f64> = rates.iter().map(|rate| rate.log10()).collect();
        // The standard deviation of the mean is 2 / √(12 · 4000), about 0.01.
        assert!((mean(&logs) + 2.0).abs() < 0.05, "{}", mean(&logs));
        let betas = numbers("objective.association.pse.beta");
        assert!(betas.iter().all(|beta| (-1.0..=3.0).contains(beta)));
        assert!((mean(&betas) - 1.0).abs() < 0.1, "{}", mean(&betas));
        for size in [4.0, 8.0, 16.0] {
            let count = numbers("batch_size").iter().filter(|v| **v == size).count();
            assert!(count.abs_diff(TRIALS / 3) < 150, "{count}");
        }
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(rounded(0.001_234_56), 0.001_23);
        assert_eq!(rounded(-98_765.0), -98_800.0);
        assert_eq!(rounded(0.0), 0.0);
    }

    #[test]
    fn drawn_numbers_stay_within_close_bounds() {
        assert_eq!(rounded_between(0.123_456, 0.0, 1.0), 0.123);
        assert_eq!(rounded_between(0.999_87, 0.99, 0.9999), 0.999_87);
        assert_eq!(rounded_between(0.000_456_71, 0.000_456_7, 0.1), 0.000_457);
        assert_eq!(
            rounded_between(0.000_456_7, 0.000_456_7, 0.000_456_7),
            0.000_456_7
        );
        assert_eq!(rounded_between(0.0, 0.0, 1.0), 0.0);
        let mut space = SearchSpace::default();
        let bounds = Distribution::Uniform([0.99, 0.9999]);
        space.insert("optimization.average_decay", bounds);
        let draw = |trial| space.sample(0, trial)["optimization.average_decay"].as_f64();
        let values: Vec<f64> = (0..100).filter_map(draw).collect();
        assert!(values.iter().all(|value| (0.99..=0.9999).contains(value)));
        let distinct: std::collections::BTreeSet<String> =
            values.iter().map(f64::to_string).collect();
        assert!(
            values.len() == 100 && distinct.len() > 80,
            "{}",
            distinct.len()
        );
    }

    #[test]
    fn invalid_distributions_are_named() {
        for (distribution, part) in [
            (json!({"uniform": [2, 1]}), "lower one first"),
            (json!({"log_uniform": [0, 1]}), "above 0"),
            (json!({"choice": []}), "at least one value"),
        ] {
            let space: SearchSpace = serde_json::from_value(json!({ "k": distribution })).unwrap();
            let error = space.validate().unwrap_err().to_string();
            assert!(error.contains("space.k") && error.contains(part), "{error}");
        }
        assert!(SearchSpace::default().validate().is_err());
        assert!(serde_json::from_value::<SearchSpace>(json!({"k": {"normal": [0, 1]}})).is_err());
    }

    /// Every value of the default space makes a valid configuration, also of presets without an association.
    #[test]
    fn the_space_around_a_preset_is_valid() {
        let mut own = RunConfig::small();
        own.input.augmentation = vec![
            Transform::ColorJitter(ColorJitter::default()),
            Transform::ScaleJitter(ScaleJitter::default()),
        ];
        for (base, values) in [(RunConfig::small(), 6), (RunConfig::paper(), 4), (own, 5)] {
            let space = SearchSpace::around(&base);
            space.validate().unwrap();
            assert_eq!(space.distributions().len(), values);
            let named = base.clone().with_augment(Some(AugmentationStrength::Auto));
            let space_of_named = SearchSpace::around(&named).0;
            assert!(!space_of_named.contains_key("input.augmentation"));
            for trial in 0..50 {
                let config = base.with_fields(&space.sample(7, trial)).unwrap();
                config.validate().unwrap();
                assert_ne!(config, base);
            }
        }
    }

    #[test]
    fn unusable_paths_and_values_are_named() {
        let base = RunConfig::small();
        for (path, value, part) in [
            ("optimization.rate", json!(1), "optimization.rate"),
            (
                "optimization.learning_rate.x",
                json!(1),
                "optimization.learning_rate.x",
            ),
            (
                "input.augmentation.7.horizontal_flip",
                json!({}),
                "input.augmentation.7",
            ),
            ("batch_size", json!("many"), "batch_size"),
        ] {
            let values = TrialValues::from([(path.to_owned(), value)]);
            let error = base.with_fields(&values).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        // A field with a default that is left out of files, and an element of a list.
        let values = TrialValues::from([
            (
                "model.postprocess.suppression".to_owned(),
                json!("across-classes"),
            ),
            (
                "input.augmentation.0.horizontal_flip.probability".to_owned(),
                json!(0.25),
            ),
        ]);
        let config = base.with_fields(&values).unwrap();
        assert_eq!(
            json!(config.model.postprocess.suppression),
            "across-classes"
        );
        assert_eq!(
            json!(config.input.augmentation)[0]["horizontal_flip"]["probability"],
            0.25
        );
    }
}
