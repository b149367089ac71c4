//! The parameters of a detector by name, and how each of them is trained.

use burn::{
    module::{Flag, Module, ModuleVisitor, Param, ParamGroup},
    tensor::Tensor,
};
use fcos_burn_model::{ConfigError, Fcos, backbone::Backbone};
use regex::Regex;

use super::module_path::ModulePath;
use crate::{
    Error,
    config::{OptimizationConfig, parameter_group::pattern},
};

/// How a parameter is trained.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ParameterSettings {
    /// Its name, see [`OptimizationConfig::groups`].
    pub name: String,
    /// Its learning rate as a multiple of [`OptimizationConfig::learning_rate`].
    pub learning_rate_factor: f64,
    /// Its weight decay.
    pub weight_decay: f64,
    /// Whether [`OptimizationConfig::freeze`] names it.
    pub is_frozen: bool,
    /// Its path in the module, with enum variants.
    pub(super) path: String,
}

impl OptimizationConfig {
    /// How each parameter of `model` is trained, in the order of the module.
    ///
    /// # Errors
    ///
    /// Names the pattern that matches no parameter, with similar names.
    pub fn parameters<B: Backbone>(
        &self,
        model: &Fcos<B>,
    ) -> Result<Vec<ParameterSettings>, Error> {
        let settings = self.settings(Values::of(model).parameters, &stage_prefixes(model));
        settings.map_err(within)
    }

    /// How many values of `model` are not trained, apart from running statistics.
    pub(crate) fn num_untrained<B: Backbone>(model: &Fcos<B>) -> usize {
        let values = Values::of(model).parameters;
        let untrained = values.iter().filter(|value| !value.is_trained);
        untrained.map(|value| value.count).sum()
    }

    /// `model` without the gradients of the parameters that [`freeze`](Self::freeze) names.
    ///
    /// # Errors
    ///
    /// Names the pattern that matches no parameter, or all patterns if they leave nothing to train.
    pub fn frozen<B: Backbone>(&self, model: Fcos<B>) -> Result<Fcos<B>, Error> {
        match self.freeze.is_empty() {
            true => Ok(model),
            false => self.freeze_in(model).map_err(within),
        }
    }

    fn freeze_in<B: Backbone>(&self, model: Fcos<B>) -> Result<Fcos<B>, ConfigError> {
        let Values {
            parameters, flags, ..
        } = Values::of(&model);
        let settings = self.settings(parameters, &stage_prefixes(&model))?;
        let names_it = self.freeze_patterns()?;
        // The flag of a batch normalization is beside its parameters.
        let is_frozen = |flag: &Value| {
            let mut beside = settings
                .iter()
                .filter(|other| parent(&other.name) == parent(&flag.name))
                .peekable();
            let has_parameters = beside.peek().is_some();
            has_parameters && beside.all(|other| other.is_frozen) || names_it(&flag.name)
        };
        let flags: Vec<Value> = flags.into_iter().filter(is_frozen).collect();
        let frozen = settings.into_iter().filter(|setting| setting.is_frozen);
        let paths = frozen.map(|setting| setting.path);
        let paths = paths.chain(flags.into_iter().map(|flag| flag.path));
        let model = model.freeze_group(ParamGroup::from_paths(paths.collect()));
        let is_trained = Values::of(&model).parameters.iter().any(|v| v.is_trained);
        let requirement = "patterns that leave a parameter to train";
        ConfigError::ensure(is_trained, "freeze", self.freeze.join(", "), requirement)?;
        Ok(model)
    }

    /// Whether one of the patterns for freezing matches a name.
    fn freeze_patterns(&self) -> Result<impl Fn(&str) -> bool, ConfigError> {
        let patterns = self.freeze.iter().map(|text| pattern("freeze", text));
        let patterns: Vec<Regex> = patterns.collect::<Result<_, _>>()?;
        Ok(move |name: &str| patterns.iter().any(|pattern| pattern.is_match(name)))
    }

    pub(super) fn settings(
        &self,
        parameters: Vec<Value>,
        stages: &[String],
    ) -> Result<Vec<ParameterSettings>, ConfigError> {
        let names: Vec<&str> = parameters.iter().map(|value| value.name.as_str()).collect();
        // The group of each parameter.
        let mut groups: Vec<Option<usize>> = vec![None; names.len()];
        for (index, group) in self.groups.iter().enumerate() {
            let pattern = matching("groups.pattern", &group.pattern, &names)?;
            let mut has_any = false;
            for (of, name) in groups.iter_mut().zip(&names) {
                if of.is_none() && pattern.is_match(name) {
                    *of = Some(index);
                    has_any = true;
                }
            }
            let requirement = "a pattern that matches a parameter of no group before it";
            ConfigError::ensure(has_any, "groups.pattern", &group.pattern, requirement)?;
        }
        for text in &self.freeze {
            matching("freeze", text, &names)?;
        }
        let is_frozen = self.freeze_patterns()?;
        let parameters = parameters.into_iter().zip(groups);
        let settings = parameters.map(|(Value { name, path, .. }, group)| {
            let (factor, decay) = match name.rsplit('.').next() {
                Some("bias" | "beta") => (self.bias_learning_rate_factor, self.bias_weight_decay),
                Some("gamma") => (1.0, self.norm_weight_decay.unwrap_or(self.weight_decay)),
                _ => (1.0, self.weight_decay),
            };
            let group = group.map(|index| &self.groups[index]);
            let of_group = group.map_or(1.0, |group| group.learning_rate_factor);
            ParameterSettings {
                learning_rate_factor: factor * self.stage_factor(&name, stages) * of_group,
                weight_decay: group.and_then(|group| group.weight_decay).unwrap_or(decay),
                is_frozen: is_frozen(&name),
                name,
                path,
            }
        });
        Ok(settings.collect())
    }

    /// The factor of the stage of the backbone that a parameter belongs to; 1 for pyramid and head.
    fn stage_factor(&self, name: &str, stages: &[String]) -> f64 {
        let decay = self.layer_decay.unwrap_or(1.0);
        match name.strip_prefix(BACKBONE) {
            Some(name) => {
                let stage = stages.iter().rposition(|prefix| name.starts_with(prefix));
                decay.powi((stages.len() - stage.unwrap_or(0)) as i32)
            }
            None => 1.0,
        }
    }
}

/// The error of a field of the optimization.
fn within(error: ConfigError) -> Error {
    error.within("optimization").into()
}

/// What the names of the backbone's parameters start with.
const BACKBONE: &str = "backbone.";

fn stage_prefixes<B: Backbone>(model: &Fcos<B>) -> Vec<String> {
    model.backbone().stage_prefixes()
}

/// The name of the module that a value belongs to.
fn parent(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The regular expression in `field`, which must match one of `names`.
fn matching(field: &'static str, text: &str, names: &[&str]) -> Result<Regex, ConfigError> {
    let pattern = pattern(field, text)?;
    if names.iter().any(|name| pattern.is_match(name)) {
        return Ok(pattern);
    }
    let similar = similar(text, names).join(", ");
    let requirement =
        format!("a pattern that matches the name of a parameter; similar are {similar}");
    Err(ConfigError::new(field, text, requirement))
}

/// The names of which a part resembles `pattern` most.
fn similar<'a>(pattern: &str, names: &[&'a str]) -> Vec<&'a str> {
    const SHOWN: usize = 4;
    let is_of_names = |c: &char| c.is_alphanumeric() || matches!(c, '_' | '.');
    let wanted: String = pattern.chars().filter(is_of_names).collect();
    let wanted = wanted.trim_matches('.');
    let length = wanted.split('.').count();
    let distance = |name: &str| {
        let parts: Vec<&str> = name.split('.').collect();
        let windows = parts.windows(length.min(parts.len()));
        let distances = windows.map(|part| strsim::damerau_levenshtein(&part.join("."), wanted));
        distances.min()
    };
    let mut similar: Vec<_> = names.iter().map(|&name| (distance(name), name)).collect();
    similar.sort_by_key(|(distance, _)| *distance);
    similar
        .into_iter()
        .take(SHOWN)
        .map(|(_, name)| name)
        .collect()
}

/// A value that a module owns.
pub(super) struct Value {
    /// The path without enum variants.
    name: String,
    /// The path that Burn matches groups with.
    path: String,
    /// Whether it requires a gradient.
    is_trained: bool,
    /// The number of its elements.
    count: usize,
}

/// The values of a module. Running statistics are none of them: no optimizer changes them.
#[derive(Default)]
pub(super) struct Values {
    place: ModulePath,
    pub(super) parameters: Vec<Value>,
    flags: Vec<Value>,
}

impl Values {
    pub(super) fn of<M: Module>(module: &M) -> Self {
        let mut values = Self::default();
        module.visit(&mut values);
        values
    }

    fn here(&self, is_trained: bool, count: usize) -> Value {
        Value {
            count,
            name: self.place.name(),
            path: self.place.path(),
            is_trained,
        }
    }
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !self.place.is_running_statistic() {
            let tensor = param.val();
            let value = self.here(tensor.is_require_grad(), tensor.shape().num_elements());
            self.parameters.push(value);
        }
    }

    fn visit_flag(&mut self, _flag: &Param<Flag>) {
        let value = self.here(false, 1);
        self.flags.push(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use burn::{
        optim::GradientsParams,
        tensor::{Device, Int},
    };
    use fcos_burn_model::FcosConfig;

    use super::*;
    use crate::{
        config::{OptimizerConfig, ParameterGroup, RunConfig},
        training::random_model,
    };

    /// The small detector, which has trained batch norm in the backbone and group norm in the head.
    fn model() -> Fcos {
        let mut config = FcosConfig::small(2);
        config.backbone.width = 4;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        random_model(&config, 0, &Device::flex().autodiff()).unwrap()
    }

    /// A rate of 1 without weight decay.
    fn plain() -> OptimizationConfig {
        OptimizationConfig::new(OptimizerConfig::sgd(0.0), 1.0)
    }

    fn settings(config: &OptimizationConfig) -> BTreeMap<String, ParameterSettings> {
        let settings = config.parameters(&model()).unwrap().into_iter();
        settings.map(|of| (of.name.clone(), of)).collect()
    }

    fn error(config: &OptimizationConfig) -> String {
        config.parameters(&model()).unwrap_err().to_string()
    }

    /// The values of a model by name, running statistics included.
    #[derive(Default)]
    struct Weights {
        names: Vec<String>,
        found: BTreeMap<String, Vec<f32>>,
    }

    impl ModuleVisitor for Weights {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            if !container_type.starts_with("Enum:") {
                self.names.push(name.to_owned());
            }
        }

        fn exit_module(&mut self, _name: &str, container_type: &str) {
            if !container_type.starts_with("Enum:") {
                self.names.pop();
            }
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().into_data().iter::<f32>().collect();
            self.found.insert(self.names.join("."), values);
        }
    }

    fn weights(model: &Fcos) -> BTreeMap<String, Vec<f32>> {
        let mut weights = Weights::default();
        // `valid` includes the last step in the running statistics.
        model.valid().visit(&mut weights);
        weights.found
    }

    /// Gradients of 1 for the parameters that have gradients.
    #[derive(Default)]
    struct Ones(GradientsParams);

    impl ModuleVisitor for Ones {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                self.0.register(param.id, value.inner().ones_like());
            }
        }
    }

    /// By how much the first value of each parameter falls in a step with gradients of 1.
    fn falls(config: &OptimizationConfig) -> BTreeMap<String, f32> {
        let model = config.frozen(model()).unwrap();
        let before = weights(&model);
        let mut ones = Ones::default();
        model.visit(&mut ones);
        let rates = config.scheduler(&model, 10).unwrap().step();
        let model = (config.optimizer(&model).unwrap()).step(rates, model, ones.0);
        let after = weights(&model);
        let fall = |(name, values): (String, Vec<f32>)| {
            let fall = values[0] - after[&name][0];
            (name, fall)
        };
        before.into_iter().map(fall).collect()
    }

    /// Biases and the rest, by the last part of the name.
    #[test]
    fn the_presets_distinguish_only_biases() {
        for optimization in [
            RunConfig::paper().optimization,
            RunConfig::small().optimization,
        ] {
            let settings = settings(&optimization);
            assert!(settings.len() > 60);
            for (name, found) in settings {
                let (factor, decay) = match name.ends_with(".bias") || name.ends_with(".beta") {
                    true => (optimization.bias_learning_rate_factor, 0.0),
                    false => (1.0, optimization.weight_decay),
                };
                assert_eq!(found.learning_rate_factor, factor, "{name}");
                assert_eq!(found.weight_decay, decay, "{name}");
                assert!(!found.is_frozen);
            }
        }
    }

    #[test]
    fn groups_biases_norms_and_stages_compose() {
        let groups = vec![
            ParameterGroup::new(r"^head\.class").with_learning_rate_factor(10.0),
            ParameterGroup::new(r"^head|stages\.3\..*convs\.0\.conv")
                .with_learning_rate_factor(3.0)
                .with_weight_decay(Some(0.25)),
        ];
        let config = plain()
            .with_weight_decay(0.5)
            .with_bias_weight_decay(0.125)
            .with_norm_weight_decay(Some(0.0))
            .with_bias_learning_rate_factor(2.0)
            .with_layer_decay(Some(0.5))
            .with_groups(groups);
        let settings = settings(&config);
        for (name, factor, decay) in [
            // The stem is five stages below the pyramid.
            ("backbone.stem.conv.weight", 1.0 / 32.0, 0.5),
            ("backbone.stem.norm.gamma", 1.0 / 32.0, 0.0),
            ("backbone.stem.norm.beta", 2.0 / 32.0, 0.125),
            (
                "backbone.stages.0.blocks.1.convs.0.conv.weight",
                1.0 / 16.0,
                0.5,
            ),
            (
                "backbone.stages.3.blocks.1.convs.0.conv.weight",
                3.0 / 2.0,
                0.25,
            ),
            (
                "backbone.stages.3.blocks.1.convs.1.norm.beta",
                2.0 / 2.0,
                0.125,
            ),
            ("fpn.lateral.0.weight", 1.0, 0.5),
            ("fpn.lateral.0.bias", 2.0, 0.125),
            // The first group whose pattern matches.
            ("head.class_logits.weight", 10.0, 0.5),
            ("head.class_logits.bias", 20.0, 0.125),
            ("head.distances.weight", 3.0, 0.25),
        ] {
            let found = settings
                .get(name)
                .unwrap_or_else(|| panic!("{name}: {:?}", settings.keys()));
            assert_eq!(found.learning_rate_factor, factor, "{name}");
            assert_eq!(found.weight_decay, decay, "{name}");
        }
        // With gradients of 1 and weights w, a step is rate · (1 + decay · w).
        let before = weights(&model());
        for (name, fall) in falls(&config) {
            let Some(of) = settings.get(&name) else {
                assert_eq!(fall, 0.0, "{name}");
                continue;
            };
            // Random weights differ from model to model; those of normalization layers do not.
            if of.weight_decay == 0.0 || name.ends_with("beta") {
                let decay = of.weight_decay * f64::from(before[&name][0]);
                let expected = of.learning_rate_factor * (1.0 + decay);
                assert!((f64::from(fall) - expected).abs() < 1e-6, "{name}: {fall}");
            }
        }
    }

    #[test]
    fn exactly_the_named_parameters_are_frozen() {
        let patterns = [r"^backbone\.stem", r"stages\.[01]\.", r"^fpn\..*bias$"];
        let config = plain()
            .with_weight_decay(0.5)
            .with_freeze(patterns.map(str::to_owned).into());
        let named = |name: &str| {
            let in_backbone = ["backbone.stem.", "backbone.stages.0.", "backbone.stages.1."];
            in_backbone.iter().any(|start| name.starts_with(start))
                || name.starts_with("fpn.") && name.ends_with("bias")
        };
        let mut frozen = 0;
        for (name, fall) in falls(&config) {
            let is_statistic = name.contains("running");
            assert_eq!(fall == 0.0, named(&name) || is_statistic, "{name}: {fall}");
            frozen += usize::from(named(&name) && !is_statistic);
        }
        let settings = settings(&config);
        assert_eq!(settings.values().filter(|of| of.is_frozen).count(), frozen);

        // A backward pass finds no gradient for them, and running statistics stay as they are.
        let device = Device::flex().autodiff();
        let model = config.frozen(model()).unwrap();
        let before = weights(&model);
        let images = Tensor::<1, Int>::arange(0..24_576, &device).float().sin() * 2 + 1;
        let images = images.reshape([2, 3, 64, 64]);
        let predictions = model.forward(images).into_predictions();
        let loss = predictions.class_logits.sum() + predictions.boxes.sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        assert_eq!(gradients.len(), settings.len() - frozen);
        for (name, values) in weights(&model) {
            let is_updated = name.contains("running") && !named(&name);
            assert_eq!(values != before[&name], is_updated, "{name}");
        }
    }

    /// As long as a parameter of a batch normalization is trained, so are its statistics.
    #[test]
    fn a_batch_normalization_is_frozen_with_all_of_its_parameters() {
        let is_updated = |patterns: &[&str]| {
            let freeze = patterns.iter().map(|&text| text.to_owned()).collect();
            let model = plain().with_freeze(freeze).frozen(model()).unwrap();
            let device = Device::flex().autodiff();
            model.forward(Tensor::ones([1, 3, 64, 64], &device));
            weights(&model)["backbone.stem.norm.running_mean"]
                .iter()
                .any(|mean| *mean != 0.0)
        };
        assert!(is_updated(&["stem.*weight$"]));
        assert!(is_updated(&["stem.*gamma$"]));
        assert!(!is_updated(&["stem.*gamma$", "stem.*beta$"]));
        assert!(!is_updated(&["stem.norm"]));
    }

    #[test]
    fn a_frozen_model_stays_frozen_when_weights_are_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model.bpk");
        model().save(&file).unwrap();
        let config = plain().with_freeze(vec!["^backbone".to_owned()]);
        let loaded = config.frozen(model()).unwrap().load(&file).unwrap();
        let trained = Values::of(&loaded).parameters.into_iter();
        let trained = trained.filter(|value| value.is_trained);
        let names: Vec<String> = trained.map(|value| value.name).collect();
        assert!(!names.is_empty());
        assert!(
            names.iter().all(|name| !name.starts_with("backbone")),
            "{names:?}"
        );
    }

    #[test]
    fn patterns_without_parameters_are_refused_with_similar_names() {
        let freeze = |text: &str| plain().with_freeze(vec![text.to_owned()]);
        let found = error(&freeze(r"^backbone\.stages\.4"));
        let start =
            r"optimization.freeze is ^backbone\.stages\.4, but must be a pattern that matches";
        assert!(found.starts_with(start), "{found}");
        assert!(
            found.contains("similar are backbone.stages.0.blocks"),
            "{found}"
        );
        assert!(error(&freeze("clas_logits")).contains("head.class_logits.weight"));
        // Running statistics are no parameters.
        error(&freeze("running_mean"));

        let group = |text: &str| plain().with_groups(vec![ParameterGroup::new(text)]);
        assert!(error(&group("hed")).starts_with("optimization.groups.pattern is hed"));
        let groups = ["^head", "class_logits"].map(ParameterGroup::new);
        let found = error(&plain().with_groups(groups.into()));
        assert!(found.contains("is class_logits, but must be a pattern that matches a parameter of no group before it"), "{found}");

        let all = freeze(".").frozen(model()).unwrap_err().to_string();
        assert!(all.contains("leave a parameter to train"), "{all}");
    }
}
