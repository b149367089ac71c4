//! The configuration of a training run: everything needed to repeat it.

mod augmentation;
pub(crate) mod class_weights;
mod data;
mod early_stopping;
mod file;
mod ignore;
mod initial_weights;
mod optimization;
mod optimizer;
pub(crate) mod parameter_group;
mod sampling;
mod schedule;
#[cfg(test)]
mod tiny;

use std::{collections::BTreeMap, fmt, ops::RangeInclusive, path::Path};

use fcos_burn_data::{
    Normalization,
    shapes::ShapesConfig,
    transforms::{AugmentationStrength, Resize},
};
use fcos_burn_detect::{
    DetectorFile, InputConfig,
    device::{DeviceName, Precision},
};
use fcos_burn_loss::{
    AssociationScore, BoxLoss, ClassificationLoss, FcosObjective, FcosObjectiveConfig,
};
use fcos_burn_model::{
    ConfigError, FcosConfig,
    assignment::{AssignerConfig, DwConfig},
    backbone::{
        BackboneConfig,
        resnet::{ResNetConfig, StrideIn},
    },
    weights::{TensorNaming, WeightsFile},
};
use serde::{Deserialize, Serialize};

use crate::Error;

pub use class_weights::ClassWeights;
pub(crate) use data::shared_images;
pub use data::{DataConfig, DataSource};
pub use early_stopping::EarlyStopping;
pub use file::ConfigFile;
pub use ignore::IgnoreRule;
pub use initial_weights::InitialWeights;
pub use optimization::OptimizationConfig;
pub use optimizer::OptimizerConfig;
pub use parameter_group::ParameterGroup;
pub use sampling::Sampling;
pub use schedule::{Decay, Milestones, Warmup, WarmupShape};

/// The length of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum TrainingLength {
    /// Passes over the training split.
    Epochs(usize),
    /// Batches; the last epoch may be incomplete.
    Iterations(usize),
    /// Passes over the training split, or as many as make this number of batches, whichever is longer:
    /// suits large and small data sets. The configuration of a run has the resulting number of epochs.
    #[serde(rename = "at_least")]
    AtLeast {
        /// Passes over the training split.
        epochs: usize,
        /// Batches.
        iterations: usize,
    },
}

impl TrainingLength {
    /// The number of steps of a training run with `per_epoch` steps per epoch.
    pub fn steps(self, per_epoch: usize) -> usize {
        match self {
            Self::Epochs(epochs) => epochs.saturating_mul(per_epoch),
            Self::Iterations(iterations) => iterations,
            Self::AtLeast { epochs, iterations } => {
                let enough = iterations.div_ceil(per_epoch.max(1));
                epochs.max(enough).saturating_mul(per_epoch)
            }
        }
    }
}

impl fmt::Display for TrainingLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(1) => write!(f, "1 epoch"),
            Self::Epochs(epochs) => write!(f, "{epochs} epochs"),
            Self::Iterations(iterations) => write!(f, "{iterations} iterations"),
            Self::AtLeast { epochs, iterations } => {
                write!(f, "at least {epochs} epochs and {iterations} iterations")
            }
        }
    }
}

/// Training runs with fewer steps are likely too short.
pub(crate) const USUAL_STEPS: usize = 1000;

/// Which epoch's weights the run keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Keep {
    /// The epoch with the highest AP on the validation split; the first of equals.
    #[default]
    Best,
    /// The last epoch, whatever its AP. Use it to report metrics of the validation split
    /// without selecting by them.
    Last,
}

/// Everything needed to repeat a training run.
///
/// The number of classes comes from the data; the value in `model` is replaced when
/// training starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
#[non_exhaustive]
pub struct RunConfig<C: BackboneConfig = ResNetConfig> {
    /// The images.
    pub data: DataConfig,
    /// The detector.
    pub model: FcosConfig<C>,
    /// The weights to start from. `None` leaves the choice to the program, and is the same as
    /// [`InitialWeights::Random`] for a [`Trainer`](crate::Trainer). The configuration of a run states them.
    #[serde(default)]
    pub initial_weights: Option<InitialWeights>,
    /// The losses.
    pub objective: FcosObjectiveConfig,
    /// The network's input.
    pub input: InputConfig,
    /// A named augmentation. When the training starts, its steps replace those of `input`, and this
    /// is none: the configuration of a run has the steps.
    #[serde(default)]
    pub augment: Option<AugmentationStrength>,
    /// The number of last epochs without multi-scale training and without augmentations whose
    /// images differ from those of inference (see
    /// [`Pipeline::plain`](fcos_burn_data::transforms::Pipeline::plain)).
    #[serde(default)]
    pub plain_epochs: usize,
    /// The optimizer.
    pub optimization: OptimizationConfig,
    /// The length of the training.
    pub duration: TrainingLength,
    /// Images per optimizer step, over all devices.
    pub batch_size: usize,
    /// Threads that load images; 0 loads on the training thread.
    pub workers: usize,
    /// Mebibytes of memory for resized training images, so that each is decoded once. What does not fit is
    /// decoded in every epoch.
    #[serde(default)]
    pub image_memory: usize,
    /// Seed of all random numbers.
    pub seed: u64,
    /// The devices, each of which takes a share of every batch on its own thread. A device
    /// may be listed several times. The first one holds the optimizer and runs the
    /// validation.
    pub devices: Vec<DeviceName>,
    /// Gradient accumulation: the number of sequential parts in which each device computes
    /// its share of a batch. More parts need less memory.
    pub accumulate: usize,
    /// Number format of the activations. Weights, losses and the optimizer stay in 32 bits.
    pub precision: Precision,
    /// Whether the backward pass recomputes cheap activations instead of storing them. This
    /// trades time for memory.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Which epoch's weights the run keeps.
    #[serde(default)]
    pub keep: Keep,
    /// Validates after every Nth epoch, and after the last one. At least 1.
    #[serde(default = "every_epoch")]
    pub validate_every: usize,
    /// Ends the training when it no longer improves.
    #[serde(default)]
    pub early_stopping: Option<EarlyStopping>,
    /// Which training images an epoch shows.
    #[serde(default)]
    pub sampling: Sampling,
    /// The weights of the classes in the classification loss. `None` is the same as 1 for all.
    #[serde(default)]
    pub class_weights: Option<ClassWeights>,
    /// The weight α of the positive locations in the focal loss for single classes, by name, in
    /// `[0, 1]`. The others have that of the objective.
    #[serde(default)]
    pub focal_alpha: BTreeMap<String, f64>,
    /// Which objects are ignored.
    #[serde(default)]
    pub ignore: IgnoreRule,
}

fn every_epoch() -> usize {
    1
}

impl RunConfig {
    /// The paper's training: [`FcosConfig::paper`] with focal loss and
    /// −ln((I + 1)/(U + 1)), 90,000 iterations of 16 images whose short side is 800
    /// and whose long side is at most 1333 pixels.
    ///
    /// No association loss is set. The paper's has β = k = 1 and ties the highest score of
    /// a location (eq. 12), which can lock in to wrong classes when training from scratch (see
    /// [`AssociationScore`]).
    pub fn paper() -> Self {
        Self {
            data: DataConfig::shapes(ShapesConfig::default()),
            model: FcosConfig::paper(1),
            initial_weights: None,
            objective: FcosObjectiveConfig::new(),
            input: InputConfig::fcos(),
            augment: None,
            plain_epochs: 0,
            optimization: OptimizationConfig::new(OptimizerConfig::sgd(0.9), 0.01)
                .with_weight_decay(1e-4)
                .with_bias_learning_rate_factor(2.0)
                .with_warmup(Warmup::constant(500, 1.0 / 3.0))
                .with_decay(Decay::Steps {
                    milestones: Milestones::Iterations(vec![60_000, 80_000]),
                    factor: 0.1,
                }),
            duration: TrainingLength::Iterations(90_000),
            batch_size: 16,
            workers: 2,
            image_memory: 0,
            seed: 0,
            devices: vec![DeviceName::CPU],
            accumulate: 1,
            precision: Precision::F32,
            gradient_checkpointing: false,
            keep: Keep::Best,
            validate_every: every_epoch(),
            early_stopping: None,
            sampling: Sampling::Uniform,
            class_weights: None,
            focal_alpha: BTreeMap::new(),
            ignore: IgnoreRule::default(),
        }
    }

    /// Training from scratch in minutes on a CPU: [`FcosConfig::small`] with PSE
    /// (β = k = 1) on the ground-truth class's score, GIoU (λ = 2), AdamW, a cosine schedule
    /// and averaged weights, on the built-in set. Trains for 4 epochs, or for 1,000 steps if they are more.
    pub fn small() -> Self {
        let paper = Self::paper();
        Self {
            model: FcosConfig::small(1),
            objective: FcosObjectiveConfig::new()
                .with_box_loss(BoxLoss::Giou)
                .with_lambda(2.0)
                .with_association(Some(Default::default()))
                .with_association_score(AssociationScore::GroundTruthClass),
            input: paper
                .input
                // Larger than the built-in set's images, where most objects span only a few pixels.
                .with_resize(Resize::Fixed {
                    width: 160,
                    height: 120,
                })
                .with_normalization(Normalization::ImageNet),
            optimization: OptimizationConfig::new(OptimizerConfig::adam_w(), 2e-3)
                .with_weight_decay(0.05)
                .with_warmup(Warmup::linear(50, 0.01))
                .with_decay(Decay::Cosine { end: 0.0 })
                .with_max_gradient_norm(Some(10.0))
                .with_average_decay(Some(0.99)),
            duration: TrainingLength::AtLeast {
                epochs: 4,
                iterations: USUAL_STEPS,
            },
            batch_size: 8,
            workers: 1,
            image_memory: 512,
            ..paper
        }
    }

    /// [`small`](Self::small) for ten times as long, with [dual weighting](DwConfig) in place of the
    /// assignment of FCOS and of focal loss. PSE stays.
    pub fn accurate() -> Self {
        let small = Self::small();
        let association = small.objective.association;
        let mut accurate = small
            .with_assigner(AssignerConfig::Dw(DwConfig::default()))
            .with_duration(TrainingLength::AtLeast {
                epochs: 40,
                iterations: 10 * USUAL_STEPS,
            });
        accurate.objective.association = association;
        accurate
    }

    /// Adapts the model to pretrained weights, so that training can start from them. From a
    /// detector it takes the model and the input; from a classification network the depth and
    /// width of the backbone, the position of its stride, and the normalization of its input.
    ///
    /// # Errors
    ///
    /// Fails as [`DetectorFile::open`] does, and if the backbone has an unknown depth.
    pub fn with_model_of(mut self, weights: impl AsRef<Path>) -> Result<Self, Error> {
        let weights = weights.as_ref();
        if !weights.is_dir() {
            let file = WeightsFile::open(weights)?;
            if file.naming() == TensorNaming::TorchvisionResNet {
                let backbone = file.backbone(self.model.backbone.clone());
                let backbone = backbone.ok_or_else(|| Error::Run {
                    path: weights.to_owned(),
                    cause: "is a ResNet of an unknown depth".to_owned(),
                })?;
                self.model.backbone = backbone
                    .with_stride_in(StrideIn::MiddleConv)
                    .with_norm_epsilon(1e-5);
                self.input.normalization = Normalization::ImageNet;
                return Ok(self);
            }
        }
        Ok(self.with_model(DetectorFile::open(weights)?))
    }
}

impl<C: BackboneConfig> RunConfig<C> {
    /// Takes the model and the input from `file`, but keeps what concerns only training: the
    /// assignment rule, the augmentation and the scales. The bounds of FCOS's own rule are part of the
    /// model. All classes are detected, as labels of other data mean other classes.
    #[must_use]
    pub fn with_model(self, file: DetectorFile<C>) -> Self {
        let input = file.input.with_multi_scale(self.input.multi_scale);
        let mut model = file.model.with_assigner(self.model.assigner);
        model.postprocess.classes = None;
        Self {
            model,
            input: input.with_augmentation(self.input.augmentation),
            ..self
        }
    }

    /// Replaces the backbone.
    pub fn with_backbone<D: BackboneConfig>(self, backbone: D) -> RunConfig<D> {
        RunConfig {
            data: self.data,
            model: self.model.with_backbone(backbone),
            initial_weights: self.initial_weights,
            objective: self.objective,
            input: self.input,
            augment: self.augment,
            plain_epochs: self.plain_epochs,
            optimization: self.optimization,
            duration: self.duration,
            batch_size: self.batch_size,
            workers: self.workers,
            image_memory: self.image_memory,
            seed: self.seed,
            devices: self.devices,
            accumulate: self.accumulate,
            precision: self.precision,
            gradient_checkpointing: self.gradient_checkpointing,
            keep: self.keep,
            validate_every: self.validate_every,
            early_stopping: self.early_stopping,
            sampling: self.sampling,
            class_weights: self.class_weights,
            focal_alpha: self.focal_alpha,
            ignore: self.ignore,
        }
    }

    /// Sets the rule that assigns locations to objects, `model.assigner`. For a rule with soft labels
    /// or weights, it also sets the [classification loss](AssignerConfig::classification) that they
    /// are made for and removes the association loss: they already tie scores to the IoU. A loss that
    /// was made for the labels of the rule before gives way to the focal loss.
    #[must_use]
    pub fn with_assigner(mut self, assigner: AssignerConfig) -> Self {
        let before = self.model.assigner.classification();
        if let Some(loss) = assigner.classification() {
            self.objective.classification = loss;
            self.objective.association = None;
        } else if before == Some(self.objective.classification) {
            self.objective.classification = ClassificationLoss::default();
        }
        self.model.assigner = assigner;
        self
    }

    /// Sets [`data`](Self::data).
    #[must_use]
    pub fn with_data(self, data: DataConfig) -> Self {
        Self { data, ..self }
    }

    /// Sets [`objective`](Self::objective).
    #[must_use]
    pub fn with_objective(self, objective: FcosObjectiveConfig) -> Self {
        Self { objective, ..self }
    }

    /// Sets [`input`](Self::input).
    #[must_use]
    pub fn with_input(self, input: InputConfig) -> Self {
        Self { input, ..self }
    }

    /// Sets [`augment`](Self::augment).
    #[must_use]
    pub fn with_augment(self, augment: Option<AugmentationStrength>) -> Self {
        Self { augment, ..self }
    }

    /// Sets [`plain_epochs`](Self::plain_epochs).
    #[must_use]
    pub fn with_plain_epochs(self, plain_epochs: usize) -> Self {
        Self {
            plain_epochs,
            ..self
        }
    }

    /// Sets [`optimization`](Self::optimization).
    #[must_use]
    pub fn with_optimization(self, optimization: OptimizationConfig) -> Self {
        Self {
            optimization,
            ..self
        }
    }

    /// The number of steps in an epoch of this many images.
    pub fn steps_per_epoch(&self, images: usize) -> usize {
        images.div_ceil(self.batch_size.max(1))
    }

    /// Replaces [`TrainingLength::AtLeast`] by its number of epochs. Logs it. `images` is the number of
    /// training images.
    pub fn resolve_duration(&mut self, images: usize) {
        let TrainingLength::AtLeast { .. } = self.duration else {
            return;
        };
        let per_epoch = self.steps_per_epoch(images).max(1);
        let steps = self.duration.steps(per_epoch);
        let epochs = steps / per_epoch;
        log::info!("{epochs} epochs, chosen for {images} training images: {steps} steps");
        self.duration = TrainingLength::Epochs(epochs);
    }

    /// Replaces what depends on the number of images in [`data`](Self::data): the
    /// [duration](Self::resolve_duration) and the [augmentation](Self::resolve_augmentation).
    ///
    /// # Errors
    ///
    /// Fails if the data cannot be opened.
    pub fn resolve_by_data(&mut self) -> Result<(), Error> {
        let depends = matches!(self.duration, TrainingLength::AtLeast { .. });
        if depends || self.augment.is_some() {
            let (train, _) = self.data.open_splits()?;
            self.resolve_duration(train.len());
            self.resolve_augmentation(train.len());
        }
        Ok(())
    }

    /// Sets [`duration`](Self::duration).
    #[must_use]
    pub fn with_duration(self, duration: TrainingLength) -> Self {
        Self { duration, ..self }
    }

    /// Sets [`batch_size`](Self::batch_size).
    #[must_use]
    pub fn with_batch_size(self, batch_size: usize) -> Self {
        Self { batch_size, ..self }
    }

    /// Sets [`workers`](Self::workers).
    #[must_use]
    pub fn with_workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Sets [`image_memory`](Self::image_memory).
    #[must_use]
    pub fn with_image_memory(self, image_memory: usize) -> Self {
        Self {
            image_memory,
            ..self
        }
    }

    /// Sets [`initial_weights`](Self::initial_weights).
    #[must_use]
    pub fn with_initial_weights(self, weights: InitialWeights) -> Self {
        Self {
            initial_weights: Some(weights),
            ..self
        }
    }

    /// The same configuration with absolute paths, which do not depend on the folder that a program runs in.
    #[must_use]
    pub fn with_absolute_paths(mut self) -> Self {
        self.data.source = self.data.source.absolute();
        self.initial_weights = self.initial_weights.map(InitialWeights::absolute);
        self
    }

    /// Sets [`seed`](Self::seed).
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Sets [`devices`](Self::devices).
    #[must_use]
    pub fn with_devices(self, devices: Vec<DeviceName>) -> Self {
        Self { devices, ..self }
    }

    /// Sets [`accumulate`](Self::accumulate).
    #[must_use]
    pub fn with_accumulate(self, accumulate: usize) -> Self {
        Self { accumulate, ..self }
    }

    /// Sets [`precision`](Self::precision).
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Sets [`gradient_checkpointing`](Self::gradient_checkpointing).
    #[must_use]
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: bool) -> Self {
        Self {
            gradient_checkpointing,
            ..self
        }
    }

    /// Sets [`keep`](Self::keep).
    #[must_use]
    pub fn with_keep(self, keep: Keep) -> Self {
        Self { keep, ..self }
    }

    /// Sets [`validate_every`](Self::validate_every).
    #[must_use]
    pub fn with_validate_every(self, validate_every: usize) -> Self {
        Self {
            validate_every,
            ..self
        }
    }

    /// Sets [`early_stopping`](Self::early_stopping).
    #[must_use]
    pub fn with_early_stopping(self, early_stopping: Option<EarlyStopping>) -> Self {
        Self {
            early_stopping,
            ..self
        }
    }

    /// Sets [`sampling`](Self::sampling).
    #[must_use]
    pub fn with_sampling(self, sampling: Sampling) -> Self {
        Self { sampling, ..self }
    }

    /// Sets [`class_weights`](Self::class_weights).
    #[must_use]
    pub fn with_class_weights(self, class_weights: Option<ClassWeights>) -> Self {
        Self {
            class_weights,
            ..self
        }
    }

    /// Sets [`focal_alpha`](Self::focal_alpha).
    #[must_use]
    pub fn with_focal_alpha(self, focal_alpha: BTreeMap<String, f64>) -> Self {
        Self {
            focal_alpha,
            ..self
        }
    }

    /// Sets [`ignore`](Self::ignore).
    #[must_use]
    pub fn with_ignore(self, ignore: IgnoreRule) -> Self {
        Self { ignore, ..self }
    }

    /// Builds the objective, without the weights of the classes, which depend on the data.
    ///
    /// # Errors
    ///
    /// Names the first invalid value.
    pub fn objective(&self) -> Result<FcosObjective, ConfigError> {
        let objective = self.objective.init();
        objective.map_err(|error| error.within("objective"))
    }

    /// Checks every value that does not depend on the data, except the augmentation, whose
    /// transforms may be custom.
    ///
    /// # Errors
    ///
    /// Names the first field that is out of range.
    pub fn validate(&self) -> Result<(), Error> {
        let within = |field, value: usize, allowed: RangeInclusive<usize>, requirement| {
            let value = (!allowed.contains(&value)).then_some(value);
            value.map_or(Ok(()), |value| {
                Err(ConfigError::new(field, value, requirement))
            })
        };
        // Larger values could overflow memory or integer arithmetic.
        let (billion, many) = ("between 1 and 1,000,000,000", "between 1 and 65,536");
        match self.duration {
            TrainingLength::Epochs(length) | TrainingLength::Iterations(length) => {
                within("duration", length, 1..=1_000_000_000, billion)?;
            }
            TrainingLength::AtLeast { epochs, iterations } => {
                let fields = [("epochs", epochs), ("iterations", iterations)];
                for (name, length) in fields {
                    within(name, length, 1..=1_000_000_000, billion)
                        .map_err(|error| error.within("duration.at_least"))?;
                }
            }
        }
        within("batch_size", self.batch_size, 1..=65_536, many)?;
        within("accumulate", self.accumulate, 1..=65_536, many)?;
        within("workers", self.workers, 0..=1024, "at most 1024")?;
        let (tebibyte, at_most) = (1 << 20, "at most 1,048,576");
        within("image_memory", self.image_memory, 0..=tebibyte, at_most)?;
        let every = self.validate_every;
        within("validate_every", every, 1..=1_000_000_000, billion)?;
        within(
            "devices",
            self.devices.len(),
            1..=1024,
            "a list of 1 to 1024 devices",
        )?;
        if let Some(stopping) = &self.early_stopping {
            stopping
                .validate()
                .map_err(|error| error.within("early_stopping"))?;
        }
        self.sampling.validate()?;
        if let Some(weights) = &self.class_weights {
            weights.validate()?;
        }
        for (class, alpha) in &self.focal_alpha {
            let is_focal = matches!(
                self.objective.classification,
                ClassificationLoss::Focal { .. }
            );
            let holds = is_focal && (0.0..=1.0).contains(alpha);
            let requirement = "between 0 and 1, and is only for the focal loss";
            ConfigError::ensure(holds, format!("focal_alpha.{class}"), alpha, requirement)?;
        }
        self.ignore
            .validate()
            .map_err(|error| error.within("ignore"))?;
        self.data.validate()?;
        self.input
            .validate()
            .map_err(|error| error.within("input"))?;
        self.optimization
            .validate()
            .map_err(|error| error.within("optimization"))?;
        let mut model = self.model.clone();
        if self.data.categories.is_empty() {
            // The number of classes is not known before the data is opened.
            model.postprocess.classes = None;
        }
        model.validate().map_err(|error| error.within("model"))?;
        (self.model.assignment_rule()).map_err(|error| error.within("model"))?;
        let is_ranking = matches!(
            self.objective.classification,
            ClassificationLoss::RankSort { .. } | ClassificationLoss::Alrp { .. }
        );
        let holds = !is_ranking || self.class_weights.is_none();
        let requirement = "left out for a loss of the order of scores";
        ConfigError::ensure(holds, "class_weights", "given", requirement)?;
        self.objective()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_loss::ClassificationLoss;
    use fcos_burn_model::assignment::{AtssConfig, TalConfig};
    use serde_json::json;

    use super::*;

    fn merged(json: &str) -> Result<RunConfig, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("changes.json");
        std::fs::write(&path, json).unwrap();
        RunConfig::small()
            .merge_file(&path)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn weights_set_the_model_but_not_the_assignment_rule() {
        let run = tempfile::tempdir().unwrap();
        let mut trained = RunConfig::small().with_assigner(AssignerConfig::Tal(Default::default()));
        trained.model.fpn.channels = 32;
        trained.write(run.path().join("config.json")).unwrap();
        let config = RunConfig::accurate().with_model_of(run.path()).unwrap();
        assert_eq!(config.model.fpn.channels, 32);
        assert_eq!(config.model.assigner, RunConfig::accurate().model.assigner);
    }

    #[test]
    fn presets_are_valid_and_round_trip() {
        let mut held_out = RunConfig::small();
        held_out.data = held_out.data.with_val_share(0.25);
        let presets = [
            RunConfig::paper(),
            RunConfig::small(),
            RunConfig::accurate(),
        ];
        for config in presets.into_iter().chain([held_out, recipe()]) {
            config.validate().unwrap();
            let json = serde_json::to_string(&config).unwrap();
            assert_eq!(serde_json::from_str::<RunConfig>(&json).unwrap(), config);
        }
    }

    /// A training run with every option.
    fn recipe() -> RunConfig {
        let mut config = RunConfig::small()
            .with_validate_every(2)
            .with_early_stopping(Some(EarlyStopping::new(3).with_min_improvement(0.01)))
            .with_sampling(Sampling::RepeatFactor { threshold: 0.5 })
            .with_class_weights(Some(ClassWeights::Given([("a".to_owned(), 2.0)].into())))
            .with_focal_alpha([("b".to_owned(), 0.5)].into());
        config.objective.label_smoothing = Some(0.01);
        config.ignore = IgnoreRule::default()
            .with_min_side(Some(4.0))
            .with_min_area(Some(32.0))
            .with_truncated(true);
        let group = ParameterGroup::new("^head").with_weight_decay(Some(0.0));
        config.optimization = config
            .optimization
            .with_optimizer(OptimizerConfig::AdamW {
                betas: [0.8, 0.99],
                epsilon: 1e-6,
            })
            .with_norm_weight_decay(Some(0.0))
            .with_layer_decay(Some(0.75))
            .with_groups(vec![group.with_learning_rate_factor(0.1)])
            .with_freeze(vec![r"^backbone\.stem".to_owned()])
            .with_warmup(Warmup::none())
            .with_decay(Decay::one_cycle());
        config
    }

    /// Every option under the name and in the form that the documentation gives.
    #[test]
    fn a_file_has_every_option() {
        let json = r#"{
            "optimization": {
                "optimizer": {"adamw": {"betas": [0.8, 0.99], "epsilon": 1e-6}},
                "norm_weight_decay": 0.0,
                "layer_decay": 0.75,
                "groups": [{"pattern": "^head", "learning_rate_factor": 0.1, "weight_decay": 0.0}],
                "freeze": ["^backbone\\.stem"],
                "warmup": {"iterations": 0, "factor": 1.0, "shape": "constant"},
                "decay": {"one-cycle": {}}
            },
            "objective": {"label_smoothing": 0.01},
            "validate_every": 2,
            "early_stopping": {"patience": 3, "min_improvement": 0.01},
            "sampling": {"repeat-factor": {"threshold": 0.5}},
            "class_weights": {"given": {"a": 2}},
            "focal_alpha": {"b": 0.5},
            "ignore": {"min_side": 4, "min_area": 32, "truncated": true}
        }"#;
        assert_eq!(merged(json).unwrap(), recipe());
        let named = merged(r#"{"optimization": {"optimizer": "adamw"}}"#).unwrap();
        assert_eq!(named, RunConfig::small());
    }

    #[test]
    fn single_fields_are_set_by_their_path() {
        let config = RunConfig::small();
        let set = config.with_field("optimization.decay.linear.end", json!(0.5));
        assert_eq!(set.unwrap().optimization.decay, Decay::Linear { end: 0.5 });
        let set = config.with_field("sampling", json!({"repeat-factor": {}}));
        assert_eq!(set.unwrap().sampling, Sampling::repeat_factor());
        let error = |field, value| {
            let error = config.with_field(field, value).unwrap_err();
            error.to_string()
        };
        let unknown = error("batch_sise", json!(2));
        let start = "batch_sise is 2, but must be valid (unknown field `batch_sise`";
        assert!(unknown.starts_with(start), "{unknown}");
        let wrong = error("optimization.learning_rate", json!("fast"));
        let start = "optimization.learning_rate is \"fast\", but must be valid (invalid type";
        assert!(wrong.starts_with(start), "{wrong}");
        let unknown = error("model.head", json!({"tower_dept": 1}));
        let start =
            "model.head is {\"tower_dept\":1}, but must be valid (unknown field `tower_dept`";
        assert!(unknown.starts_with(start), "{unknown}");
    }

    #[test]
    fn merging_changes_only_the_values_in_the_file() {
        let config = merged(
            r#"{"batch_size": 2, "optimization": {"learning_rate": 0.5},
                "duration": {"iterations": 7}}"#,
        )
        .unwrap();
        let mut expected = RunConfig::small();
        expected.batch_size = 2;
        expected.optimization.learning_rate = 0.5;
        expected.duration = TrainingLength::Iterations(7);
        assert_eq!(config, expected);
    }

    #[test]
    fn rules_with_soft_labels_have_the_losses_that_they_are_made_for() {
        let small = RunConfig::small();
        let atss = small
            .clone()
            .with_assigner(AssignerConfig::Atss(AtssConfig::default()));
        assert_eq!(atss.objective, small.objective);
        let tal = AssignerConfig::Tal(TalConfig::default());
        let objective = small.clone().with_assigner(tal).objective;
        let without_association = small.objective.with_association(None);
        let loss = ClassificationLoss::QUALITY_FOCAL;
        assert_eq!(objective, without_association.with_classification(loss));
        // The preset has the association loss of `small`, too.
        let accurate = RunConfig::accurate().with_assigner(AssignerConfig::Fcos);
        assert_eq!(accurate.objective, RunConfig::small().objective);
    }

    #[test]
    fn files_select_a_rule_and_change_its_parameters() {
        let config = merged(r#"{"model": {"assigner": {"tal": {"top_k": 9}}}}"#).unwrap();
        let expected = AssignerConfig::Tal(TalConfig::default().with_top_k(9));
        assert_eq!(config.model.assigner, expected);
        let error = merged(r#"{"model": {"assigner": {"tal": {"k": 9}}}}"#).unwrap_err();
        assert!(error.contains("unknown field `k`"), "{error}");
    }

    /// Configurations older than `decay` have these keys.
    #[test]
    fn old_milestone_keys_are_read() {
        let steps = |factor| Decay::Steps {
            milestones: Milestones::Fractions(vec![0.5]),
            factor,
        };
        let older =
            r#"{"optimization": {"milestones": {"fractions": [0.5]}, "milestone_factor": 0.2}}"#;
        let mut expected = RunConfig::small();
        expected.optimization.decay = steps(0.2);
        assert_eq!(merged(older).unwrap(), expected);
        let half = r#"{"optimization": {"milestones": {"fractions": [0.5]}}}"#;
        assert_eq!(merged(half).unwrap().optimization.decay, steps(0.1));
        let half = r#"{"optimization": {"milestone_factor": 0.1}}"#;
        assert_eq!(merged(half).unwrap().optimization.decay, Decay::default());
        let both =
            r#"{"optimization": {"milestone_factor": 0.1, "decay": {"cosine": {"end": 0.0}}}}"#;
        assert!(merged(both).unwrap_err().contains("milestone_factor"));
    }

    /// Fields that it lacks get their defaults, not the values of the preset.
    #[test]
    fn a_complete_old_configuration_keeps_its_meaning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let mut config = RunConfig::paper();
        config.optimization.decay = Decay::Steps {
            milestones: Milestones::Fractions(vec![0.5]),
            factor: 0.2,
        };
        let mut whole = serde_json::to_value(&config).unwrap();
        let optimization = whole["optimization"].as_object_mut().unwrap();
        for key in [
            "decay",
            "average_decay",
            "norm_weight_decay",
            "layer_decay",
            "groups",
            "freeze",
        ] {
            assert!(optimization.remove(key).is_some(), "{key}");
        }
        optimization.insert("optimizer".into(), json!({"sgd": {"momentum": 0.9}}));
        optimization.insert("milestones".into(), json!({"fractions": [0.5]}));
        optimization.insert("milestone_factor".into(), json!(0.2));
        let head = whole["model"]["head"].as_object_mut().unwrap();
        head.remove("tower_init");
        let data = whole["data"].as_object_mut().unwrap();
        data.remove("val_share");
        let objective = whole["objective"].as_object_mut().unwrap();
        assert!(objective.remove("label_smoothing").is_some());
        for key in [
            "validate_every",
            "early_stopping",
            "sampling",
            "class_weights",
            "focal_alpha",
            "ignore",
            "image_memory",
        ] {
            assert!(
                whole.as_object_mut().unwrap().remove(key).is_some(),
                "{key}"
            );
        }
        std::fs::write(&path, whole.to_string()).unwrap();
        assert_eq!(RunConfig::read(&path).unwrap(), config);
        assert_eq!(RunConfig::small().merge_file(&path).unwrap(), config);
    }

    #[test]
    fn unknown_fields_and_wrong_types_are_named() {
        for (json, part) in [
            (r#"{"batchsize": 2}"#, "batchsize"),
            (
                r#"{"objective": {"lambda": 1.0, "lamda": 2.0}}"#,
                "objective.lamda",
            ),
            (r#"{"model": {"fpn": {"channels": "many"}}}"#, "many"),
            (r#"{"batch_size": 2"#, "line 1"),
        ] {
            let error = merged(json).unwrap_err();
            assert!(
                error.contains(part) && error.contains("changes.json"),
                "{error}"
            );
        }
    }

    #[test]
    fn small_data_sets_are_passed_over_more_often() {
        let epochs = |images, batch_size| {
            let mut config = RunConfig::small();
            config.batch_size = batch_size;
            config.resolve_duration(images);
            config.duration
        };
        assert_eq!(epochs(2000, 8), TrainingLength::Epochs(4));
        assert_eq!(epochs(10_000, 8), TrainingLength::Epochs(4));
        // 37 steps in an epoch, 28 × 37 = 1036.
        assert_eq!(epochs(292, 8), TrainingLength::Epochs(28));
        assert_eq!(epochs(1, 8), TrainingLength::Epochs(1000));
        // Not valid, but not a reason to panic before it is checked.
        assert_eq!(epochs(0, 0), TrainingLength::Epochs(1000));
        let mut fixed = RunConfig::small().with_duration(TrainingLength::Epochs(2));
        fixed.resolve_duration(1);
        assert_eq!(fixed.duration, TrainingLength::Epochs(2));

        let json = serde_json::to_string(&RunConfig::small().duration).unwrap();
        assert_eq!(json, r#"{"at_least":{"epochs":4,"iterations":1000}}"#);
        let merged = merged(r#"{"duration": {"epochs": 3}}"#).unwrap();
        assert_eq!(merged.duration, TrainingLength::Epochs(3));
    }

    #[test]
    fn values_out_of_range_are_named() {
        let mut config = RunConfig::small();
        config.duration = TrainingLength::Epochs(0);
        let error = config.validate().unwrap_err().to_string();
        assert_eq!(
            error,
            "duration is 0, but must be between 1 and 1,000,000,000"
        );
        config.duration = TrainingLength::AtLeast {
            epochs: 4,
            iterations: usize::MAX,
        };
        let error = config.validate().unwrap_err().to_string();
        assert!(
            error.starts_with("duration.at_least.iterations is 1844674"),
            "{error}"
        );
        let mut config = RunConfig::small();
        config.optimization.optimizer = OptimizerConfig::sgd(1.0);
        let error = config.validate().unwrap_err().to_string();
        assert!(error.contains("momentum is 1, but must be"), "{error}");
        for (changes, start) in [
            (r#"{"size_multiple": 0}"#, "input.size_multiple is 0,"),
            (
                r#"{"resize": {"fixed": {"width": 0, "height": 9}}}"#,
                "input.resize.fixed.width is 0,",
            ),
            (
                r#"{"multi_scale": {"min": 20, "max": 30}}"#,
                "input.multi_scale.min is 20,",
            ),
        ] {
            let changes = format!(r#"{{"input": {changes}}}"#);
            let error = merged(&changes).unwrap().validate().unwrap_err();
            assert!(error.to_string().starts_with(start), "{error}");
        }
        for (changes, field) in [
            (
                r#"{"decay": {"cosine": {"end": 10}}}"#,
                "optimization.decay.cosine.end is 10",
            ),
            (
                r#"{"decay": {"steps": {"milestones": {"fractions": [0.5, 1.5]}}}}"#,
                "optimization.decay.steps.milestones.fractions is 1.5",
            ),
            (
                r#"{"decay": {"linear": {"end": -1}}}"#,
                "optimization.decay.linear.end is -1",
            ),
            (
                r#"{"decay": {"one-cycle": {"pct_start": 1.5}}}"#,
                "optimization.decay.one-cycle.pct_start is 1.5",
            ),
            (
                r#"{"decay": {"one-cycle": {"div_factor": 0.5}}}"#,
                "optimization.decay.one-cycle.div_factor is 0.5",
            ),
            (
                r#"{"decay": {"one-cycle": {}}}"#,
                "optimization.warmup.iterations is 50, but must be 0 with a one-cycle",
            ),
            (r#"{"layer_decay": 0}"#, "layer_decay is 0"),
            (r#"{"norm_weight_decay": -1}"#, "norm_weight_decay is -1"),
            (
                r#"{"groups": [{"pattern": "a", "learning_rate_factor": -1}]}"#,
                "optimization.groups.learning_rate_factor is -1",
            ),
            (
                r#"{"freeze": ["a", "("]}"#,
                "optimization.freeze is (, but must be a regular expression",
            ),
            (r#"{"average_decay": 0}"#, "average_decay is 0"),
            (r#"{"average_decay": 1}"#, "average_decay is 1"),
        ] {
            let config = merged(&format!(r#"{{"optimization": {changes}}}"#)).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
        for (changes, field) in [
            (r#"{"validate_every": 0}"#, "validate_every is 0"),
            (
                r#"{"early_stopping": {"patience": 0}}"#,
                "early_stopping.patience is 0",
            ),
            (
                r#"{"early_stopping": {"patience": 1, "min_improvement": 2}}"#,
                "early_stopping.min_improvement is 2",
            ),
            (
                r#"{"sampling": {"repeat-factor": {"threshold": 0}}}"#,
                "sampling.repeat-factor.threshold is 0",
            ),
            (
                r#"{"class_weights": {"effective-number": {"beta": 1}}}"#,
                "class_weights.effective-number.beta is 1",
            ),
            (
                r#"{"class_weights": {"given": {"a": -1}}}"#,
                "class_weights.given.a is -1",
            ),
            (r#"{"focal_alpha": {"a": 2}}"#, "focal_alpha.a is 2"),
            (r#"{"ignore": {"min_side": 0}}"#, "ignore.min_side is 0"),
        ] {
            let error = merged(changes).unwrap().validate().unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }

    #[test]
    fn names_of_classes_do_not_replace_each_other() {
        let fields = |fields: &[(&str, f64)]| -> BTreeMap<String, serde_json::Value> {
            let fields = fields
                .iter()
                .map(|(path, value)| ((*path).to_owned(), json!(value)));
            fields.collect()
        };
        let alphas = fields(&[("focal_alpha.cat", 0.3), ("focal_alpha.dog", 0.4)]);
        let config = RunConfig::small().with_fields(&alphas).unwrap();
        let alphas: Vec<f64> = config.focal_alpha.values().copied().collect();
        assert_eq!(alphas, [0.3, 0.4]);
        let weights = fields(&[
            ("class_weights.given.cat", 2.0),
            ("class_weights.given.dog", 3.0),
            ("class_weights.given.No.5", 4.0),
        ]);
        let config = RunConfig::small().with_fields(&weights).unwrap();
        assert_eq!(
            json!(config.class_weights),
            json!({"given": {"cat": 2.0, "dog": 3.0, "No.5": 4.0}})
        );
        // Variants do.
        let loss = BTreeMap::from([(
            "objective.classification".to_owned(),
            json!({"varifocal": {"alpha": 0.75, "gamma": 2.0}}),
        )]);
        let config = RunConfig::small().with_fields(&loss);
        assert!(config.is_ok(), "{config:?}");
    }

    #[test]
    fn assignment_rules_and_weights_of_ranking_losses_are_validated() {
        let mut config = RunConfig::small();
        config.model.assigner = AssignerConfig::Tal(TalConfig::default().with_top_k(0));
        let cause = config.validate().unwrap_err().to_string();
        assert!(
            cause.contains("model") && cause.contains("top_k"),
            "{cause}"
        );
        let mut config = RunConfig::small();
        config.class_weights = Some(ClassWeights::EffectiveNumber { beta: 0.999 });
        config.objective.classification = ClassificationLoss::RankSort { delta: 0.5 };
        let cause = config.validate().unwrap_err().to_string();
        assert!(cause.contains("class_weights"), "{cause}");
    }
}
