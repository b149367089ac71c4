//! Arguments for how a detector is trained: optimization, rare classes, noisy labels.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use fcos_burn::{
    data::serde_json::{self, Value},
    loss::ConfigError,
    train::{
        RunConfig,
        config::{
            ClassWeights, Decay, EarlyStopping, OptimizerConfig, ParameterGroup, Sampling, Warmup,
        },
    },
};

use super::number::{
    parse_count, parse_decay, parse_non_negative, parse_pixels, parse_positive, parse_share,
    parse_smoothing, parse_threshold,
};

/// How a detector is trained.
#[derive(Args, Clone, Debug)]
pub struct RecipeArgs {
    /// Use this optimizer: adamw, or sgd with a momentum of 0.9; learning rate and weight decay stay
    /// those of the preset [default: small: adamw, paper: sgd]
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// Set the momentum of sgd [default: 0.9]
    #[arg(long, value_name = "M", value_parser = parse_decay, allow_negative_numbers = true)]
    momentum: Option<f64>,
    /// Set the dampening of the momentum of sgd [default: 0]
    #[arg(long, value_name = "D", value_parser = parse_share, allow_negative_numbers = true)]
    dampening: Option<f64>,
    /// Use Nesterov momentum in sgd
    #[arg(long)]
    nesterov: bool,
    /// Set the decay rates of the moments of adamw [default: 0.9,0.999]
    #[arg(long, value_name = "BETA1,BETA2", value_parser = parse_betas, allow_negative_numbers = true)]
    betas: Option<[f64; 2]>,
    /// Set the epsilon of adamw [default: 1e-8]
    #[arg(long, value_name = "EPSILON", value_parser = parse_positive, allow_negative_numbers = true)]
    epsilon: Option<f64>,
    /// Set the weight decay of all parameters except biases [default: small: 0.05, paper: 0.0001]
    #[arg(long, value_name = "DECAY", value_parser = parse_non_negative, allow_negative_numbers = true)]
    weight_decay: Option<f64>,
    /// Set the weight decay of the weights of normalization layers [default: that of other weights]
    #[arg(long, value_name = "DECAY", value_parser = parse_non_negative, allow_negative_numbers = true)]
    norm_weight_decay: Option<f64>,
    /// Use this learning rate schedule after the warm-up: cosine or linear (decays to 0), steps
    /// (divides by 10 after 70% and 90% of the training), or one-cycle (rises from 1/25 in the first
    /// 30%, then decays to 1/250,000, without another warm-up) [default: small: cosine, paper:
    /// divides by 10 after 60,000 and 80,000 iterations]
    #[arg(long, value_enum)]
    lr_decay: Option<LrDecay>,
    /// Multiply the learning rate of each stage of the backbone by this factor for every stage
    /// above it [default: 1]
    #[arg(long, value_name = "FACTOR", value_parser = parse_threshold, allow_negative_numbers = true)]
    layer_decay: Option<f64>,
    /// Multiply the learning rate by a factor, or set the weight decay, where this regular
    /// expression matches the name of the parameter: '^backbone lr=0.1 wd=0'; the first of several
    /// groups counts
    #[arg(long = "group", value_name = "PATTERN [lr=FACTOR] [wd=DECAY]", value_parser = parse_group)]
    groups: Vec<ParameterGroup>,
    /// Freeze the parameters whose name this regular expression matches, such as '^backbone'; can be
    /// repeated
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Validate after every Nth epoch, and after the last one [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    validate_every: Option<usize>,
    /// End the training when AP has not improved for this many epochs [default: never]
    #[arg(long, value_name = "EPOCHS", value_parser = parse_count)]
    patience: Option<usize>,
    /// Count only rises of AP, from 0 to 1, by more than this as improvements [default: 0]
    #[arg(long, value_name = "AP", requires = "patience", value_parser = parse_share, allow_negative_numbers = true)]
    min_improvement: Option<f64>,
    /// Draw the images of an epoch: uniform (each once), or repeat-factor (more often those with
    /// classes in less than a fraction T of the images, 0.001 by default) [default: uniform]
    #[arg(long, value_name = "uniform|repeat-factor[=T]", value_parser = parse_sampling)]
    sampling: Option<Sampling>,
    /// Weigh the classification loss by class: effective-number (by the number of objects; BETA is
    /// 0.999 by default), or a weight for each class by name [default: all 1]
    #[arg(long, value_name = "effective-number[=BETA]|CLASS=W,…", value_parser = parse_class_weights)]
    class_weights: Option<ClassWeights>,
    /// Set the weight alpha of the positive locations of single classes in the focal loss [default:
    /// 0.25]
    #[arg(long, value_name = "CLASS=ALPHA,…", value_parser = parse_by_class)]
    focal_alpha: Option<ByClass>,
    /// Smooth the labels of the focal loss: 0 and 1 become this value and 1 minus it [default: 0]
    #[arg(long, value_name = "EPSILON", value_parser = parse_smoothing, allow_negative_numbers = true)]
    label_smoothing: Option<f64>,
    /// Ignore objects whose shorter side is below this length in the network's input [default: none]
    #[arg(long, value_name = "PIXELS", value_parser = parse_pixels, allow_negative_numbers = true)]
    ignore_min_side: Option<f32>,
    /// Ignore objects whose area is below this one in the network's input [default: none]
    #[arg(long, value_name = "PIXELS", value_parser = parse_pixels, allow_negative_numbers = true)]
    ignore_min_area: Option<f32>,
    /// Ignore objects that the border of the image cuts off
    #[arg(long)]
    ignore_truncated: bool,
    /// Set any field of the configuration, after all other flags, such as
    /// optimization.decay.one-cycle.pct_start=0.2; can be repeated
    #[arg(long = "set", value_name = "FIELD=VALUE", value_parser = parse_field)]
    fields: Vec<(String, Value)>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Optimizer {
    Sgd,
    #[value(name = "adamw")]
    AdamW,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LrDecay {
    Steps,
    Cosine,
    Linear,
    OneCycle,
}

type ByClass = BTreeMap<String, f64>;

impl RecipeArgs {
    /// Changes `config` as the flags say.
    ///
    /// # Errors
    ///
    /// Names the option that the optimizer does not have.
    pub fn apply(&self, config: &mut RunConfig) -> Result<(), ConfigError> {
        self.set_optimizer(&mut config.optimization.optimizer)?;
        let optimization = &mut config.optimization;
        set(&mut optimization.weight_decay, self.weight_decay);
        set_some(&mut optimization.norm_weight_decay, self.norm_weight_decay);
        set_some(&mut optimization.layer_decay, self.layer_decay);
        match self.lr_decay {
            Some(LrDecay::Steps) => optimization.decay = Decay::default(),
            Some(LrDecay::Cosine) => optimization.decay = Decay::Cosine { end: 0.0 },
            Some(LrDecay::Linear) => optimization.decay = Decay::Linear { end: 0.0 },
            Some(LrDecay::OneCycle) => {
                optimization.decay = Decay::one_cycle();
                optimization.warmup = Warmup::none();
            }
            None => {}
        }
        if !self.groups.is_empty() {
            optimization.groups.clone_from(&self.groups);
        }
        if !self.freeze.is_empty() {
            optimization.freeze.clone_from(&self.freeze);
        }
        set(&mut config.validate_every, self.validate_every);
        if let Some(patience) = self.patience {
            let stopping = config.early_stopping.get_or_insert(EarlyStopping::new(1));
            stopping.patience = patience;
            set(&mut stopping.min_improvement, self.min_improvement);
        }
        set(&mut config.sampling, self.sampling);
        set_some(&mut config.class_weights, self.class_weights.clone());
        set(&mut config.focal_alpha, self.focal_alpha.clone());
        set_some(&mut config.objective.label_smoothing, self.label_smoothing);
        set_some(&mut config.ignore.min_side, self.ignore_min_side);
        set_some(&mut config.ignore.min_area, self.ignore_min_area);
        config.ignore.truncated |= self.ignore_truncated;
        Ok(())
    }

    /// The configuration with the fields that are set one by one.
    ///
    /// # Errors
    ///
    /// Names the field that does not exist, or whose value is of the wrong type.
    pub fn with_fields(&self, config: RunConfig) -> Result<RunConfig, ConfigError> {
        config.with_fields(self.fields.iter().map(|(field, value)| (field, value)))
    }

    /// Whether `--set` names this field or a part of it, or has it in the value of what it is a part of.
    pub fn sets(&self, field: &str) -> bool {
        // The rest of a path below another one, as a JSON pointer.
        let below = |path: &str, other: &str| {
            let rest = path.strip_prefix(other)?;
            (rest.is_empty() || rest.starts_with('.')).then(|| rest.replace('.', "/"))
        };
        self.fields.iter().any(|(name, value)| {
            let contains = |path: String| value.pointer(&path).is_some();
            below(name, field).is_some() || below(field, name).is_some_and(contains)
        })
    }

    fn set_optimizer(&self, optimizer: &mut OptimizerConfig) -> Result<(), ConfigError> {
        match self.optimizer {
            Some(Optimizer::Sgd) if !matches!(optimizer, OptimizerConfig::Sgd { .. }) => {
                *optimizer = OptimizerConfig::sgd(0.9);
            }
            Some(Optimizer::AdamW) if !matches!(optimizer, OptimizerConfig::AdamW { .. }) => {
                *optimizer = OptimizerConfig::adam_w();
            }
            _ => {}
        }
        let of_sgd = self.momentum.is_some() || self.dampening.is_some() || self.nesterov;
        let of_adam_w = self.betas.is_some() || self.epsilon.is_some();
        let other = |name: &'static str, requirement: &'static str| {
            ConfigError::new("optimization.optimizer", name, requirement)
        };
        match optimizer {
            OptimizerConfig::Sgd { .. } if of_adam_w => {
                Err(other("sgd", "adamw where its betas or epsilon are given"))
            }
            OptimizerConfig::AdamW { .. } if of_sgd => {
                Err(other("adamw", "sgd where its momentum is given"))
            }
            OptimizerConfig::Sgd {
                momentum,
                dampening,
                nesterov,
            } => {
                set(momentum, self.momentum);
                set(dampening, self.dampening);
                *nesterov |= self.nesterov;
                Ok(())
            }
            OptimizerConfig::AdamW { betas, epsilon } => {
                set(betas, self.betas);
                set(epsilon, self.epsilon);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_some<T>(field: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *field = value;
    }
}

fn parse_betas(text: &str) -> Result<[f64; 2], String> {
    let expected = || "expected two numbers, such as 0.9,0.999".to_owned();
    let (first, second) = text.split_once(',').ok_or_else(expected)?;
    Ok([parse_decay(first)?, parse_decay(second)?])
}

/// Names of parameters have no spaces, so that a pattern needs none.
fn parse_group(text: &str) -> Result<ParameterGroup, String> {
    let mut parts = text.split_whitespace();
    let pattern = parts.next().ok_or("expected a regular expression")?;
    parts.try_fold(ParameterGroup::new(pattern), |group, part| {
        match part.split_once('=') {
            Some(("lr", value)) => Ok(group.with_learning_rate_factor(parse_non_negative(value)?)),
            Some(("wd", value)) => Ok(group.with_weight_decay(Some(parse_non_negative(value)?))),
            _ => Err(format!("expected lr=FACTOR or wd=DECAY instead of {part}")),
        }
    })
}

/// The name of a field, and its value: JSON, or text.
fn parse_field(text: &str) -> Result<(String, Value), String> {
    let (field, value) = text.split_once('=').ok_or("expected FIELD=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
    Ok((field.to_owned(), value))
}

fn parse_sampling(text: &str) -> Result<Sampling, String> {
    match text.split_once('=') {
        None if text == "uniform" => Ok(Sampling::Uniform),
        None if text == "repeat-factor" => Ok(Sampling::repeat_factor()),
        Some(("repeat-factor", threshold)) => Ok(Sampling::RepeatFactor {
            threshold: parse_threshold(threshold)?,
        }),
        _ => Err("expected uniform, repeat-factor or repeat-factor=T".to_owned()),
    }
}

fn parse_class_weights(text: &str) -> Result<ClassWeights, String> {
    match text.split_once('=') {
        None if text == "effective-number" => Ok(ClassWeights::effective_number()),
        Some(("effective-number", beta)) => Ok(ClassWeights::EffectiveNumber {
            beta: parse_decay(beta)?,
        }),
        _ => parse_by_class(text).map(ClassWeights::Given),
    }
}

fn parse_by_class(text: &str) -> Result<ByClass, String> {
    let value = |part: &str| {
        // Class names may contain an equals sign, numbers do not.
        let (class, value) = part.rsplit_once('=')?;
        Some((class.to_owned(), parse_non_negative(value).ok()?))
    };
    let values: Option<Vec<(String, f64)>> = text.split(',').map(value).collect();
    let mut by_class = ByClass::new();
    for (class, value) in values.ok_or("expected CLASS=NUMBER,…")? {
        if by_class.insert(class.clone(), value).is_some() {
            return Err(format!("'{class}' has two values"));
        }
    }
    Ok(by_class)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;
    use fcos_burn::train::config::Keep;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        recipe: RecipeArgs,
    }

    fn config(flags: &[&str]) -> Result<RunConfig, String> {
        let line = Line::try_parse_from([&["train"], flags].concat());
        let line = line.map_err(|error| error.to_string())?;
        let mut config = RunConfig::small();
        (line.recipe.apply(&mut config)).map_err(|error| error.to_string())?;
        let config = line.recipe.with_fields(config);
        let config = config.map_err(|error| error.to_string())?;
        config.validate().map_err(|error| error.to_string())?;
        Ok(config)
    }

    #[test]
    fn flags_set_their_fields() {
        assert_eq!(config(&[]).unwrap(), RunConfig::small());
        let flags = "--optimizer sgd --momentum 0.8 --nesterov --weight-decay 1e-4 --norm-weight-decay 0 \
                     --lr-decay one-cycle --layer-decay 0.7 --freeze ^backbone\\.stem --validate-every 2 \
                     --patience 5 --min-improvement 0.001 --sampling repeat-factor=0.3 \
                     --class-weights effective-number=0.9 --focal-alpha ring=0.5 --label-smoothing 0.01 \
                     --ignore-min-side 3 --ignore-min-area 12 --ignore-truncated";
        let mut flags: Vec<&str> = flags.split_whitespace().collect();
        flags.extend(["--group", "^head lr=2 wd=0", "--group", "bias$"]);
        let found = config(&flags).unwrap();
        let mut expected = RunConfig::small()
            .with_validate_every(2)
            .with_early_stopping(Some(EarlyStopping::new(5).with_min_improvement(0.001)))
            .with_sampling(Sampling::RepeatFactor { threshold: 0.3 })
            .with_class_weights(Some(ClassWeights::EffectiveNumber { beta: 0.9 }))
            .with_focal_alpha([("ring".to_owned(), 0.5)].into());
        expected.ignore = (expected.ignore)
            .with_min_side(Some(3.0))
            .with_min_area(Some(12.0))
            .with_truncated(true);
        expected.objective.label_smoothing = Some(0.01);
        let groups = vec![
            ParameterGroup::new("^head")
                .with_learning_rate_factor(2.0)
                .with_weight_decay(Some(0.0)),
            ParameterGroup::new("bias$"),
        ];
        expected.optimization = expected
            .optimization
            .with_optimizer(OptimizerConfig::Sgd {
                momentum: 0.8,
                dampening: 0.0,
                nesterov: true,
            })
            .with_weight_decay(1e-4)
            .with_norm_weight_decay(Some(0.0))
            .with_decay(Decay::one_cycle())
            .with_warmup(Warmup::none())
            .with_layer_decay(Some(0.7))
            .with_groups(groups)
            .with_freeze(vec!["^backbone\\.stem".to_owned()]);
        assert_eq!(found, expected);

        let betas = config(&["--betas", "0.8,0.9", "--epsilon", "1e-6"]).unwrap();
        let expected = OptimizerConfig::AdamW {
            betas: [0.8, 0.9],
            epsilon: 1e-6,
        };
        assert_eq!(betas.optimization.optimizer, expected);
        let set = [
            "--set",
            "optimization.decay.cosine.end=0.25",
            "--set",
            "keep=last",
        ];
        let set = config(&set).unwrap();
        assert_eq!(set.optimization.decay, Decay::Cosine { end: 0.25 });
        assert_eq!(set.keep, Keep::Last);
        let given = config(&["--class-weights", "ring=2,a=b=0.5"]).unwrap();
        let weights = [("ring".to_owned(), 2.0), ("a=b".to_owned(), 0.5)];
        assert_eq!(
            given.class_weights,
            Some(ClassWeights::Given(weights.into()))
        );
    }

    #[test]
    fn impossible_values_are_refused() {
        for (flags, part) in [
            (
                &["--momentum", "0.9"][..],
                "optimizer is adamw, but must be sgd",
            ),
            (
                &["--optimizer", "sgd", "--betas", "0.9,0.99"],
                "optimizer is sgd, but must be adamw",
            ),
            (&["--betas", "0.9,1"], "at least 0 and below 1"),
            (&["--min-improvement", "0.1"], "--patience"),
            (&["--patience", "0"], "at least 1"),
            (&["--sampling", "often"], "repeat-factor=T"),
            (&["--sampling", "repeat-factor=2"], "at most 1"),
            (&["--class-weights", "ring"], "CLASS=NUMBER"),
            (&["--focal-alpha", "ring=2"], "focal_alpha.ring is 2"),
            (&["--group", "^head rate=2"], "instead of rate=2"),
            (
                &["--group", "("],
                "groups.pattern is (, but must be a regular",
            ),
            (&["--freeze", "["], "freeze is [, but must be a regular"),
            (&["--label-smoothing", "0.7"], "from 0 to 0.5"),
            (&["--ignore-min-side", "0"], "above 0"),
            (&["--set", "seed"], "FIELD=VALUE"),
            (&["--set", "sed=1"], "sed is 1, but must be"),
            (&["--set", "seed=x"], "seed is \"x\", but must be"),
        ] {
            let error = config(flags).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
