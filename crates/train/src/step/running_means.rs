//! The running means of a model, for tests.

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::Tensor,
};

#[derive(Default)]
struct Means {
    is_mean: bool,
    values: Vec<f64>,
}

impl ModuleVisitor for Means {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.is_mean = name == "running_mean";
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if self.is_mean {
            self.values.extend(param.val().into_data().iter::<f64>());
        }
    }
}

/// The running means of all batch normalization layers.
///
/// # Panics
///
/// If there are none.
pub(crate) fn running_means<M: Module>(model: &M) -> Vec<f64> {
    let mut means = Means::default();
    model.visit(&mut means);
    assert!(!means.values.is_empty());
    means.values
}
