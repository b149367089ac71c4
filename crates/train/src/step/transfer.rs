//! Moving weights and gradients between machines.
//!
//! Between the devices of one machine, this is Burn's business. Between two servers, Burn would
//! have one connect to the other, under an address that only this process may know. Here,
//! everything passes through this process instead. The weights and the gradients of a module are
//! all requested before the first one is awaited, so that the time does not grow with their number
//! times the latency of the network.

use std::{collections::HashSet, vec::IntoIter};

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId},
    optim::GradientsParams,
    tensor::{Device, ExecutionError, Tensor, TensorData},
};
use fcos_burn_detect::device::on_one_machine;
use futures::{
    executor::block_on,
    future::{BoxFuture, try_join_all},
};

/// Moves `tensor` to `device`.
///
/// # Errors
///
/// Fails if a remote device fails.
pub(super) fn move_tensor<const D: usize>(
    tensor: Tensor<D>,
    device: &Device,
) -> Result<Tensor<D>, ExecutionError> {
    match on_one_machine(&tensor.device(), device) {
        true => Ok(tensor.to_device(device)),
        false => Ok(Tensor::from_data(tensor.try_into_data()?, device)),
    }
}

/// Moves the gradients of `module` from one device to another.
///
/// # Errors
///
/// Fails if a remote device fails.
pub(super) fn move_gradients<M: Module>(
    module: &M,
    gradients: GradientsParams,
    from: &Device,
    to: &Device,
) -> Result<GradientsParams, ExecutionError> {
    if on_one_machine(from, to) {
        return Ok(gradients.to_device(to, module));
    }
    let mut requests = GradientRequests {
        gradients,
        expected: HashSet::new(),
        data: Vec::new(),
    };
    module.visit(&mut requests);
    let mut arrivals = GradientArrivals {
        expected: requests.expected,
        data: block_on(try_join_all(requests.data))?.into_iter(),
        device: to.clone().without_autodiff(),
        gradients: GradientsParams::new(),
    };
    module.visit(&mut arrivals);
    Ok(arrivals.gradients)
}

/// [Forks](Module::fork) `module`, but leaves the running statistics of batch normalization where
/// they are: all forks share them.
///
/// # Errors
///
/// Fails if the server that has the module fails.
pub(super) fn fork<M: Module>(module: M, to: &Device) -> Result<M, ExecutionError> {
    let mut requests = WeightRequests {
        device: to.clone(),
        place: Place::default(),
        data: Vec::new(),
    };
    module.visit(&mut requests);
    let mut arrivals = WeightArrivals {
        device: to.clone(),
        place: Place::default(),
        data: block_on(try_join_all(requests.data))?.into_iter(),
    };
    Ok(module.map(&mut arrivals))
}

/// Moves the running statistics of batch normalization to `device`.
pub(super) fn move_statistics<M: Module>(module: M, device: &Device) -> M {
    module.map(&mut Statistics {
        device: device.clone(),
        place: Place::default(),
    })
}

type Request = BoxFuture<'static, Result<TensorData, ExecutionError>>;

struct GradientRequests {
    gradients: GradientsParams,
    /// The parameters that have a gradient.
    expected: HashSet<ParamId>,
    data: Vec<Request>,
}

impl ModuleVisitor for GradientRequests {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.expected.insert(param.id);
            self.data.push(Box::pin(gradient.into_data_async()));
        }
    }
}

struct GradientArrivals {
    expected: HashSet<ParamId>,
    /// In the order of the parameters.
    data: IntoIter<TensorData>,
    device: Device,
    gradients: GradientsParams,
}

impl ModuleVisitor for GradientArrivals {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.expected.remove(&param.id) {
            return;
        }
        if let Some(data) = self.data.next() {
            let gradient = Tensor::<D>::from_data(data, &self.device);
            self.gradients.register(param.id, gradient);
        }
    }
}

/// The place of a tensor in a module.
#[derive(Default)]
struct Place(Vec<(String, bool)>);

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.0
            .push((name.to_owned(), container == "Struct:BatchNorm"));
    }

    fn exit(&mut self) {
        self.0.pop();
    }

    fn is_running_statistic(&self) -> bool {
        (self.0.last()).is_some_and(|(name, of_batch_norm)| {
            *of_batch_norm && matches!(name.as_str(), "running_mean" | "running_var")
        })
    }
}

struct WeightRequests {
    device: Device,
    place: Place,
    /// Of the weights on other machines than the device.
    data: Vec<Request>,
}

impl ModuleVisitor for WeightRequests {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = param.val();
        if !self.place.is_running_statistic() && !on_one_machine(&weight.device(), &self.device) {
            self.data.push(Box::pin(weight.into_data_async()));
        }
    }
}

struct WeightArrivals {
    device: Device,
    place: Place,
    /// In the order of the parameters.
    data: IntoIter<TensorData>,
}

impl ModuleMapper for WeightArrivals {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if self.place.is_running_statistic() {
            return param;
        }
        param.map(|weight| {
            let arrived = match on_one_machine(&weight.device(), &self.device) {
                true => None,
                false => self.data.next(),
            };
            let copy = match arrived {
                Some(data) => Tensor::from_data(data, &self.device),
                None => weight.clone().to_device(&self.device).detach(),
            };
            copy.set_require_grad(weight.is_require_grad())
        })
    }
}

struct Statistics {
    device: Device,
    place: Place,
}

impl ModuleMapper for Statistics {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.place.is_running_statistic() {
            true => param.map(|statistic| statistic.to_device(&self.device)),
            false => param,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_model::{Fcos, FcosConfig, backbone::norm::NormKind};

    use super::*;
    use crate::training::random_model;

    fn model(norm: NormKind) -> Fcos {
        let mut config = FcosConfig::small(2);
        config.backbone.width = 8;
        config.backbone.norm = norm;
        config.fpn.channels = 8;
        random_model(&config, 0, &Device::flex().autodiff()).unwrap()
    }

    /// Counts the running statistics, and the tensors of a ResNet that hold some.
    #[derive(Default)]
    struct Counts {
        place: Place,
        names: Vec<String>,
        found: Vec<String>,
        expected: Vec<String>,
    }

    impl ModuleVisitor for Counts {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.place.enter(name, container);
            self.names.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.place.exit();
            self.names.pop();
        }

        fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
            let path = self.names.join(".");
            if self.place.is_running_statistic() {
                self.found.push(path.clone());
            }
            if path.contains("running_") {
                self.expected.push(path);
            }
        }
    }

    #[test]
    fn running_statistics_are_recognized() {
        for (norm, layers) in [
            (NormKind::Batch, 20),
            (NormKind::Frozen, 20),
            (NormKind::Group, 0),
        ] {
            let mut counts = Counts::default();
            model(norm).visit(&mut counts);
            assert_eq!(counts.found, counts.expected);
            assert_eq!(counts.found.len(), 2 * layers, "{norm:?}");
        }
    }

    #[test]
    fn a_fork_has_the_weights_of_the_module_and_what_requires_gradients() {
        #[derive(Default)]
        struct Values(Vec<(Vec<f32>, bool)>);
        impl ModuleVisitor for Values {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let values = param.val().into_data().iter::<f32>().collect();
                self.0.push((values, param.is_require_grad()));
            }
        }
        let values = |module: &Fcos| {
            let mut values = Values::default();
            module.visit(&mut values);
            values.0
        };
        let module = model(NormKind::Frozen);
        let forked = fork(module.clone(), &Device::flex().autodiff()).unwrap();
        let (expected, found) = (values(&module), values(&forked));
        assert!(found == expected);
        assert!(found.iter().any(|(_, required)| *required));
        assert!(found.iter().any(|(_, required)| !*required));
    }
}
