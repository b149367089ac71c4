//! Arguments for training.

use std::{
    mem::discriminant,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use fcos_burn::{
    data::{DataFolder, transforms::AugmentationStrength},
    detect::{self, DetectorFile, device::DeviceName},
    loss::{
        AssociationLoss, AssociationScore, BoxAssociation, BoxLoss, ClassificationLoss, ConfigError,
    },
    model::{
        assignment::AssignerConfig,
        backbone::resnet::{ResNetConfig, ResNetDepth},
        head::{BoxQuality, CenternessBranch, RegressionForm},
    },
    train::{
        self, InitialWeights, RunConfig,
        config::{ConfigFile, DataConfig, DataSource, TrainingLength},
    },
};

use super::{
    AugmentationArgs, DataArgs, DeviceArgs, ImageSizeArgs, NamedWeightsArgs, Preset, RecipeArgs,
    SplitArgs, is_builtin,
    number::{parse_count, parse_decay, parse_non_negative, parse_positive, parse_share},
};
use crate::{Error, terminal::message};

/// The configuration of a training run.
#[derive(Args, Clone, Debug)]
pub struct TrainingArgs {
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    splits: SplitArgs,
    /// Fail on any problem in the data, instead of logging it, leaving out unusable annotations
    /// and replacing a few unreadable training images
    #[arg(long)]
    strict: bool,
    /// Start from a preset: small trains on a CPU in minutes, accurate is small with dual
    /// weighting and ten times as long, paper uses the settings of the paper
    #[arg(long, value_enum, default_value_t = Preset::Small)]
    preset: Preset,
    /// Override values with a JSON file in the format of a run's config.json
    #[arg(long, value_name = "JSON")]
    config: Option<PathBuf>,
    /// Use a backbone of standard width [default: small: resnet18 at 3/8 of the width, paper:
    /// resnet50]
    #[arg(long, value_enum)]
    backbone: Option<Backbone>,
    /// Assign locations to objects by this rule; tal and dw also set the classification loss that
    /// they were published with and disable the association loss, unless flags set these
    /// [default: fcos; accurate: dw]
    #[arg(long, value_enum, value_name = "RULE")]
    assignment: Option<Assignment>,
    /// Add this association loss; the last three correlate the scores of several locations
    /// [default: small, accurate: pse, paper: none]
    #[arg(long, value_enum)]
    association: Option<Association>,
    /// Set the weight of the association loss [default: pse, pce: 1, correlations: 0.3]
    #[arg(long, value_name = "BETA", value_parser = parse_non_negative, allow_negative_numbers = true)]
    beta: Option<f64>,
    /// Set the slope between score and IoU in pse or pce [default: 1]
    #[arg(long, value_name = "K", value_parser = parse_positive, allow_negative_numbers = true)]
    k: Option<f64>,
    /// Tie this score to the IoU in the association loss: ground-truth-class, or max-over-classes
    /// (the highest score, as in the paper; it can lock in to wrong classes when training from
    /// scratch) [default: small, correlations: ground-truth-class, paper: max-over-classes]
    #[arg(long, value_name = "SCORE")]
    association_score: Option<AssociationScore>,
    /// Ramp the association loss up from 0 over this fraction of the training [default: 0]
    #[arg(long, value_name = "FRACTION", value_parser = parse_share, allow_negative_numbers = true)]
    association_ramp: Option<f64>,
    /// Correlate the scores of each pyramid level by themselves
    #[arg(long)]
    association_by_level: bool,
    /// Use this classification loss; all except focal already tie scores to the IoU and disable the
    /// association loss unless --association is given; rank-sort and alrp also weight the boxes
    /// [default: focal]
    #[arg(long, value_enum)]
    classification_loss: Option<Classification>,
    /// Tie boxes to scores: score-weighted weights box losses by the score, expected-iou adds the
    /// loss of the box that suppression keeps [default: none]
    #[arg(long, value_enum)]
    box_association: Option<BoxAssociationArg>,
    /// Train a center-ness branch on this tower [default: no branch]
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "classification")]
    centerness: Option<Centerness>,
    /// Train a branch on this tower that predicts the IoU, in place of the center-ness [default: no
    /// branch]
    #[arg(long, value_enum, num_args = 0..=1, default_missing_value = "regression", value_name = "TOWER", conflicts_with = "centerness")]
    predict_iou: Option<Centerness>,
    /// Predict a distribution over the distance to each side of a box in this many bins of a stride
    /// each, and train it with the distribution focal loss; 16 in its paper [default: a distance]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    box_bins: Option<usize>,
    /// Use this box loss: iou, iou-plus-one, linear-iou, giou, diou or ciou
    /// [default: small: giou, paper: iou-plus-one]
    #[arg(long, value_name = "NAME")]
    box_loss: Option<BoxLoss>,
    #[command(flatten)]
    image_size: ImageSizeArgs,
    #[command(flatten)]
    augmentation: AugmentationArgs,
    /// Train for this many passes over the training split [default: small: 4, or more if they
    /// have fewer than 1,000 steps, accurate: 40 or 10,000 steps, paper: 90,000 iterations]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    epochs: Option<usize>,
    /// Train on this many images per batch [default: small: 8, paper: 16]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    batch_size: Option<usize>,
    /// Set the learning rate after the warm-up [default: small: 0.002, paper: 0.01]
    #[arg(long, value_name = "RATE", value_parser = parse_positive, allow_negative_numbers = true)]
    lr: Option<f64>,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Set the decay of the exponential moving average of the weights, which is validated and saved
    /// in their place; 0 for no average [default: small: 0.99, paper: 0]
    #[arg(long, value_name = "DECAY", value_parser = parse_decay, allow_negative_numbers = true)]
    average_decay: Option<f64>,
    /// Load images on this many threads [default: small: 1, paper: 2]
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
    /// Keep resized training images in up to this many MiB of memory, so that each is decoded once; 0
    /// decodes each in every epoch [default: small: 512, paper: 0]
    #[arg(long, value_name = "MIB")]
    image_memory: Option<usize>,
    /// Seed all random numbers with this value [default: 0]
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Start from the weights and the model in a run folder, in a file of this project,
    /// torchvision's FCOS or ResNets or the original FCOS code, or from pretrained weights by name,
    /// such as torchvision/resnet18 (`fcos-burn weights` lists them); `builtin` are weights in this
    /// program, trained on generated images [default: those that --config states, otherwise builtin, if
    /// the data is your own and the model is that of the small preset]
    #[arg(long, value_name = "RUN|FILE|NAME")]
    weights: Option<PathBuf>,
    /// Start from random weights
    #[arg(long, conflicts_with = "weights")]
    from_scratch: bool,
    #[command(flatten)]
    named: NamedWeightsArgs,
    /// Treat the weights as an improved (imprv) model of the original FCOS code, which cannot be
    /// recognized by its file
    #[arg(long, requires = "weights")]
    improved_fcos: bool,
    /// Start all classes with a new classifier, if their names mean something else in the weights;
    /// without this flag, classes that the weights have by name keep their classifier
    #[arg(long, requires = "weights")]
    new_classifier: bool,
    /// Share every batch among devices, such as cuda:0,cuda:1; a device can be repeated
    /// [default: cpu]
    #[arg(
        long,
        value_name = "DEVICE,…",
        value_delimiter = ',',
        conflicts_with = "device"
    )]
    devices: Option<Vec<DeviceName>>,
    /// Accumulate gradients over N parts of each device's share of a batch, to save memory
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_count)]
    accumulate: Option<usize>,
    /// Recompute cheap activations in the backward pass, to save memory
    #[arg(long)]
    gradient_checkpointing: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// The arguments, by their ids, that a resumed run or search does not take: its configuration has
/// their values.
pub const FIXED_BY_RUN: [&str; 39] = [
    "data",
    "train_images",
    "train_split",
    "val_split",
    "val_share",
    "strict",
    "preset",
    "config",
    "backbone",
    "assignment",
    "association",
    "beta",
    "k",
    "association_score",
    "association_ramp",
    "association_by_level",
    "classification_loss",
    "box_association",
    "centerness",
    "predict_iou",
    "box_bins",
    "box_loss",
    "image_size",
    "short_side",
    "AugmentationArgs",
    "batch_size",
    "lr",
    "RecipeArgs",
    "average_decay",
    "workers",
    "image_memory",
    "seed",
    "weights",
    "from_scratch",
    "improved_fcos",
    "new_classifier",
    "accumulate",
    "gradient_checkpointing",
    "precision",
];

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
enum Backbone {
    ResNet18,
    ResNet34,
    ResNet50,
    ResNet101,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
#[value(rename_all = "lower")]
enum Assignment {
    Fcos,
    Atss,
    Tal,
    SimOta,
    Dw,
}

impl Assignment {
    /// The rule with its published parameters.
    fn rule(self) -> AssignerConfig {
        match self {
            Self::Fcos => AssignerConfig::Fcos,
            Self::Atss => AssignerConfig::Atss(Default::default()),
            Self::Tal => AssignerConfig::Tal(Default::default()),
            Self::SimOta => AssignerConfig::SimOta(Default::default()),
            Self::Dw => AssignerConfig::Dw(Default::default()),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Association {
    None,
    Pse,
    Pce,
    Concordance,
    Pearson,
    Spearman,
}

impl Association {
    fn loss(self) -> Option<AssociationLoss> {
        match self {
            Self::None => None,
            Self::Pse => Some(AssociationLoss::Pse { beta: 1.0, k: 1.0 }),
            Self::Pce => Some(AssociationLoss::Pce { beta: 1.0, k: 1.0 }),
            Self::Concordance => Some(AssociationLoss::CONCORDANCE),
            Self::Pearson => Some(AssociationLoss::PEARSON),
            Self::Spearman => Some(AssociationLoss::SPEARMAN),
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BoxAssociationArg {
    None,
    ScoreWeighted,
    ExpectedIou,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Classification {
    Focal,
    QualityFocal,
    Varifocal,
    SoftLabelFocal,
    RankSort,
    Alrp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Centerness {
    Classification,
    Regression,
}

impl From<Centerness> for CenternessBranch {
    fn from(tower: Centerness) -> Self {
        match tower {
            Centerness::Classification => Self::Classification,
            Centerness::Regression => Self::Regression,
        }
    }
}

/// Those of the splits that a configuration file names which the data has. The file may be that of a run on other data.
fn splits_of_file(
    names: [Option<&str>; 2],
    source: &DataSource,
) -> Result<[Option<String>; 2], Error> {
    let DataSource::Folder(path) = source else {
        return Ok([None, None]);
    };
    if names == [None, None] {
        return Ok([None, None]);
    }
    let folder = DataFolder::open(path).map_err(train::Error::from)?;
    let own = |name: &str| match folder.split(name) {
        Ok(split) => Some(split.to_owned()),
        Err(_) => {
            message(format_args!(
                "warning: {} has no split '{name}', which the configuration names: the default is used",
                path.display()
            ));
            None
        }
    };
    Ok(names.map(|name| name.and_then(own)))
}

impl TrainingArgs {
    /// The file that overrides values, if one was given.
    pub fn config_file(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// The configuration: the preset, changed by the model of the weights, the file and the flags, in this order.
    /// Weights with a name are fetched.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read or is malformed, and the cause. Fails if weights cannot
    /// be fetched, or have another backbone than the one that is chosen.
    pub fn config(&self) -> Result<RunConfig, Error> {
        if self.recipe.sets("initial_weights") {
            return Err(Error::WeightsBySet);
        }
        let mut config = self.preset.config();
        // Read once: it may be a pipe.
        let file = self.config.as_deref().map(ConfigFile::read).transpose()?;
        let stated = match &file {
            Some(file) => config.merge(file)?.initial_weights,
            None => None,
        };
        let of_flags = self.initial_weights()?;
        let is_stated = of_flags.is_none();
        let weights = of_flags.or(stated);
        // The name of weights whose backbone cannot be changed.
        let mut fixed_by = None;
        config = match &weights {
            Some(InitialWeights::All(path) | InitialWeights::Body(path)) => {
                fixed_by = Some(path.clone());
                match self.improved_fcos {
                    true => config.with_model(DetectorFile::open(path)?.improved_fcos()?),
                    false => config.with_model_of(path)?,
                }
            }
            Some(InitialWeights::Builtin) => {
                fixed_by = (!is_stated).then(|| "builtin".into());
                config.with_builtin_model()?
            }
            Some(_) | None => config,
        };
        let of_weights = fixed_by.map(|weights| (weights, config.model.backbone.clone()));
        if let Some(file) = &file {
            config = config.merge(file)?;
        }
        config.initial_weights = weights;
        let (train_split, val_split) = (self.splits.train(), self.splits.val());
        let mut val_share = self.splits.val_share();
        if let Some(source) = self.data.source() {
            // The share of the file holds for any data that can be divided.
            if val_split.is_none()
                && (source.is_generated() || matches!(source, DataSource::Folder(_)))
            {
                val_share = val_share.or(config.data.val_share);
            }
            let of_file = |field| file.as_ref().and_then(|file| file.text(field));
            let is_val_open = val_split.is_none() && val_share.is_none();
            let names = [
                of_file("data.train_split").filter(|_| train_split.is_none()),
                of_file("data.val_split").filter(|_| is_val_open),
            ];
            let [train_of_file, val_of_file] = splits_of_file(names, &source)?;
            let train_split = train_split.or(train_of_file.as_deref());
            let val_split = val_split.or(val_of_file.as_deref());
            config.data =
                DataConfig::of(source, train_split, val_split)?.with_strict(config.data.strict);
        } else {
            if let Some(split) = train_split {
                config.data.train_split = split.to_owned();
            }
            if let Some(split) = val_split {
                config.data = config.data.with_val_split(split);
            }
        }
        if let Some(share) = val_share {
            config.data = config.data.with_val_share(share);
        }
        config.data.strict |= self.strict;
        if let Some(backbone) = self.backbone {
            config.model.backbone.width = 64;
            config.model.backbone.depth = match backbone {
                Backbone::ResNet18 => ResNetDepth::ResNet18,
                Backbone::ResNet34 => ResNetDepth::ResNet34,
                Backbone::ResNet50 => ResNetDepth::ResNet50,
                Backbone::ResNet101 => ResNetDepth::ResNet101,
            };
        }
        if let Some((weights, backbone)) = of_weights {
            self.check_backbone(weights, &backbone, &config.model.backbone)?;
        }
        if let Some(assignment) = self.assignment {
            let (rule, before) = (assignment.rule(), config.model.assigner.clone());
            let same_rule = discriminant(&rule) == discriminant(&before);
            let has_its_loss = rule.classification() == Some(config.objective.classification);
            if !(same_rule && has_its_loss) {
                config = config.with_assigner(if same_rule { before } else { rule });
            }
        }
        self.set_objective(&mut config)
            .map_err(train::Error::from)?;
        if let Some(branch) = self.centerness {
            config.model.head.centerness = Some(branch.into());
            config.model.head.quality = BoxQuality::Centerness;
        }
        if let Some(branch) = self.predict_iou {
            config.model.head.centerness = Some(branch.into());
            config.model.head.quality = BoxQuality::Iou;
        }
        if let Some(bins) = self.box_bins {
            config.model.head.regression = RegressionForm::Distribution { bins };
        }
        if let Some(box_loss) = self.box_loss {
            config.objective.box_loss = box_loss;
        }
        if let Some(resize) = self.image_size.resize() {
            config.input.resize = resize;
        }
        self.augmentation.set(&mut config);
        if let Some(duration) = self.epochs() {
            config.duration = duration;
        }
        if let Some(batch_size) = self.batch_size {
            config.batch_size = batch_size;
        }
        if let Some(rate) = self.lr {
            config.optimization.learning_rate = rate;
        }
        self.recipe.apply(&mut config).map_err(train::Error::from)?;
        if let Some(decay) = self.average_decay {
            config.optimization.average_decay = (decay > 0.0).then_some(decay);
        }
        if let Some(workers) = self.workers {
            config.workers = workers;
        }
        if let Some(image_memory) = self.image_memory {
            config.image_memory = image_memory;
        }
        if let Some(seed) = self.seed {
            config.seed = seed;
        }
        if let Some(devices) = self.devices() {
            config.devices = devices;
        }
        if let Some(steps) = self.accumulate {
            config.accumulate = steps;
        }
        config.gradient_checkpointing |= self.gradient_checkpointing;
        if let Some(precision) = self.device.precision {
            config.precision = precision;
        }
        let mut config = self
            .recipe
            .with_fields(config)
            .map_err(train::Error::from)?;
        if self.recipe.sets("data.val_split") && !self.recipe.sets("data.val_share") {
            // A split, not a name for the part that is held out.
            config.data.val_share = None;
        }
        let is_own = !config.data.source.is_generated();
        let is_chosen = self.config.is_some()
            || config.augment.is_some()
            || self.recipe.sets("augment")
            || self.recipe.sets("input.augmentation");
        if is_own && !is_chosen && !matches!(self.preset, Preset::Paper) {
            config.augment = Some(AugmentationStrength::Auto);
        }
        match config.initial_weights {
            None if is_own && config.has_builtin_model()? => {
                config.initial_weights = Some(InitialWeights::Builtin);
            }
            // Flags have changed the model that the file states them for.
            Some(InitialWeights::Builtin) if is_stated && !config.has_builtin_model()? => {
                config.initial_weights = Some(InitialWeights::Random);
            }
            _ => {}
        }
        Ok(config)
    }

    /// The weights of the flags. Those with a name are fetched.
    fn initial_weights(&self) -> Result<Option<InitialWeights>, Error> {
        let Some(weights) = &self.weights else {
            return Ok(self.from_scratch.then_some(InitialWeights::Random));
        };
        if is_builtin(weights) {
            if self.improved_fcos {
                return Err(detect::Error::NotADetector {
                    path: weights.clone(),
                    cause: "not a checkpoint of the original FCOS code".to_owned(),
                }
                .into());
            }
            return Ok(Some(InitialWeights::Builtin));
        }
        let path = self.named.path(weights)?;
        Ok(Some(match self.new_classifier {
            true => InitialWeights::Body(path),
            false => InitialWeights::All(path),
        }))
    }

    /// Whether the weights to start from fit the chosen backbone.
    fn check_backbone(
        &self,
        weights: PathBuf,
        of_weights: &ResNetConfig,
        chosen: &ResNetConfig,
    ) -> Result<(), Error> {
        let size = |backbone: &ResNetConfig| (backbone.depth, backbone.width);
        if size(of_weights) == size(chosen) {
            return Ok(());
        }
        Err(Error::Backbone {
            weights,
            of_weights: backbone_name(of_weights),
            flag: match self.backbone {
                Some(_) => "--backbone",
                None => "--config",
            },
            chosen: backbone_name(chosen),
        })
    }

    /// The devices, if a flag selects any.
    pub fn devices(&self) -> Option<Vec<DeviceName>> {
        let one = self.device.device.clone().map(|device| vec![device]);
        self.devices.clone().or(one)
    }

    /// The number of epochs, if a flag sets it.
    pub fn epochs(&self) -> Option<TrainingLength> {
        self.epochs.map(TrainingLength::Epochs)
    }

    fn set_objective(&self, config: &mut RunConfig) -> Result<(), ConfigError> {
        if let Some(loss) = self.classification_loss {
            config.objective.classification = match loss {
                Classification::Focal => ClassificationLoss::default(),
                Classification::QualityFocal => ClassificationLoss::QUALITY_FOCAL,
                Classification::Varifocal => ClassificationLoss::VARIFOCAL,
                Classification::SoftLabelFocal => ClassificationLoss::SOFT_LABEL_FOCAL,
                Classification::RankSort => ClassificationLoss::RANK_SORT,
                Classification::Alrp => ClassificationLoss::ALRP,
            };
            // These losses already tie scores to the IoU.
            if !matches!(loss, Classification::Focal) {
                config.objective.association = None;
            }
        }
        if let Some(association) = self.association {
            config.objective.association = association.loss();
            // As the authors of the correlation losses do.
            if let Some(AssociationLoss::Correlation { .. }) = config.objective.association {
                config.objective.association_score = AssociationScore::GroundTruthClass;
            }
        }
        self.set_association(&mut config.objective.association)?;
        let objective = &mut config.objective;
        if let Some(score) = self.association_score {
            objective.association_score = score;
        }
        if let Some(ramp) = self.association_ramp {
            objective.association_ramp = ramp;
        }
        if let Some(association) = self.box_association {
            objective.box_association = match association {
                BoxAssociationArg::None => None,
                BoxAssociationArg::ScoreWeighted => Some(BoxAssociation::ScoreWeighted),
                BoxAssociationArg::ExpectedIou => Some(BoxAssociation::EXPECTED_IOU),
            };
        }
        Ok(())
    }

    /// Sets the parameters of the association loss.
    fn set_association(
        &self,
        association: &mut Option<AssociationLoss>,
    ) -> Result<(), ConfigError> {
        let refused = |value, requirement| {
            Err(ConfigError::new(
                "objective.association",
                value,
                requirement,
            ))
        };
        match association {
            Some(AssociationLoss::Pse { beta, k } | AssociationLoss::Pce { beta, k }) => {
                if self.association_by_level {
                    return refused("pse or pce", "a correlation where it is by level");
                }
                *beta = self.beta.unwrap_or(*beta);
                *k = self.k.unwrap_or(*k);
            }
            Some(AssociationLoss::Correlation { beta, by_level, .. }) => {
                if self.k.is_some() {
                    return refused("a correlation", "pse or pce where its slope is given");
                }
                *beta = self.beta.unwrap_or(*beta);
                *by_level |= self.association_by_level;
            }
            _ if self.names_the_association() => {
                let requirement = "given where its weight, slope, score, ramp or levels are";
                return refused("none", requirement);
            }
            _ => {}
        }
        Ok(())
    }

    /// Whether a flag changes the classification or association loss.
    pub fn names_an_objective(&self) -> bool {
        self.association.is_some()
            || self.names_the_association()
            || self.classification_loss.is_some()
            || self.box_association.is_some()
    }

    /// Whether a flag only has a meaning for an association loss.
    fn names_the_association(&self) -> bool {
        self.beta.is_some()
            || self.k.is_some()
            || self.association_score.is_some()
            || self.association_ramp.is_some()
            || self.association_by_level
    }
}

/// The depth of a backbone, and its width if it is not the standard one.
fn backbone_name(backbone: &ResNetConfig) -> String {
    let depth = match backbone.depth {
        ResNetDepth::ResNet18 => "resnet18",
        ResNetDepth::ResNet34 => "resnet34",
        ResNetDepth::ResNet50 => "resnet50",
        ResNetDepth::ResNet101 => "resnet101",
        _ => "another ResNet",
    };
    match backbone.width {
        64 => depth.to_owned(),
        width => format!("{depth} of width {width}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        training: TrainingArgs,
    }

    fn config(flags: &[&str]) -> RunConfig {
        let flags = ["train"].iter().chain(flags);
        Flags::parse_from(flags).training.config().unwrap()
    }

    #[test]
    fn naming_the_rule_of_a_preset_changes_nothing() {
        let accurate = RunConfig::accurate();
        let flags = ["--preset", "accurate", "--assignment"];
        assert_eq!(config(&[&flags[..], &["dw"]].concat()), accurate);
        let fcos = config(&[&flags[..], &["fcos"]].concat());
        assert_eq!(fcos.objective, RunConfig::small().objective);
    }

    #[test]
    fn the_augmentation_fits_own_images_unless_it_is_chosen() {
        let own = [
            "--train-images",
            "a",
            "--train-annotations",
            "a.json",
            "--val-images",
            "b",
            "--val-annotations",
            "b.json",
        ];
        let of = |flags: &[&str]| config(&[&own[..], flags].concat()).augment;
        assert_eq!(of(&[]), Some(AugmentationStrength::Auto));
        assert_eq!(
            of(&["--preset", "accurate"]),
            Some(AugmentationStrength::Auto)
        );
        assert_eq!(
            of(&["--augment", "light"]),
            Some(AugmentationStrength::Light)
        );
        assert_eq!(of(&["--set", "input.augmentation=[]"]), None);
        // The default steps, but chosen.
        let flips = r#"input.augmentation=[{"horizontal_flip":{"probability":0.5}}]"#;
        assert_eq!(of(&["--set", flips]), None);
        assert_eq!(of(&["--set", "augment=null"]), None);
        let probability = "input.augmentation.0.horizontal_flip.probability=0.4";
        assert_eq!(of(&["--set", probability]), None);
        assert_eq!(of(&["--set", r#"input={"augmentation":[]}"#]), None);
        assert_eq!(
            of(&["--set", r#"input={"size_multiple":32}"#]),
            Some(AugmentationStrength::Auto)
        );
        assert_eq!(of(&["--preset", "paper"]), None);
        assert_eq!(config(&[]).augment, None);
    }

    #[test]
    fn an_assignment_rule_sets_its_loss_unless_flags_do() {
        let small = RunConfig::small();
        let tal = config(&["--assignment", "tal"]);
        assert_eq!(tal, small.clone().with_assigner(Assignment::Tal.rule()));
        assert_eq!(
            tal.objective.classification,
            ClassificationLoss::QUALITY_FOCAL
        );
        assert_eq!(tal.objective.association, None);
        let others = ["--classification-loss", "focal", "--association", "pse"];
        let mut flags = vec!["--assignment", "tal"];
        flags.extend(others);
        assert_eq!(config(&flags).objective, small.objective);
        let simota = config(&["--assignment", "simota"]);
        assert_eq!(simota.model.assigner, Assignment::SimOta.rule());
        assert_eq!(simota.objective, small.objective);
    }

    #[test]
    fn an_assignment_rule_keeps_its_parameters_of_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let changes = r#"{"model": {"assigner": {"tal": {"top_k": 9}}}}"#;
        std::fs::write(file.path(), changes).unwrap();
        let path = file.path().to_str().unwrap();
        let rule = |name| {
            config(&["--config", path, "--assignment", name])
                .model
                .assigner
        };
        let AssignerConfig::Tal(tal) = rule("tal") else {
            panic!("{:?}", rule("tal"));
        };
        assert_eq!(tal.top_k, 9);
        assert_eq!(rule("dw"), Assignment::Dw.rule());
    }

    /// The configuration that a file with these changes gives.
    fn of_file(changes: &str) -> RunConfig {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), changes).unwrap();
        config(&["--config", file.path().to_str().unwrap()])
    }

    #[test]
    fn flags_set_what_a_file_sets() {
        for (flags, changes) in [
            (
                "--association concordance --beta 0.2 --association-by-level",
                r#"{"objective": {"association": {"correlation": {
                    "beta": 0.2, "coefficient": "concordance", "by_level": true}}}}"#,
            ),
            (
                "--association pearson",
                r#"{"objective": {"association": {"correlation": {
                    "beta": 0.3, "coefficient": "pearson", "by_level": false}}}}"#,
            ),
            (
                "--association spearman",
                r#"{"objective": {"association": {"correlation": {
                    "beta": 0.3, "coefficient": {"spearman": {"epsilon": 0.1}}, "by_level": false}}}}"#,
            ),
            (
                "--classification-loss rank-sort",
                r#"{"objective": {"association": null, "classification": {"rank-sort": {"delta": 0.5}}}}"#,
            ),
            (
                "--classification-loss alrp",
                r#"{"objective": {"association": null, "classification": {"alrp": {"delta": 1}}}}"#,
            ),
            (
                "--box-association score-weighted",
                r#"{"objective": {"box_association": "score-weighted"}}"#,
            ),
            (
                "--box-association expected-iou",
                r#"{"objective": {"box_association": {"expected-iou": {"beta": 1, "temperature": 0.1}}}}"#,
            ),
            (
                "--predict-iou",
                r#"{"model": {"head": {"centerness": "regression", "quality": "iou"}}}"#,
            ),
            (
                "--box-bins 16 --set objective.distribution_weight=0.5",
                r#"{"model": {"head": {"regression": {"distribution": {"bins": 16}}}},
                    "objective": {"distribution_weight": 0.5}}"#,
            ),
            (
                "--set model.postprocess.score_exponent=0.25",
                r#"{"model": {"postprocess": {"score_exponent": 0.25}}}"#,
            ),
        ] {
            let flags: Vec<&str> = flags.split(' ').collect();
            let found = config(&flags);
            assert_eq!(found, of_file(changes), "{flags:?}");
            assert_ne!(found, RunConfig::small(), "{flags:?}");
        }
    }

    #[test]
    fn parameters_of_another_association_loss_are_refused() {
        for flags in [
            ["--association=pse", "--association-by-level"],
            ["--association=pearson", "--k=1.2"],
            ["--association=none", "--association-by-level"],
        ] {
            let parsed = Flags::parse_from(["train"].iter().chain(&flags));
            let error = parsed.training.config().unwrap_err().to_string();
            assert!(error.contains("objective.association"), "{error}");
        }
    }
}
