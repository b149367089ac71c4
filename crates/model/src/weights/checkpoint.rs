//! Weights of this crate and of others.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    store::{Applier, FloatCastAdapter},
    tensor::{DType, Tensor},
};

use super::{
    WeightsError,
    layout::{Layout, is_classifier},
    tensors::{self, Tensors},
};
use crate::{
    Fcos, FcosConfig,
    fpn::ExtraLevelsFrom,
    norm::NormKind,
    resnet::{ResNetConfig, ResNetDepth},
};

/// Most names that an error lists.
const LISTED: usize = 12;

/// A weights file, recognised by the names of its tensors: never by its own.
///
/// Formats are burnpack, safetensors and PyTorch's `.pth`; [`Layout`] lists the
/// networks. Names may stand below prefixes such as `model.` and `module.`, with other
/// things beside them, as training programs save them.
///
/// ```no_run
/// use burn::tensor::Device;
/// use fcos_burn_model::{WeightsError, weights::Checkpoint};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let checkpoint = Checkpoint::open("fcos_resnet50_fpn_coco.pth".as_ref())?;
/// let config = checkpoint.detector().expect("a whole detector");
/// let (detector, loaded) = checkpoint.load(config.init(&Device::flex())?)?;
/// println!("{loaded}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    layout: Layout,
    tensors: Tensors,
    /// Tensors of the file that are no weights, such as an optimiser's.
    beside: usize,
}

/// What was taken from a [`Checkpoint`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The file.
    pub path: PathBuf,
    /// Whose names its tensors have.
    pub layout: Layout,
    /// Parameters and running statistics that come from the file.
    pub taken: usize,
    /// Those that the model keeps, by their paths in it.
    pub kept: Vec<String>,
    /// Tensors of the file that the model has no use for.
    pub left: usize,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: {} tensors of {}", self.taken, self.layout)?;
        if self.left > 0 {
            write!(f, ", {} others left", self.left)?;
        }
        if !self.kept.is_empty() {
            write!(f, "; new: {}", list(&self.kept))?;
        }
        Ok(())
    }
}

impl Checkpoint {
    /// Reads which tensors a file has.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is no weights file, or is one of a network
    /// that is not known.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let tensors = tensors::read(path)?;
        let found = Layout::ALL
            .into_iter()
            .find_map(|layout| Some((layout, prefix_of(&tensors, layout.marker())?)));
        let Some((layout, prefix)) = found else {
            let names: Vec<String> = tensors.into_keys().collect();
            return Err(WeightsError::Unknown {
                path: path.to_owned(),
                names: list(&names),
            });
        };
        let all = tensors.len();
        let tensors: Tensors = tensors
            .into_iter()
            .filter_map(|(name, tensor)| {
                Some((layout.current_name(name.strip_prefix(&prefix)?), tensor))
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            layout,
            beside: all - tensors.len(),
            tensors,
        })
    }

    /// Whose names the tensors have.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// The number of classes of the file's classifier; `None` for a backbone alone.
    pub fn num_classes(&self) -> Option<usize> {
        self.shape("head.class_logits.weight")?.first().copied()
    }

    /// The detector that another project's file holds: its layers by their names and
    /// shapes, all else as in [`FcosConfig::torchvision`] or [`FcosConfig::fcos`]
    /// (without a centre-ness branch in the file, [`FcosConfig::paper`]).
    ///
    /// `None` for a backbone alone, and for this crate's own files, which say too
    /// little: their configuration lies beside them. The original code's improved
    /// models have the names and shapes of the others: use
    /// [`FcosConfig::fcos_improved`] where it is known to be one.
    pub fn detector(&self) -> Option<FcosConfig> {
        let num_classes = self.num_classes()?;
        let mut config = match self.layout {
            Layout::Torchvision => FcosConfig::torchvision(num_classes),
            Layout::Fcos if self.shape("head.centerness.weight").is_some() => {
                FcosConfig::fcos(num_classes)
            }
            Layout::Fcos => FcosConfig::paper(num_classes),
            Layout::FcosBurn | Layout::TorchvisionResNet => return None,
        };
        config.backbone = ResNetConfig {
            norm: NormKind::Frozen,
            ..self.backbone(config.backbone)?
        };
        config.fpn.channels = self.shape("fpn.output.0.weight")?.first().copied()?;
        let p6 = self.shape("fpn.p6.weight")?.get(1).copied()?;
        config.fpn.extra_levels_from = if p6 == config.fpn.channels {
            ExtraLevelsFrom::P5
        } else {
            ExtraLevelsFrom::C5
        };
        config.head.tower_depth = self.count(|layer| format!("head.box_tower.{layer}.conv.weight"));
        Some(config)
    }

    /// `like` with the depth and width of the file's backbone; `None` if it is of no
    /// depth that is known.
    pub fn backbone(&self, like: ResNetConfig) -> Option<ResNetConfig> {
        let blocks = std::array::from_fn(|stage| {
            self.count(|block| {
                format!("backbone.stages.{stage}.blocks.{block}.convs.0.conv.weight")
            })
        });
        let bottleneck = self.shape("backbone.stages.0.blocks.0.convs.2.conv.weight");
        let depth = ResNetDepth::ALL.into_iter().find(|depth| {
            depth.blocks() == blocks && (depth.expansion() > 1) == bottleneck.is_some()
        })?;
        Some(ResNetConfig {
            depth,
            width: self.shape("backbone.stem.conv.weight")?.first().copied()?,
            ..like
        })
    }

    /// Replaces all weights and running statistics of `model` that files of this layout
    /// have: of a [`TorchvisionResNet`](Layout::TorchvisionResNet), those of the
    /// backbone.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Classes`] if the classifier has another number of classes;
    /// [`WeightsError::Mismatch`] if tensors are missing, unexpected or of another
    /// shape; [`WeightsError::Read`] if the file is not whole.
    pub fn load(&self, model: Fcos) -> Result<(Fcos, Loaded), WeightsError> {
        let parameters = parameters(&model);
        let classes = parameters
            .iter()
            .find(|parameter| parameter.path == "head.class_logits.weight")
            .and_then(|parameter| parameter.shape.first().copied());
        match (self.num_classes(), classes) {
            (Some(file), Some(model)) if file != model => Err(WeightsError::Classes {
                path: self.path.clone(),
                file,
                model,
            }),
            _ => self.apply(model, parameters, |_| true),
        }
    }

    /// As [`load`](Self::load), but the classifier of `model` stays as it is: for
    /// other classes than those of the file.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load), whatever the number of classes.
    pub fn load_body(&self, model: Fcos) -> Result<(Fcos, Loaded), WeightsError> {
        let parameters = parameters(&model);
        self.apply(model, parameters, |path| !is_classifier(path))
    }

    fn apply(
        &self,
        model: Fcos,
        parameters: Vec<Parameter>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(Fcos, Loaded), WeightsError> {
        let mut problems = Problems::default();
        let mut known = BTreeSet::new();
        let mut kept = Vec::new();
        let mut found = Vec::new();
        for Parameter { path, shape } in parameters {
            let name = self.layout.name(&path);
            known.extend(name.clone());
            let Some(name) = name.filter(|_| wanted(&path)) else {
                kept.push(path);
                continue;
            };
            match self.tensors.get(&name) {
                None => problems.missing.push(name),
                Some(tensor) if tensor.shape.as_slice() != shape => {
                    let given = tensor.shape.as_slice();
                    let shapes = format!("{name} is {given:?}, the model's {shape:?}");
                    problems.reshaped.push(shapes);
                }
                Some(tensor) => {
                    let mut tensor = tensor.clone();
                    tensor.name = path;
                    // The model's own, which an optimiser may know already.
                    tensor.param_id = None;
                    found.push(tensor);
                }
            }
        }
        let others = self.tensors.keys().filter(|name| !known.contains(*name));
        let (passed, unexpected): (Vec<&String>, Vec<&String>) =
            others.partition(|name| self.layout.passes_over(name));
        problems.unexpected = unexpected.into_iter().cloned().collect();
        if let Some(cause) = problems.tell() {
            return Err(WeightsError::Mismatch {
                path: self.path.clone(),
                cause,
            });
        }

        let taken = found.len();
        let to_f32 = Box::new(FloatCastAdapter::to(DType::F32));
        let mut applier = Applier::new(found, None, Some(to_f32), true);
        let model = model.map(&mut applier);
        let result = applier.into_result();
        if let Some(error) = result.errors.first() {
            return Err(WeightsError::Read {
                path: self.path.clone(),
                cause: error.to_string(),
            });
        }
        debug_assert_eq!(result.applied.len(), taken);
        let loaded = Loaded {
            path: self.path.clone(),
            layout: self.layout,
            taken,
            kept,
            left: self.beside + self.tensors.len() - taken - passed.len(),
        };
        Ok((model, loaded))
    }

    /// The shape of the tensor for the parameter at `path`.
    fn shape(&self, path: &str) -> Option<&[usize]> {
        let tensor = self.tensors.get(&self.layout.name(path)?)?;
        Some(tensor.shape.as_slice())
    }

    /// How many parameters in a row, counted from 0, the file has.
    fn count(&self, path: impl Fn(usize) -> String) -> usize {
        (0..)
            .take_while(|&index| self.shape(&path(index)).is_some())
            .count()
    }
}

/// What stands before `marker` in the name that ends with it.
fn prefix_of(tensors: &Tensors, marker: &str) -> Option<String> {
    tensors.keys().find_map(|name| {
        let prefix = name.strip_suffix(marker)?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
    })
}

#[derive(Default)]
struct Problems {
    missing: Vec<String>,
    unexpected: Vec<String>,
    reshaped: Vec<String>,
}

impl Problems {
    fn tell(&self) -> Option<String> {
        let parts: Vec<String> = [
            ("missing: ", &self.missing),
            ("of another shape: ", &self.reshaped),
            ("unexpected: ", &self.unexpected),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| format!("{kind}{}", list(names)))
        .collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

fn list(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A parameter or running statistic of a module.
struct Parameter {
    /// Without enum variants.
    path: String,
    shape: Vec<usize>,
}

/// All parameters of `model`; those that are not drawn yet are not drawn for it.
fn parameters(model: &Fcos) -> Vec<Parameter> {
    let mut shapes = Shapes::default();
    model.visit(&mut shapes);
    shapes.found
}

#[derive(Default)]
struct Shapes {
    path: Vec<String>,
    found: Vec<Parameter>,
}

impl ModuleVisitor for Shapes {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        if !container_type.starts_with("Enum:") {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        if !container_type.starts_with("Enum:") {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push(Parameter {
            path: self.path.join("."),
            shape: param.lazy_shape().as_slice().to_vec(),
        });
    }
}
