//! The position of a visitor in a module.

/// The fields from the root of a module to the position of a visitor or mapper, which calls
/// [`enter`](Self::enter) and [`exit`](Self::exit) for each.
#[derive(Debug, Default)]
pub(super) struct ModulePath(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: String,
    /// Whether it is the variant of an enum.
    is_variant: bool,
}

impl ModulePath {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.0.push(Field {
            name: name.to_owned(),
            is_variant: container.starts_with("Enum:"),
        });
    }

    pub(super) fn exit(&mut self) {
        self.0.pop();
    }

    /// The path, with enum variants.
    pub(super) fn path(&self) -> String {
        let names = self.0.iter().map(|field| field.name.as_str());
        names.collect::<Vec<_>>().join(".")
    }

    /// The path without enum variants.
    pub(super) fn name(&self) -> String {
        self.fields().collect::<Vec<_>>().join(".")
    }

    /// Whether this is a running statistic of a normalization, which no optimizer changes and all
    /// forks share.
    pub(super) fn is_running_statistic(&self) -> bool {
        let last = self.fields().next_back();
        matches!(last, Some("running_mean" | "running_var"))
    }

    /// The names of the fields, without enum variants.
    fn fields(&self) -> impl DoubleEndedIterator<Item = &str> {
        let fields = self.0.iter().filter(|field| !field.is_variant);
        fields.map(|field| field.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{
        module::{Module, ModuleVisitor, Param, RunningState},
        tensor::{Device, Tensor},
    };
    use fcos_burn_model::{FcosConfig, backbone::norm::NormKind};

    use super::*;
    use crate::training::random_model;

    /// A normalization that is not Burn's.
    #[derive(Module, Debug)]
    struct OwnNorm {
        running_mean: RunningState<Tensor<1>>,
        gamma: Param<Tensor<1>>,
    }

    #[derive(Default)]
    struct Statistics {
        path: ModulePath,
        found: Vec<String>,
        expected: Vec<String>,
    }

    impl ModuleVisitor for Statistics {
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.exit();
        }

        fn visit_float<const D: usize>(&mut self, _param: &Param<Tensor<D>>) {
            let path = self.path.path();
            if self.path.is_running_statistic() {
                self.found.push(path.clone());
            }
            if path.contains("running_") {
                self.expected.push(path);
            }
        }
    }

    fn statistics(module: &impl Module) -> Statistics {
        let mut statistics = Statistics::default();
        module.visit(&mut statistics);
        statistics
    }

    #[test]
    fn running_statistics_are_recognized() {
        let ones = || Tensor::ones([2], &Device::flex());
        let norm = OwnNorm {
            running_mean: RunningState::new(ones()),
            gamma: Param::from_tensor(ones()),
        };
        assert_eq!(statistics(&norm).found, ["running_mean"]);
        for (norm, layers) in [
            (NormKind::Batch, 20),
            (NormKind::Frozen, 20),
            (NormKind::Group, 0),
        ] {
            let mut config = FcosConfig::small(2);
            config.backbone.width = 8;
            config.backbone.norm = norm;
            config.fpn.channels = 8;
            let model = random_model(&config, 0, &Device::flex()).unwrap();
            let statistics = statistics(&model);
            assert_eq!(statistics.found, statistics.expected);
            assert_eq!(statistics.found.len(), 2 * layers, "{norm:?}");
        }
    }
}
