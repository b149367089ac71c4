//! The names that tensors have in the weight files of different projects.

use std::fmt;

/// Which project's names the tensors in a weights file have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TensorNaming {
    /// This crate's: the paths of the modules.
    FcosBurn,
    /// torchvision's FCOS: a state dict of `fcos_resnet50_fpn`, with a ResNet of any depth.
    Torchvision,
    /// The original FCOS code, `github.com/tianzhi0549/FCOS`.
    Fcos,
    /// torchvision's ResNets for classification: only a backbone.
    TorchvisionResNet,
}

impl fmt::Display for TensorNaming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FcosBurn => "fcos-burn",
            Self::Torchvision => "torchvision's FCOS",
            Self::Fcos => "the original FCOS",
            Self::TorchvisionResNet => "torchvision's ResNet",
        })
    }
}

/// Path of the weight whose first dimension is the number of classes.
pub(super) const CLASS_WEIGHT: &str = "head.class_logits.weight";

/// Whether the parameter at `path` belongs to the layer of [`CLASS_WEIGHT`].
pub(super) fn is_classifier(path: &str) -> bool {
    path.starts_with("head.class_logits.")
}

impl TensorNaming {
    /// In the order in which they are tried: the names of a detector include those of a
    /// backbone.
    pub(super) const ALL: [Self; 4] = [
        Self::FcosBurn,
        Self::Torchvision,
        Self::Fcos,
        Self::TorchvisionResNet,
    ];

    /// The name of a tensor that every file of this naming has and no file of a naming that
    /// is tried later.
    pub(super) fn marker(self) -> &'static str {
        match self {
            Self::FcosBurn => CLASS_WEIGHT,
            Self::Torchvision => "head.classification_head.cls_logits.weight",
            Self::Fcos => "rpn.head.cls_logits.weight",
            Self::TorchvisionResNet => "layer4.0.conv1.weight",
        }
    }

    /// Replaces a name that earlier versions of the project used by the name that
    /// [`name`](Self::name) gives.
    pub(super) fn current_name(self, name: &str) -> String {
        let current = match self {
            Self::FcosBurn => {
                let name = without_variants(name);
                Some(current_path(&name).unwrap_or(name))
            }
            Self::Torchvision => current_torchvision_name(name),
            Self::Fcos | Self::TorchvisionResNet => None,
        };
        current.unwrap_or_else(|| name.to_owned())
    }

    /// Whether a file of this naming may have a tensor of this name that is no weight: a batch
    /// counter of batch norm.
    pub(super) fn is_counter(self, name: &str) -> bool {
        self != Self::FcosBurn && name.ends_with(".num_batches_tracked")
    }

    /// Whether a file of this naming may have weights of this name that no detector has: the
    /// classifier of a classification network.
    pub(super) fn leaves_out(self, name: &str) -> bool {
        self == Self::TorchvisionResNet && matches!(name, "fc.weight" | "fc.bias")
    }

    /// The name in the file of the parameter at `path`, a module path within
    /// [`Fcos`](crate::Fcos) without enum variants; `None` if files of this naming have no
    /// such parameter.
    pub(super) fn name(self, path: &str) -> Option<String> {
        if self == Self::FcosBurn {
            return Some(path.to_owned());
        }
        let parts: Vec<&str> = path.split('.').collect();
        match parts.as_slice() {
            ["backbone", rest @ ..] => self.backbone_name(rest),
            ["fpn", rest @ ..] => self.fpn_name(rest),
            ["head", rest @ ..] => self.head_name(rest),
            _ => None,
        }
    }

    fn backbone_name(self, parts: &[&str]) -> Option<String> {
        let (prefix, stem) = match self {
            Self::Torchvision => ("backbone.body.", ""),
            Self::Fcos => ("backbone.body.", "stem."),
            _ => ("", ""),
        };
        let name = match parts {
            ["stem", "conv", value] => format!("{stem}conv1.{value}"),
            ["stem", "norm", value] => format!("{stem}bn1.{}", norm_value(value)),
            ["stages", stage, "blocks", block, layer @ ..] => {
                let layer = match layer {
                    ["convs", conv, "conv", value] => format!("conv{}.{value}", after(conv)?),
                    ["convs", conv, "norm", value] => {
                        format!("bn{}.{}", after(conv)?, norm_value(value))
                    }
                    ["shortcut", "conv", value] => format!("downsample.0.{value}"),
                    ["shortcut", "norm", value] => format!("downsample.1.{}", norm_value(value)),
                    _ => return None,
                };
                format!("layer{}.{block}.{layer}", after(stage)?)
            }
            _ => return None,
        };
        Some(format!("{prefix}{name}"))
    }

    fn fpn_name(self, parts: &[&str]) -> Option<String> {
        let name = match (self, parts) {
            (Self::Torchvision, ["lateral", level, value]) => {
                format!("inner_blocks.{level}.0.{value}")
            }
            (Self::Torchvision, ["output", level, value]) => {
                format!("layer_blocks.{level}.0.{value}")
            }
            (Self::Torchvision, ["extra", level, value]) => {
                format!("extra_blocks.{}.{value}", extra_level(level)?)
            }
            // Counted from C2, which has no level.
            (Self::Fcos, ["lateral", level, value]) => {
                format!("fpn_inner{}.{value}", after(level)? + 1)
            }
            (Self::Fcos, ["output", level, value]) => {
                format!("fpn_layer{}.{value}", after(level)? + 1)
            }
            (Self::Fcos, ["extra", level, value]) => {
                format!("top_blocks.{}.{value}", extra_level(level)?)
            }
            _ => return None,
        };
        Some(format!("backbone.fpn.{name}"))
    }

    fn head_name(self, parts: &[&str]) -> Option<String> {
        let [class_tower, box_tower, class_logits, distances, centerness] = match self {
            Self::Torchvision => [
                "classification_head.conv",
                "regression_head.conv",
                "classification_head.cls_logits",
                "regression_head.bbox_reg",
                "regression_head.bbox_ctrness",
            ],
            Self::Fcos => [
                "cls_tower",
                "bbox_tower",
                "cls_logits",
                "bbox_pred",
                "centerness",
            ],
            _ => return None,
        };
        let prefix = if self == Self::Fcos { "rpn." } else { "" };
        let name = match parts {
            [tower @ ("class_tower" | "box_tower"), layer, kind, value] => {
                let tower = match *tower {
                    "class_tower" => class_tower,
                    _ => box_tower,
                };
                // Convolution, norm and activation are numbered separately.
                let layer = 3 * layer.parse::<usize>().ok()?;
                match *kind {
                    "conv" => format!("{tower}.{layer}.{value}"),
                    "norm" => format!("{tower}.{}.{}", layer + 1, norm_value(value)),
                    _ => return None,
                }
            }
            ["class_logits", value] => format!("{class_logits}.{value}"),
            ["distances", value] => format!("{distances}.{value}"),
            ["centerness", value] => format!("{centerness}.{value}"),
            ["scales", level] if self == Self::Fcos => format!("scales.{level}.scale"),
            _ => return None,
        };
        Some(format!("{prefix}head.{name}"))
    }
}

/// PyTorch's name for a value of a normalization layer.
fn norm_value(value: &str) -> &str {
    match value {
        "gamma" => "weight",
        "beta" => "bias",
        statistic => statistic,
    }
}

/// The number of an index: other projects count from 1.
fn after(index: &str) -> Option<usize> {
    Some(index.parse::<usize>().ok()? + 1)
}

/// The name of an extra level in other projects, which have two of them over C3 to C5.
fn extra_level(index: &str) -> Option<&'static str> {
    match index {
        "0" => Some("p6"),
        "1" => Some("p7"),
        _ => None,
    }
}

/// The path of a parameter that had another one in earlier versions of this crate.
pub(super) fn current_path(path: &str) -> Option<String> {
    [("fpn.p6.", "fpn.extra.0."), ("fpn.p7.", "fpn.extra.1.")]
        .into_iter()
        .find_map(|(former, current)| Some(format!("{current}{}", path.strip_prefix(former)?)))
}

/// The name in current versions of torchvision of a pyramid's tensor that versions before
/// 0.13 named differently.
fn current_torchvision_name(name: &str) -> Option<String> {
    for block in ["fpn.inner_blocks.", "fpn.layer_blocks."] {
        let Some((before, after)) = name.split_once(block) else {
            continue;
        };
        if let [level, value @ ("weight" | "bias")] = after.split('.').collect::<Vec<_>>()[..] {
            return Some(format!("{before}{block}{level}.0.{value}"));
        }
    }
    None
}

/// A module path without the names of enum variants, which other projects do not have.
fn without_variants(path: &str) -> String {
    let is_variant = |part: &&str| part.starts_with(|first: char| first.is_ascii_uppercase());
    let parts: Vec<&str> = path.split('.').filter(|part| !is_variant(part)).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_translated_to_the_names_of_other_projects() {
        let namings = [TensorNaming::Torchvision, TensorNaming::Fcos];
        let names = |path: &str| namings.map(|naming| naming.name(path));
        for (path, torchvision, fcos) in [
            (
                "backbone.stem.norm.gamma",
                Some("backbone.body.bn1.weight"),
                Some("backbone.body.stem.bn1.weight"),
            ),
            (
                "backbone.stages.2.blocks.5.convs.1.norm.running_var",
                Some("backbone.body.layer3.5.bn2.running_var"),
                Some("backbone.body.layer3.5.bn2.running_var"),
            ),
            (
                "backbone.stages.0.blocks.0.shortcut.conv.weight",
                Some("backbone.body.layer1.0.downsample.0.weight"),
                Some("backbone.body.layer1.0.downsample.0.weight"),
            ),
            (
                "fpn.output.0.bias",
                Some("backbone.fpn.layer_blocks.0.0.bias"),
                Some("backbone.fpn.fpn_layer2.bias"),
            ),
            (
                "fpn.extra.1.weight",
                Some("backbone.fpn.extra_blocks.p7.weight"),
                Some("backbone.fpn.top_blocks.p7.weight"),
            ),
            (
                "head.box_tower.3.norm.beta",
                Some("head.regression_head.conv.10.bias"),
                Some("rpn.head.bbox_tower.10.bias"),
            ),
            ("head.scales.4", None, Some("rpn.head.scales.4.scale")),
            ("fpn.extra.2.weight", None, None),
        ] {
            let expected = [torchvision, fcos].map(|name| name.map(str::to_owned));
            assert_eq!(names(path), expected, "{path}");
        }
        assert_eq!(
            TensorNaming::TorchvisionResNet.name("backbone.stages.3.blocks.1.convs.0.conv.weight"),
            Some("layer4.1.conv1.weight".to_owned())
        );
        assert_eq!(
            TensorNaming::TorchvisionResNet.name("fpn.extra.0.bias"),
            None
        );
    }

    #[test]
    fn former_names_are_replaced() {
        let pyramid = "backbone.fpn.inner_blocks.2.0.weight";
        for name in ["backbone.fpn.inner_blocks.2.weight", pyramid] {
            assert_eq!(TensorNaming::Torchvision.current_name(name), pyramid);
        }
        assert_eq!(
            TensorNaming::FcosBurn.current_name("backbone.stem.norm.Batch.gamma"),
            "backbone.stem.norm.gamma"
        );
        assert_eq!(
            TensorNaming::FcosBurn.current_name("fpn.p7.bias"),
            "fpn.extra.1.bias"
        );
    }
}
