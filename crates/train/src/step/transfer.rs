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

use super::module_path::ModulePath;

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

/// [Forks](Module::fork) `module`, but leaves the running statistics of normalizations where they are:
/// all forks share them.
///
/// # Errors
///
/// Fails if the server that has the module fails.
pub(super) fn fork<M: Module>(module: M, to: &Device) -> Result<M, ExecutionError> {
    move_values(module, to, |place| !place.is_running_statistic())
}

/// Moves the running statistics of normalizations to `to`.
///
/// # Errors
///
/// Fails if the server that has them fails.
pub(super) fn move_statistics<M: Module>(module: M, to: &Device) -> Result<M, ExecutionError> {
    move_values(module, to, ModulePath::is_running_statistic)
}

/// Moves the values of `module` that `selected` accepts. They are detached from the graph.
fn move_values<M: Module>(
    module: M,
    to: &Device,
    selected: fn(&ModulePath) -> bool,
) -> Result<M, ExecutionError> {
    let mut requests = ValueRequests {
        device: to.clone(),
        selected,
        place: ModulePath::default(),
        data: Vec::new(),
    };
    module.visit(&mut requests);
    let mut arrivals = ValueArrivals {
        device: to.clone(),
        selected,
        place: ModulePath::default(),
        data: block_on(try_join_all(requests.data))?.into_iter(),
    };
    Ok(module.map(&mut arrivals))
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

struct ValueRequests {
    device: Device,
    selected: fn(&ModulePath) -> bool,
    place: ModulePath,
    /// Of the values on other machines than the device.
    data: Vec<Request>,
}

impl ModuleVisitor for ValueRequests {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val();
        if (self.selected)(&self.place) && !on_one_machine(&value.device(), &self.device) {
            self.data.push(Box::pin(value.into_data_async()));
        }
    }
}

struct ValueArrivals {
    device: Device,
    selected: fn(&ModulePath) -> bool,
    place: ModulePath,
    /// In the order of the module.
    data: IntoIter<TensorData>,
}

impl ModuleMapper for ValueArrivals {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if !(self.selected)(&self.place) {
            return param;
        }
        param.map(|value| {
            let arrived = match on_one_machine(&value.device(), &self.device) {
                true => None,
                false => self.data.next(),
            };
            let copy = match arrived {
                Some(data) => Tensor::from_data(data, &self.device),
                None => value.clone().to_device(&self.device).detach(),
            };
            copy.set_require_grad(value.is_require_grad())
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use fcos_burn_model::{Fcos, FcosConfig, backbone::norm::NormKind};

    use super::*;
    use crate::training::random_model;

    fn frozen_model() -> Fcos {
        let mut config = FcosConfig::small(2);
        config.backbone.width = 8;
        config.backbone.norm = NormKind::Frozen;
        config.fpn.channels = 8;
        random_model(&config, 0, &Device::flex().autodiff()).unwrap()
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
        let module = frozen_model();
        let forked = fork(module.clone(), &Device::flex().autodiff()).unwrap();
        let (expected, found) = (values(&module), values(&forked));
        assert!(found == expected);
        assert!(found.iter().any(|(_, required)| *required));
        assert!(found.iter().any(|(_, required)| !*required));
    }
}
