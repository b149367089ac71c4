//! Weight files of this project and of others.

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
};

use burn::{
    module::{Module, ModuleVisitor, Param},
    store::{Applier, FloatCastAdapter, ModuleSnapshot, PathFilter, bridge},
    tensor::{DType, DataError, Tensor, TensorData},
};

use super::{
    error::WeightsError,
    naming::{CLASS_WEIGHT, TensorNaming, is_classifier},
    tensors::{self, Tensors, short},
};
use crate::{
    backbone::{
        Backbone,
        norm::NormKind,
        resnet::{ResNet, ResNetConfig, ResNetDepth},
    },
    config::FcosConfig,
    fcos::Fcos,
    fpn::ExtraLevelsFrom,
};

/// The most names that an error lists.
const LISTED: usize = 12;

/// A weights file, recognized by the names of its tensors, never by its file name.
///
/// Supported formats are burnpack, safetensors and PyTorch's `.pth`; [`TensorNaming`]
/// lists the networks. As training programs save them, the names may have a prefix such as
/// `model.` or `module.`, and there may be other tensors besides the weights.
///
/// ```no_run
/// use burn::tensor::Device;
/// use fcos_burn_model::weights::WeightsFile;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = WeightsFile::open("fcos_resnet50_fpn_coco.pth")?;
/// let config = file.detector().ok_or("only a backbone")?;
/// let (detector, report) = file.load(config.init(&Device::flex())?)?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WeightsFile {
    path: PathBuf,
    naming: TensorNaming,
    tensors: Tensors,
    /// Number of tensors in the file that are not weights, such as an optimizer's.
    others: usize,
}

/// What was loaded from a [`WeightsFile`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// The file.
    pub path: PathBuf,
    /// Which project's names its tensors have.
    pub naming: TensorNaming,
    /// Number of parameters and running statistics that were loaded.
    pub loaded: usize,
    /// Module paths of those that the model keeps as they were.
    pub kept: Vec<String>,
    /// Number of tensors in the file that were not used.
    pub unused: usize,
    /// Names of the weights in the file that detectors do not have: the classifier of a
    /// classification network.
    pub left_out: Vec<String>,
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(
            f,
            "{path}: loaded {} tensors of {}",
            self.loaded, self.naming
        )?;
        if self.unused > 0 {
            write!(f, ", {} unused", self.unused)?;
        }
        if !self.left_out.is_empty() {
            write!(f, ", without {}", list(&self.left_out))?;
        }
        if !self.kept.is_empty() {
            write!(f, "; not in the file: {}", list(&self.kept))?;
        }
        Ok(())
    }
}

impl WeightsFile {
    /// Opens a file and recognizes its network.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Read`] if the file cannot be read or is not a weights file;
    /// [`WeightsError::Unknown`] or [`WeightsError::Anchors`] if its network is not supported.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        Self::of(tensors::read(path)?, path)
    }

    /// Recognizes the network of a burnpack or safetensors file in memory. Errors and reports call
    /// it `path`.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open).
    pub fn from_bytes(bytes: Vec<u8>, path: &Path) -> Result<Self, WeightsError> {
        Self::of(tensors::read_bytes(bytes, path)?, path)
    }

    fn of(tensors: Tensors, path: &Path) -> Result<Self, WeightsError> {
        let found = TensorNaming::ALL
            .into_iter()
            .find_map(|naming| Some((naming, prefix_of(&tensors, naming.marker())?)));
        let Some((naming, prefix)) = found else {
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
                Some((naming.current_name(name.strip_prefix(&prefix)?), tensor))
            })
            .collect();
        let file = Self {
            path: path.to_owned(),
            naming,
            others: all - tensors.len(),
            tensors,
        };
        // Other projects' FCOS predict the four distances of one box.
        let is_of_others = matches!(naming, TensorNaming::Torchvision | TensorNaming::Fcos);
        let values = file
            .shape("head.distances.weight")
            .and_then(<[usize]>::first);
        if is_of_others && values.is_some_and(|values| *values != 4) {
            return Err(WeightsError::Anchors { path: file.path });
        }
        Ok(file)
    }

    /// The path of the file, or what [`from_bytes`](Self::from_bytes) calls it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Which project's names the tensors have.
    pub fn naming(&self) -> TensorNaming {
        self.naming
    }

    /// The number of classes of the classifier; `None` if the file has only a backbone.
    pub fn num_classes(&self) -> Option<usize> {
        self.shape(CLASS_WEIGHT)?.first().copied()
    }

    /// The configuration of the detector in a file of another project. What names and
    /// shapes do not determine is as in [`FcosConfig::torchvision`] or
    /// [`FcosConfig::fcos`] ([`FcosConfig::paper`] if the file has no center-ness branch).
    ///
    /// `None` if the file has only a backbone, and for this crate's own files, which have
    /// to be accompanied by their configuration. The improved models of the original FCOS
    /// code have the same names and shapes as the others: use
    /// [`FcosConfig::fcos_improved`] for a file that is known to be one of them.
    pub fn detector(&self) -> Option<FcosConfig> {
        let num_classes = self.num_classes()?;
        let mut config = match self.naming {
            TensorNaming::Torchvision => FcosConfig::torchvision(num_classes),
            TensorNaming::Fcos if self.shape("head.centerness.weight").is_some() => {
                FcosConfig::fcos(num_classes)
            }
            TensorNaming::Fcos => FcosConfig::paper(num_classes),
            TensorNaming::FcosBurn | TensorNaming::TorchvisionResNet => return None,
        };
        config.backbone = self.backbone(config.backbone)?.with_norm(NormKind::Frozen);
        config.fpn.channels = self.shape("fpn.output.0.weight")?.first().copied()?;
        let p6 = self.shape("fpn.extra.0.weight")?.get(1).copied()?;
        config.fpn.extra_levels_from = if p6 == config.fpn.channels {
            ExtraLevelsFrom::P5
        } else {
            ExtraLevelsFrom::C5
        };
        config.head.tower_depth = self.count(|layer| format!("head.box_tower.{layer}.conv.weight"));
        Some(config)
    }

    /// `base` with the depth and width of the file's ResNet; `None` if the file has no
    /// ResNet of a supported depth.
    pub fn backbone(&self, base: ResNetConfig) -> Option<ResNetConfig> {
        let blocks = std::array::from_fn(|stage| {
            self.count(|block| {
                format!("backbone.stages.{stage}.blocks.{block}.convs.0.conv.weight")
            })
        });
        let bottleneck = self.shape("backbone.stages.0.blocks.0.convs.2.conv.weight");
        let depth = ResNetDepth::ALL.into_iter().find(|depth| {
            depth.blocks() == blocks && (depth.expansion() > 1) == bottleneck.is_some()
        })?;
        let width = self.shape("backbone.stem.conv.weight")?.first().copied()?;
        Some(base.with_depth(depth).with_width(width))
    }

    /// Replaces all weights and running statistics of `model` that files of this naming
    /// have: those of the backbone for a
    /// [`TorchvisionResNet`](TensorNaming::TorchvisionResNet), else those of the detector.
    ///
    /// # Errors
    ///
    /// [`WeightsError::Classes`] if the classifier has another number of classes;
    /// [`WeightsError::Backbone`] if the file has a ResNet of another project and the model
    /// has none; [`WeightsError::Mismatch`] if tensors are missing, unexpected, of another
    /// shape or not floating-point; [`WeightsError::Read`] if the file is truncated.
    pub fn load<B: Backbone>(&self, model: Fcos<B>) -> Result<(Fcos<B>, LoadReport), WeightsError> {
        let parameters = parameters(&model);
        match (self.num_classes(), classes(&parameters)) {
            (Some(file), Some(model)) if file != model => Err(WeightsError::Classes {
                path: self.path.clone(),
                file,
                model,
            }),
            _ => self.apply(model, parameters, Classifier::Same),
        }
    }

    /// Like [`load`](Self::load), for classes in another order than those of the file, or other
    /// ones: the classifier's row for the model's class `i` is row `rows[i]` of the file. Classes
    /// with `None` keep their row of `model`.
    ///
    /// ```no_run
    /// # use fcos_burn_model::{Fcos, weights::{WeightsError, WeightsFile}};
    /// # fn main() -> Result<(), WeightsError> {
    /// # let model: Fcos = unimplemented!();
    /// let file = WeightsFile::open("cat-dog.bpk")?;
    /// // The model's classes are dog, cow, cat.
    /// let (model, report) = file.load_classes(model, &[Some(1), None, Some(0)])?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), except that the number of classes may differ.
    /// [`WeightsError::Mismatch`] if the length of `rows` is not the model's number of classes, or
    /// the file does not have one of the rows.
    pub fn load_classes<B: Backbone>(
        &self,
        model: Fcos<B>,
        rows: &[Option<usize>],
    ) -> Result<(Fcos<B>, LoadReport), WeightsError> {
        let parameters = parameters(&model);
        let (given, of_model) = (rows.len(), classes(&parameters).unwrap_or(0));
        let in_file = self.num_classes().unwrap_or(0);
        let beyond = rows.iter().flatten().find(|row| **row >= in_file);
        let cause = match beyond {
            _ if given != of_model => {
                format!("rows for {given} classes, but the model has {of_model}")
            }
            Some(row) => format!("row {row} for a class, but the classifier has {in_file}"),
            None => return self.apply(model, parameters, Classifier::Rows(rows)),
        };
        Err(self.mismatch(cause))
    }

    /// Like [`load`](Self::load), but keeps the classifier of `model`: for classes that have
    /// nothing to do with those of the file.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), except that the number of classes may differ.
    pub fn load_without_classifier<B: Backbone>(
        &self,
        model: Fcos<B>,
    ) -> Result<(Fcos<B>, LoadReport), WeightsError> {
        let parameters = parameters(&model);
        self.apply(model, parameters, Classifier::Rows(&[]))
    }

    fn apply<B: Backbone>(
        &self,
        model: Fcos<B>,
        parameters: Vec<Parameter>,
        classifier: Classifier<'_>,
    ) -> Result<(Fcos<B>, LoadReport), WeightsError> {
        if self.naming != TensorNaming::FcosBurn && ResNet::of(model.backbone()).is_none() {
            return Err(WeightsError::Backbone {
                path: self.path.clone(),
                naming: self.naming,
            });
        }
        let mut mismatches = Mismatches::default();
        let mut known = BTreeSet::new();
        let mut kept = Vec::new();
        let mut found = Vec::new();
        for Parameter { path, mut shape } in parameters {
            let name = self.naming.name(&path);
            known.extend(name.clone());
            let in_rows = matches!(classifier, Classifier::Rows(_)) && is_classifier(&path);
            let Some(name) = name.filter(|_| !in_rows || classifier.takes_rows()) else {
                kept.push(path);
                continue;
            };
            if in_rows && let (Some(first), Some(classes)) = (shape.first_mut(), self.num_classes())
            {
                *first = classes;
            }
            match self.tensors.get(&name) {
                None => mismatches.missing.push(name),
                Some(tensor) if tensor.shape.as_slice() != shape => {
                    let given = tensor.shape.as_slice();
                    let shapes = format!("{name} is {given:?}, the model's {shape:?}");
                    mismatches.reshaped.push(shapes);
                }
                Some(tensor) if !tensor.dtype.is_float() => {
                    let of_type = format!("{name} is {:?}", tensor.dtype);
                    mismatches.not_float.push(of_type);
                }
                Some(tensor) => {
                    let mut tensor = tensor.clone();
                    tensor.name = path;
                    // The model keeps its ids, to which an optimizer's state may refer.
                    tensor.param_id = None;
                    found.push(tensor);
                }
            }
        }
        let others = self.tensors.keys().filter(|name| !known.contains(*name));
        let (counters, others): (Vec<&String>, Vec<&String>) =
            others.partition(|name| self.naming.is_counter(name));
        let (left_out, unexpected): (Vec<String>, Vec<String>) = others
            .into_iter()
            .cloned()
            .partition(|name| self.naming.leaves_out(name));
        mismatches.unexpected = unexpected;
        if let Some(cause) = mismatches.describe() {
            return Err(self.mismatch(cause));
        }
        if let Classifier::Rows(rows) = classifier
            && classifier.takes_rows()
        {
            let unreadable = |error: &dyn fmt::Display| self.unreadable(error);
            let mut own = classifier_values(&model);
            let wanted = found
                .iter_mut()
                .filter(|tensor| is_classifier(&tensor.name));
            for tensor in wanted {
                let given = bridge::to_data(tensor).map_err(|error| unreadable(&error))?;
                let Some(own) = own.remove(&tensor.name) else {
                    continue;
                };
                let own = bridge::into_data(own).map_err(|error| unreadable(&error))?;
                let mixed = with_rows(own, given, rows).map_err(|error| unreadable(&error))?;
                *tensor = bridge::from_data(mixed, tensor.name.clone(), None);
            }
        }

        let loaded = found.len();
        let to_f32 = Box::new(FloatCastAdapter::to(DType::F32));
        let mut applier = Applier::new(found, None, Some(to_f32), true);
        let model = model.map(&mut applier);
        let result = applier.into_result();
        if let Some(error) = result.errors.first() {
            return Err(self.unreadable(error));
        }
        debug_assert_eq!(result.applied.len(), loaded);
        let report = LoadReport {
            path: self.path.clone(),
            naming: self.naming,
            loaded,
            kept,
            unused: self.others + self.tensors.len() - loaded - counters.len() - left_out.len(),
            left_out,
        };
        Ok((model, report))
    }

    fn mismatch(&self, cause: String) -> WeightsError {
        WeightsError::Mismatch {
            path: self.path.clone(),
            cause,
        }
    }

    fn unreadable(&self, cause: impl fmt::Display) -> WeightsError {
        WeightsError::Read {
            path: self.path.clone(),
            cause: cause.to_string(),
        }
    }

    /// The shape of the tensor for the parameter at `path`.
    fn shape(&self, path: &str) -> Option<&[usize]> {
        let tensor = self.tensors.get(&self.naming.name(path)?)?;
        Some(tensor.shape.as_slice())
    }

    /// How many parameters with consecutive indices from 0 the file has.
    fn count(&self, path: impl Fn(usize) -> String) -> usize {
        (0..)
            .take_while(|&index| self.shape(&path(index)).is_some())
            .count()
    }
}

impl<B: Backbone> Fcos<B> {
    /// Replaces all weights and running statistics by those in a [`WeightsFile`].
    ///
    /// # Errors
    ///
    /// Those of [`WeightsFile::open`] and [`WeightsFile::load`].
    pub fn load(self, path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let path = path.as_ref();
        let (model, _) = WeightsFile::open(path)?.load(self)?;
        Ok(model)
    }
}

/// What to do with the model's classifier.
#[derive(Clone, Copy)]
enum Classifier<'a> {
    /// Replace it with that of the file.
    Same,
    /// For each class, replace its row with a row of the file, if there is one.
    Rows(&'a [Option<usize>]),
}

impl Classifier<'_> {
    /// Whether any of its weights are those of the file.
    fn takes_rows(self) -> bool {
        match self {
            Self::Same => true,
            Self::Rows(rows) => rows.iter().any(Option::is_some),
        }
    }
}

/// The values of a classifier's parameter, whose first dimension is the class: those of `own`, with
/// the rows of `given` that `rows` names.
fn with_rows(
    own: TensorData,
    given: TensorData,
    rows: &[Option<usize>],
) -> Result<TensorData, DataError> {
    let shape = own.shape().clone();
    let values = |data: TensorData| data.convert_dtype(DType::F32).try_to_vec::<f32>();
    let (mut values, given) = (values(own)?, values(given)?);
    let len = values.len() / rows.len().max(1);
    for (class, row) in rows.iter().enumerate() {
        if let Some(row) = row {
            values[class * len..][..len].copy_from_slice(&given[row * len..][..len]);
        }
    }
    Ok(TensorData::new(values, shape))
}

/// The prefix of the name that ends with `marker`.
fn prefix_of(tensors: &Tensors, marker: &str) -> Option<String> {
    tensors.keys().find_map(|name| {
        let prefix = name.strip_suffix(marker)?;
        (prefix.is_empty() || prefix.ends_with('.')).then(|| prefix.to_owned())
    })
}

#[derive(Default)]
struct Mismatches {
    missing: Vec<String>,
    unexpected: Vec<String>,
    reshaped: Vec<String>,
    not_float: Vec<String>,
}

impl Mismatches {
    fn describe(&self) -> Option<String> {
        let parts: Vec<String> = [
            ("missing: ", &self.missing),
            ("of another shape: ", &self.reshaped),
            ("not floating-point: ", &self.not_float),
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
    /// Module path, without enum variants.
    path: String,
    shape: Vec<usize>,
}

/// All parameters of `model`. Lazy ones are not initialized.
fn parameters<B: Backbone>(model: &Fcos<B>) -> Vec<Parameter> {
    let mut shapes = Shapes::default();
    model.visit(&mut shapes);
    shapes.found
}

/// The model's number of classes.
fn classes(parameters: &[Parameter]) -> Option<usize> {
    let weight = parameters
        .iter()
        .find(|parameter| parameter.path == CLASS_WEIGHT)?;
    weight.shape.first().copied()
}

/// The parameters of the model's classifier, by path.
fn classifier_values<B: Backbone>(model: &Fcos<B>) -> Tensors {
    let filter = PathFilter::new().with_predicate(|path, _| is_classifier(path));
    let tensors = model.collect(Some(filter), None, true).into_iter();
    tensors
        .map(|tensor| (tensor.name.clone(), tensor))
        .collect()
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

    /// The weights of a detector with three classes, in a file with a misleading name.
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
    fn own_files_are_read_back_whatever_their_names() {
        let dir = TempDir::new().unwrap();
        let file = WeightsFile::open(saved(&dir)).unwrap();
        assert_eq!(file.naming(), TensorNaming::FcosBurn);
        assert_eq!(file.num_classes(), Some(3));
        assert_eq!(file.detector(), None);
        let (_, report) = file.load(detector(&tiny(3))).unwrap();
        assert_eq!((report.kept.len(), report.unused), (0, 0), "{report}");
    }

    /// Renames the tensors in a burnpack file as earlier versions of this crate named them.
    fn with_former_names(path: &Path) -> burn::tensor::Bytes {
        use burn::store::burn_pack::{Reader, Writer};
        let bytes = burn::tensor::Bytes::from_bytes_vec(fs::read(path).unwrap());
        let mut tensors = Reader::from_bytes(bytes).unwrap().into_tensors().unwrap();
        for tensor in &mut tensors {
            let name = &tensor.name;
            tensor.name = name
                .replace("fpn.extra.0.", "fpn.p6.")
                .replace("fpn.extra.1.", "fpn.p7.");
        }
        assert!(tensors.iter().any(|tensor| tensor.name == "fpn.p7.bias"));
        Writer::new(tensors).into_bytes().unwrap()
    }

    #[test]
    fn files_with_former_names_are_read() {
        let dir = TempDir::new().unwrap();
        let path = saved(&dir);
        let written = detector(&tiny(3)).load(&path).unwrap();
        let former = with_former_names(&path);
        let former_path = dir.path().join("former.bpk");
        fs::write(&former_path, &*former).unwrap();
        let file = WeightsFile::open(&former_path).unwrap();
        let (read, report) = file.load(detector(&tiny(3))).unwrap();
        assert_eq!((report.kept.len(), report.unused), (0, 0), "{report}");
        let record = super::super::read_record(former).unwrap();
        let resumed = detector(&tiny(3)).try_load_record(record).unwrap();
        for path in ["fpn.extra.0.weight", "fpn.extra.1.weight"] {
            assert_eq!(values(&read, path), values(&written, path));
            assert_eq!(values(&resumed, path), values(&written, path));
        }
    }

    #[test]
    fn weights_for_other_classes_are_loaded_without_the_classifier() {
        let dir = TempDir::new().unwrap();
        let file = WeightsFile::open(saved(&dir)).unwrap();
        let error = file.load(detector(&tiny(7))).unwrap_err().to_string();
        for part in [
            "holiday.jpg",
            "3 classes",
            "has 7",
            "without the classifier",
        ] {
            assert!(error.contains(part), "{error}");
        }
        let fresh = detector(&tiny(7));
        let own_bias = values(&fresh, "head.class_logits.bias");
        let (model, report) = file.load_without_classifier(fresh).unwrap();
        assert_eq!(
            report.kept,
            ["head.class_logits.weight", "head.class_logits.bias"]
        );
        assert_eq!(values(&model, "head.class_logits.bias"), own_bias);
        let (original, _) = file.load(detector(&tiny(3))).unwrap();
        for path in ["backbone.stem.conv.weight", "head.distances.weight"] {
            assert_eq!(values(&model, path), values(&original, path));
        }
    }

    /// torchvision's RetinaNet has nine anchors per location, and the names of its FCOS.
    #[test]
    fn a_detector_with_anchors_is_not_taken_for_an_fcos() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("retinanet.safetensors");
        let zeros = vec![0; 36 * 4 * 9 * 4];
        let shapes = [
            (
                "head.classification_head.cls_logits.weight",
                vec![36, 4, 3, 3],
            ),
            ("head.regression_head.bbox_reg.weight", vec![36, 4, 3, 3]),
        ];
        let views =
            shapes.map(|(name, shape)| (name, TensorView::new(Dtype::F32, shape, &zeros).unwrap()));
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let error = WeightsFile::open(&path).unwrap_err();
        assert!(matches!(error, WeightsError::Anchors { .. }), "{error}");
    }

    const BIAS: &str = "head.class_logits.bias";

    /// A detector whose classes have the biases 1, 2, 3, …
    fn with_biases(config: &FcosConfig) -> Fcos {
        let biases: Vec<f32> = (1..=config.num_classes).map(|class| class as f32).collect();
        let biases = TensorData::new(biases, [config.num_classes]);
        let biases = bridge::from_data(biases, BIAS.to_owned(), None);
        detector(config).map(&mut Applier::new(vec![biases], None, None, true))
    }

    fn torchvision(num_classes: usize) -> FcosConfig {
        let mut config = FcosConfig::torchvision(num_classes);
        config.backbone = config.backbone.with_depth(ResNetDepth::ResNet18);
        config.fpn.channels = 32;
        config.head.tower_depth = 1;
        config
    }

    #[test]
    fn classes_take_the_rows_that_are_named() {
        let dir = TempDir::new().unwrap();
        let own = (tiny as fn(usize) -> FcosConfig, dir.path().join("own.bpk"));
        with_biases(&tiny(3)).save(&own.1).unwrap();
        let other = (
            torchvision as fn(usize) -> FcosConfig,
            dir.path().join("other"),
        );
        with_biases(&torchvision(3))
            .export_torchvision(&other.1)
            .unwrap();
        for (config, path) in [own, other] {
            let file = WeightsFile::open(&path).unwrap();
            let (original, _) = file.load(detector(&config(3))).unwrap();
            for rows in [
                &[Some(0), Some(1), Some(2)][..],
                &[Some(2), Some(0), Some(1)],
                &[Some(1)],
                &[None, Some(2), None, Some(0), None],
                &[Some(1), Some(1)],
                &[None, None],
            ] {
                let fresh = detector(&config(rows.len()));
                let before = |path| values(&fresh, path);
                let (weight, bias) = (before(CLASS_WEIGHT), before(BIAS));
                let (model, report) = file.load_classes(fresh.clone(), rows).unwrap();
                for (path, fresh) in [(CLASS_WEIGHT, weight), (BIAS, bias)] {
                    let (loaded, original) = (values(&model, path), values(&original, path));
                    let len = fresh.len() / rows.len();
                    assert_eq!(loaded.len(), fresh.len());
                    for (class, row) in rows.iter().enumerate() {
                        let expected = match row {
                            Some(row) => &original[row * len..][..len],
                            None => &fresh[class * len..][..len],
                        };
                        assert_eq!(&loaded[class * len..][..len], expected, "{path} {rows:?}");
                    }
                }
                let kept = report
                    .kept
                    .iter()
                    .filter(|path| is_classifier(path))
                    .count();
                let expected = if rows.iter().all(Option::is_none) {
                    2
                } else {
                    0
                };
                assert_eq!(kept, expected, "{report}");
                for path in ["backbone.stem.conv.weight", "head.distances.weight"] {
                    assert_eq!(values(&model, path), values(&original, path));
                }
            }
        }
    }

    #[test]
    fn rows_that_do_not_exist_are_errors() {
        let dir = TempDir::new().unwrap();
        let file = WeightsFile::open(saved(&dir)).unwrap();
        for (rows, part) in [
            (
                &[Some(0), Some(3)][..],
                "row 3 for a class, but the classifier has 3",
            ),
            (&[Some(0)], "rows for 1 classes, but the model has 2"),
        ] {
            let error = file.load_classes(detector(&tiny(2)), rows).unwrap_err();
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    /// Writes the backbone of a detector under the names of torchvision's classification networks,
    /// with a classifier and a batch counter.
    fn save_classification_network(model: &Fcos, path: &Path) {
        let naming = TensorNaming::TorchvisionResNet;
        let mut tensors: Vec<(String, Vec<usize>, Vec<u8>)> = model
            .collect(None, None, true)
            .into_iter()
            .filter_map(|tensor| {
                let name = naming.name(&tensor.name)?;
                let data = bridge::into_data(tensor).unwrap();
                Some((name, data.shape().to_vec(), data.as_bytes().to_vec()))
            })
            .collect();
        tensors.push(("fc.weight".to_owned(), vec![2, 1], vec![0; 8]));
        tensors.push(("fc.bias".to_owned(), vec![2], vec![0; 8]));
        let mut views: HashMap<&str, TensorView<'_>> = tensors
            .iter()
            .map(|(name, shape, bytes)| {
                let view = TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap();
                (name.as_str(), view)
            })
            .collect();
        let counter = TensorView::new(Dtype::I64, Vec::new(), &[0; 8]).unwrap();
        views.insert("bn1.num_batches_tracked", counter);
        safetensors::serialize_to_file(views, None, path).unwrap();
    }

    #[test]
    fn classification_networks_of_all_depths_are_backbones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resnet");
        for depth in ResNetDepth::ALL {
            let mut config = tiny(3);
            config.backbone.depth = depth;
            let given = detector(&config);
            save_classification_network(&given, &path);
            let file = WeightsFile::open(&path).unwrap();
            assert_eq!(file.naming(), TensorNaming::TorchvisionResNet);
            assert!(file.detector().is_none());
            let backbone = file.backbone(tiny(3).backbone).unwrap();
            assert_eq!(backbone, config.backbone);

            let (model, report) = file.load(detector(&config)).unwrap();
            assert!(
                parameters(&model)
                    .iter()
                    .filter(|parameter| parameter.path.starts_with("backbone."))
                    .all(|parameter| {
                        values(&model, &parameter.path) == values(&given, &parameter.path)
                    })
            );
            assert!(
                report
                    .kept
                    .iter()
                    .all(|path| !path.starts_with("backbone."))
            );
            assert_eq!(report.left_out, ["fc.bias", "fc.weight"]);
            assert_eq!(report.unused, 0);
            let text = report.to_string();
            assert!(
                text.contains("torchvision's ResNet, without fc.bias, fc.weight"),
                "{text}"
            );
        }
    }

    #[test]
    fn mismatched_tensors_are_listed() {
        let dir = TempDir::new().unwrap();
        let file = WeightsFile::open(saved(&dir)).unwrap();
        let mut config = tiny(3);
        config.head.tower_depth = 2;
        config.head.learned_scales = false;
        config.backbone.width = 2;
        let error = file.load(detector(&config)).unwrap_err();
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
        let model = config.init(&device).unwrap().load(saved(&dir)).unwrap();
        let maps = Backbone::forward(model.backbone(), Tensor::ones([1, 3, 32, 32], &device));
        assert!(maps.iter().all(|map| !map.is_require_grad()));
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
    fn malformed_files_are_named() {
        let dir = TempDir::new().unwrap();
        let whole = fs::read(saved(&dir)).unwrap();
        // A header that claims more than the file has, and one that is not JSON.
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
            let error = WeightsFile::open(&path)
                .and_then(|file| file.load(detector(&tiny(3))))
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        let missing = dir.path().join("missing");
        let error = WeightsFile::open(&missing).unwrap_err().to_string();
        assert!(error.contains("missing"), "{error}");
    }

    #[test]
    fn files_in_memory_are_those_on_disk() {
        let dir = TempDir::new().unwrap();
        let burnpack = saved(&dir);
        let safetensors = dir.path().join("model.safetensors");
        detector(&tiny(3))
            .load(&burnpack)
            .unwrap()
            .export_safetensors(&safetensors)
            .unwrap();
        let name = Path::new("in memory");
        for path in [&burnpack, &safetensors] {
            let load = |file: WeightsFile| file.load(detector(&tiny(3))).unwrap().0;
            let bytes = fs::read(path).unwrap();
            let half = bytes[..bytes.len() / 2].to_vec();
            let in_memory = WeightsFile::from_bytes(bytes, name).unwrap();
            assert_eq!(in_memory.path(), name);
            let (given, found) = (load(WeightsFile::open(path).unwrap()), load(in_memory));
            for parameter in parameters(&given) {
                let path = &parameter.path;
                assert_eq!(values(&found, path), values(&given, path), "{path}");
            }
            let error = WeightsFile::from_bytes(half, name)
                .and_then(|file| file.load(detector(&tiny(3))))
                .map(|_| ())
                .unwrap_err()
                .to_string();
            assert!(error.contains("in memory"), "{error}");
        }
        for bytes in [Vec::new(), b"PK\x03\x04 and nothing else".to_vec()] {
            let error = WeightsFile::from_bytes(bytes, name).unwrap_err();
            assert!(matches!(error, WeightsError::Read { .. }), "{error}");
        }
    }

    #[test]
    fn half_files_have_weights_of_16_bits_and_vectors_of_32() {
        let dir = TempDir::new().unwrap();
        let [whole, half] = ["whole", "half"].map(|name| dir.path().join(name));
        let given = detector(&tiny(3));
        given.export_safetensors(&whole).unwrap();
        given.export_half_safetensors(&half).unwrap();
        let len = |path: &Path| fs::metadata(path).unwrap().len() as f64;
        assert!(len(&half) < 0.6 * len(&whole));
        let file = WeightsFile::open(&half).unwrap();
        let (found, _) = file.load(detector(&tiny(3))).unwrap();
        let mut rounded = 0;
        for Parameter { path, shape } in parameters(&given) {
            for (found, given) in values(&found, &path).iter().zip(values(&given, &path)) {
                match shape.len() {
                    1 => assert_eq!(*found, given, "{path}"),
                    // Eleven digits of the significand, or the smallest subnormal number.
                    _ => assert!((found - given).abs() <= (given.abs() / 2048.0).max(3e-8)),
                }
                rounded += usize::from(*found != given);
            }
        }
        assert!(rounded > 0);
    }

    #[test]
    fn integer_weights_are_refused() {
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
        let file = WeightsFile::open(&path).unwrap();
        let error = file.load(detector(&tiny(3))).unwrap_err().to_string();
        let cause = format!("not floating-point: {CLASS_WEIGHT} is I32");
        assert!(error.contains(&cause), "{error}");
    }

    #[test]
    fn unknown_networks_are_described_by_their_tensors() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("model.safetensors");
        let bytes = [0; 8];
        let view = TensorView::new(Dtype::F32, vec![2], &bytes).unwrap();
        let views = HashMap::from([("transformer.layer.0.bias", view)]);
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let error = WeightsFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("transformer.layer.0.bias"), "{error}");
    }

    #[test]
    fn detectors_that_torchvision_cannot_compute_are_not_exported() {
        let dir = TempDir::new().unwrap();
        let error = detector(&tiny(3))
            .export_torchvision(dir.path().join("x.safetensors"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("learned scales"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
