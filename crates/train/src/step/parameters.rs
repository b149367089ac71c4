//! The parameters of a detector by name, and how each of them is trained.

use burn::{
    module::{Flag, Module, ModuleVisitor, Param, ParamGroup},
    tensor::Tensor,
};
use fcos_burn_model::{ConfigError, Fcos, backbone::Backbone};
use regex::Regex;

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
}

/// The values of a module. Running statistics are none of them: no optimizer changes them.
#[derive(Default)]
pub(super) struct Values {
    names: Vec<String>,
    paths: Vec<String>,
    pub(super) parameters: Vec<Value>,
    flags: Vec<Value>,
}

impl Values {
    pub(super) fn of<M: Module>(module: &M) -> Self {
        let mut values = Self::default();
        module.visit(&mut values);
        values
    }

    fn here(&self, is_trained: bool) -> Value {
        Value {
            name: self.names.join("."),
            path: self.paths.join("."),
            is_trained,
        }
    }
}

impl ModuleVisitor for Values {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.paths.push(name.to_owned());
        if !container_type.starts_with("Enum:") {
            self.names.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.paths.pop();
        if !container_type.starts_with("Enum:") {
            self.names.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let last = self.names.last().map(String::as_str);
        if !matches!(last, Some("running_mean" | "running_var")) {
            let value = self.here(param.val().is_require_grad());
            self.parameters.push(value);
        }
    }

    fn visit_flag(&mut self, _flag: &Param<Flag>) {
        let value = self.here(false);
        self.flags.push(value);
    }
}
