//! Setup of a training run: devices, initial model, trainable detector.

use std::sync::{Mutex, PoisonError};

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Tensor},
};
use fcos_burn_data::Category;
use fcos_burn_detect::{
    class_names,
    device::{DeviceName, Precision},
};
use fcos_burn_model::{
    ConfigError, Fcos, FcosConfig,
    backbone::{Backbone, BackboneConfig},
    weights::WeightsFile,
};

use super::class_transfer::ClassTransfer;
use crate::{
    Error, InitialWeights, RunConfig, RunFolder, builtin,
    step::{DeviceGroup, TrainableDetector},
};

impl InitialWeights {
    /// Loads the weights into `model`, which must match them (see
    /// [`RunConfig::with_model_of`]), and logs which ones were loaded. `categories` are the classes
    /// of the model.
    ///
    /// With [`All`](Self::All), a class that the weights lack keeps the classifier of `model`. If
    /// nothing names the classes of the weights, they are assumed to be `categories`, in that
    /// order.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or does not match the model.
    pub fn load<B: Backbone>(
        &self,
        model: Fcos<B>,
        categories: &[Category],
    ) -> Result<Fcos<B>, Error> {
        let path = match self {
            Self::All(path) | Self::Body(path) => path,
            Self::Random => return Ok(model),
            Self::Builtin => {
                let (model, loaded) = builtin::weights()?.load_without_classifier(model)?;
                log::info!("{loaded}");
                return Ok(model);
            }
        };
        let file = match path.is_dir() {
            true => RunFolder::open(path)?.model_path(),
            false => path.clone(),
        };
        let weights = WeightsFile::open(&file)?;
        let (model, loaded) = match self {
            Self::All(_) => match class_names(&weights)? {
                Some(names) => {
                    let transfer = ClassTransfer::new(categories, &names);
                    transfer.log();
                    weights.load_classes(model, &transfer.rows)?
                }
                None => {
                    if weights.num_classes().is_some() {
                        log::info!(
                            "{}: the weights have no class names; assuming the classes of the data, in that order",
                            file.display()
                        );
                    }
                    weights.load(model)?
                }
            },
            _ => weights.load_without_classifier(model)?,
        };
        log::info!("{loaded}");
        Ok(model)
    }
}

/// The devices of the configuration, with autodiff.
///
/// # Errors
///
/// Names the device that is unavailable.
pub fn open_devices<C: BackboneConfig>(config: &RunConfig<C>) -> Result<Vec<Device>, Error> {
    let open = |name: &DeviceName| Ok(differentiating(config, name.open(config.precision)?));
    config.devices.iter().map(open).collect()
}

fn differentiating<C: BackboneConfig>(config: &RunConfig<C>, device: Device) -> Device {
    match config.gradient_checkpointing {
        true => device.autodiff().gradient_checkpointing(),
        false => device.autodiff(),
    }
}

/// The model on `device` with random weights from the configuration's seed. Frozen parameters have
/// no gradient.
///
/// They are drawn on the CPU if it is built in, so that they are the same for all devices.
///
/// # Errors
///
/// Names the invalid value of the model's configuration.
pub fn initial_model<C: BackboneConfig>(
    config: &RunConfig<C>,
    device: &Device,
) -> Result<Fcos<C::Backbone>, Error> {
    let host = DeviceName::CPU
        .open(Precision::F32)
        .unwrap_or_else(|_| device.clone().without_autodiff());
    let host = differentiating(config, host);
    let model = random_model(&config.model, config.seed, &host);
    let model = model.map_err(|error| error.within("model"))?;
    config.optimization.frozen(model.fork(device))
}

/// The model whose weights are drawn from `seed`, whatever else the process draws.
pub fn random_model<C: BackboneConfig>(
    config: &FcosConfig<C>,
    seed: u64,
    device: &Device,
) -> Result<Fcos<C::Backbone>, ConfigError> {
    // The random state is global to the process, and other training runs may use it too.
    static RANDOM_STATE: Mutex<()> = Mutex::new(());
    let _guard = RANDOM_STATE.lock().unwrap_or_else(PoisonError::into_inner);
    device.seed(seed);
    let model = config.init(device)?;
    // Parameters are initialized on first use. Do it here, before anything else draws from the
    // same random state.
    model.visit(&mut Draw);
    Ok(model)
}

struct Draw;

impl ModuleVisitor for Draw {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

/// The trainable detector of a model on the first of `devices`.
///
/// # Errors
///
/// Names the invalid value of the objective's configuration; fails if a thread cannot be
/// started.
pub fn trainable<C: BackboneConfig>(
    config: &RunConfig<C>,
    model: Fcos<C::Backbone>,
    devices: Vec<Device>,
) -> Result<TrainableDetector<C::Backbone>, Error> {
    let devices = DeviceGroup::new(devices).map_err(|error| Error::Training(error.to_string()))?;
    Ok(TrainableDetector::new(model, config.objective()?, devices)?
        .with_max_gradient_norm(config.optimization.max_gradient_norm)
        .with_precision(config.precision))
}
