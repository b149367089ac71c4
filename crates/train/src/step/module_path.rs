//! Where a visitor of a module is.

/// The fields that lead to where a visitor or a mapper is. It enters and exits with them.
#[derive(Debug, Default)]
pub(super) struct ModulePath(Vec<Field>);

#[derive(Debug)]
struct Field {
    name: String,
    /// The type that has the field, such as `Struct:BatchNorm`.
    container: String,
}

impl ModulePath {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.0.push(Field {
            name: name.to_owned(),
            container: container.to_owned(),
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
        let fields = (self.0.iter()).filter(|field| !field.container.starts_with("Enum:"));
        let names = fields.map(|field| field.name.as_str());
        names.collect::<Vec<_>>().join(".")
    }

    /// Whether this is a running statistic of batch normalization, which no optimizer changes.
    pub(super) fn is_running_statistic(&self) -> bool {
        self.0.last().is_some_and(|field| {
            field.container == "Struct:BatchNorm"
                && matches!(field.name.as_str(), "running_mean" | "running_var")
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use burn::{
        module::{Module, ModuleVisitor, Param},
        tensor::{Device, Tensor},
    };
    use fcos_burn_model::{FcosConfig, backbone::norm::NormKind};

    use super::*;
    use crate::training::random_model;

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

    #[test]
    fn running_statistics_are_recognized() {
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
            let mut statistics = Statistics::default();
            model.visit(&mut statistics);
            assert_eq!(statistics.found, statistics.expected);
            assert_eq!(statistics.found.len(), 2 * layers, "{norm:?}");
        }
    }
}
