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
    layout::{CLASS_WEIGHT, Layout, is_classifier},
    tensors::{self, Tensors, short},
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
/// use fcos_burn_model::weights::Checkpoint;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let checkpoint = Checkpoint::open("fcos_resnet50_fpn_coco.pth".as_ref())?;
/// let config = checkpoint.detector().ok_or("only a backbone")?;
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
        self.shape(CLASS_WEIGHT)?.first().copied()
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
    /// [`WeightsError::Mismatch`] if tensors are missing, unexpected, of another shape or
    /// no floating-point numbers; [`WeightsError::Read`] if the file is not whole.
    pub fn load(&self, model: Fcos) -> Result<(Fcos, Loaded), WeightsError> {
        let parameters = parameters(&model);
        let classes = parameters
            .iter()
            .find(|parameter| parameter.path == CLASS_WEIGHT)
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
                Some(tensor) if !tensor.dtype.is_float() => {
                    let of_type = format!("{name} of {:?}", tensor.dtype);
                    problems.no_numbers.push(of_type);
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
    no_numbers: Vec<String>,
}

impl Problems {
    fn tell(&self) -> Option<String> {
        let parts: Vec<String> = [
            ("missing: ", &self.missing),
            ("of another shape: ", &self.reshaped),
            ("no floating-point numbers: ", &self.no_numbers),
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
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| short(name)).collect();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{collections::HashMap, fs};

    use burn::tensor::Device;
    use safetensors::{Dtype, tensor::TensorView};
    use tempfile::TempDir;

    use super::*;

    fn tiny(num_classes: usize) -> FcosConfig {
        let mut config = FcosConfig::small(num_classes);
        config.backbone.width = 4;
        config.fpn.channels = 8;
        config.head.tower_depth = 1;
        config
    }

    fn detector(config: &FcosConfig) -> Fcos {
        config.init(&Device::flex()).unwrap()
    }

    /// The weights of a detector with three classes, in a file of any name.
    fn saved(dir: &TempDir) -> PathBuf {
        let path = dir.path().join("holiday.jpg");
        detector(&tiny(3)).save(&path).unwrap();
        path
    }

    fn values(model: &Fcos, path: &str) -> Vec<f32> {
        use burn::store::{ModuleSnapshot, bridge};
        let tensors = model.collect(None, None, true);
        let tensor = tensors.into_iter().find(|t| t.name == path).unwrap();
        bridge::into_data(tensor).unwrap().try_to_vec().unwrap()
    }

    #[test]
    fn own_files_come_back_whatever_they_are_called() {
        let dir = TempDir::new().unwrap();
        let checkpoint = Checkpoint::open(&saved(&dir)).unwrap();
        assert_eq!(checkpoint.layout(), Layout::FcosBurn);
        assert_eq!(checkpoint.num_classes(), Some(3));
        assert_eq!(checkpoint.detector(), None);
        let (_, loaded) = checkpoint.load(detector(&tiny(3))).unwrap();
        assert_eq!((loaded.kept.len(), loaded.left), (0, 0), "{loaded}");
    }

    #[test]
    fn another_number_of_classes_is_named_and_the_body_can_be_kept() {
        let dir = TempDir::new().unwrap();
        let checkpoint = Checkpoint::open(&saved(&dir)).unwrap();
        let error = checkpoint.load(detector(&tiny(7))).unwrap_err().to_string();
        for part in ["holiday.jpg", "3 classes", "has 7", "--new-classifier"] {
            assert!(error.contains(part), "{error}");
        }
        let fresh = detector(&tiny(7));
        let own_bias = values(&fresh, "head.class_logits.bias");
        let (model, loaded) = checkpoint.load_body(fresh).unwrap();
        assert_eq!(
            loaded.kept,
            ["head.class_logits.weight", "head.class_logits.bias"]
        );
        assert_eq!(values(&model, "head.class_logits.bias"), own_bias);
        let (original, _) = checkpoint.load(detector(&tiny(3))).unwrap();
        for path in ["backbone.stem.conv.weight", "head.distances.weight"] {
            assert_eq!(values(&model, path), values(&original, path));
        }
    }

    #[test]
    fn tensors_that_do_not_fit_are_listed() {
        let dir = TempDir::new().unwrap();
        let checkpoint = Checkpoint::open(&saved(&dir)).unwrap();
        let mut config = tiny(3);
        config.head.tower_depth = 2;
        config.head.learnt_scales = false;
        config.backbone.width = 2;
        let error = checkpoint.load(detector(&config)).unwrap_err();
        let WeightsError::Mismatch { cause, .. } = error else {
            panic!("{error}");
        };
        for part in [
            "missing: head.class_tower.1.conv.weight",
            "backbone.stem.conv.weight is [4, 3, 7, 7], the model's [2, 3, 7, 7]",
            "unexpected: head.scales.0",
            "more",
        ] {
            assert!(cause.contains(part), "{cause}");
        }
    }

    #[test]
    fn frozen_parameters_stay_frozen() {
        let dir = TempDir::new().unwrap();
        let mut config = tiny(3);
        config.backbone.frozen_stages = 5;
        config.backbone.norm = NormKind::Frozen;
        let device = Device::flex().autodiff();
        let model = config.init(&device).unwrap().load(&saved(&dir)).unwrap();
        let [.., c5] = model
            .backbone()
            .forward(Tensor::ones([1, 3, 32, 32], &device));
        assert!(!c5.is_require_grad());
        let output = model.forward(Tensor::ones([1, 3, 32, 32], &device));
        let total = output.levels.into_iter().map(|l| l.class_logits.sum());
        let gradients = total.reduce(|a, b| a + b).unwrap().backward();
        let mut trained = Trained {
            gradients: &gradients,
            path: Vec::new(),
            found: Vec::new(),
        };
        model.visit(&mut trained);
        assert!(trained.found.iter().any(|path| path.starts_with("head.")));
        assert!(
            !trained
                .found
                .iter()
                .any(|path| path.starts_with("backbone."))
        );
    }

    struct Trained<'a> {
        gradients: &'a burn::tensor::Gradients,
        path: Vec<String>,
        found: Vec<String>,
    }

    impl ModuleVisitor for Trained<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.val().grad(self.gradients).is_some() {
                self.found.push(self.path.join("."));
            }
        }
    }

    #[test]
    fn files_that_are_no_whole_weights_are_named() {
        let dir = TempDir::new().unwrap();
        let whole = fs::read(saved(&dir)).unwrap();
        // A header that promises more than there is, and one that is no JSON.
        let mut hostile = u64::MAX.to_le_bytes().to_vec();
        hostile.extend(b"{\"a\": 1}");
        let mut broken = 8_u64.to_le_bytes().to_vec();
        broken.extend(b"{\"a\": 1 and so on");
        for (name, bytes) in [
            ("empty", Vec::new()),
            ("text", b"a letter to a friend".to_vec()),
            ("short", whole[..10].to_vec()),
            ("half", whole[..whole.len() / 2].to_vec()),
            ("hostile", hostile),
            ("broken", broken),
            ("archive", b"PK\x03\x04 and nothing else".to_vec()),
            ("pickle", vec![0x80, 2, b'}', b'.']),
        ] {
            let path = dir.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = Checkpoint::open(&path)
                .and_then(|checkpoint| checkpoint.load(detector(&tiny(3))))
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        let missing = dir.path().join("missing");
        let error = Checkpoint::open(&missing).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn weights_that_are_no_numbers_are_refused() {
        use burn::store::{ModuleSnapshot, bridge};
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("whole-numbers.safetensors");
        let tensors = detector(&tiny(3)).collect(None, None, true).into_iter();
        let data: Vec<_> = tensors
            .map(|tensor| {
                let (name, data) = (tensor.name.clone(), bridge::into_data(tensor).unwrap());
                (
                    name,
                    data.shape().as_slice().to_vec(),
                    data.as_bytes().to_vec(),
                )
            })
            .collect();
        let views = data.iter().map(|(name, shape, bytes)| {
            let dtype = match name.as_str() {
                CLASS_WEIGHT => Dtype::I32,
                _ => Dtype::F32,
            };
            let view = TensorView::new(dtype, shape.clone(), bytes).unwrap();
            (name, view)
        });
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let error = checkpoint.load(detector(&tiny(3))).unwrap_err().to_string();
        let cause = format!("no floating-point numbers: {CLASS_WEIGHT} of I32");
        assert!(error.contains(&cause), "{error}");
    }

    #[test]
    fn networks_that_are_not_known_are_told_by_their_tensors() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("model.safetensors");
        let bytes = [0; 8];
        let view = TensorView::new(Dtype::F32, vec![2], &bytes).unwrap();
        let views = HashMap::from([("transformer.layer.0.bias", view)]);
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let error = Checkpoint::open(&path).unwrap_err().to_string();
        assert!(error.contains("transformer.layer.0.bias"), "{error}");
    }

    #[test]
    fn what_torchvision_cannot_compute_is_not_exported() {
        let dir = TempDir::new().unwrap();
        let error = detector(&tiny(3))
            .export_torchvision(&dir.path().join("x.safetensors"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("learnt scales"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
