//! Whose names the tensors of a weights file have.

use std::fmt;

/// The naming of the tensors in a weights file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// This crate's own: the paths of the modules.
    FcosBurn,
    /// A state dict of torchvision's `fcos_resnet50_fpn`, of any ResNet depth.
    Torchvision,
    /// The original code, `github.com/tianzhi0549/FCOS`.
    Fcos,
    /// A state dict of torchvision's classification ResNets: a backbone alone.
    TorchvisionResNet,
}

impl fmt::Display for Layout {
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

impl Layout {
    /// In the order in which they are tried: a detector's names contain those of a
    /// backbone.
    pub(super) const ALL: [Self; 4] = [
        Self::FcosBurn,
        Self::Torchvision,
        Self::Fcos,
        Self::TorchvisionResNet,
    ];

    /// A tensor that every file of this layout has, and no file of one that is tried
    /// before it.
    pub(super) fn marker(self) -> &'static str {
        match self {
            Self::FcosBurn => CLASS_WEIGHT,
            Self::Torchvision => "head.classification_head.cls_logits.weight",
            Self::Fcos => "rpn.head.cls_logits.weight",
            Self::TorchvisionResNet => "layer4.0.conv1.weight",
        }
    }

    /// The name by which [`name`](Self::name) finds a tensor that is called `name` in
    /// a file.
    pub(super) fn current_name(self, name: &str) -> String {
        let current = match self {
            Self::FcosBurn => Some(without_variants(name)),
            Self::Torchvision => current_torchvision_name(name),
            Self::Fcos | Self::TorchvisionResNet => None,
        };
        current.unwrap_or_else(|| name.to_owned())
    }

    /// Whether a file of this layout may have a tensor of this name that no detector
    /// has: counters of batch norm, and the classifier of a classification network.
    pub(super) fn passes_over(self, name: &str) -> bool {
        match self {
            Self::FcosBurn => false,
            _ if name.ends_with(".num_batches_tracked") => true,
            Self::TorchvisionResNet => matches!(name, "fc.weight" | "fc.bias"),
            Self::Torchvision | Self::Fcos => false,
        }
    }

    /// The name in the file of the parameter at `path`, a path of [`Fcos`] without
    /// enum variants; `None` if files of this layout have no such parameter.
    ///
    /// [`Fcos`]: crate::Fcos
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
            (Self::Torchvision, [extra @ ("p6" | "p7"), value]) => {
                format!("extra_blocks.{extra}.{value}")
            }
            // Counted from C2, which has none.
            (Self::Fcos, ["lateral", level, value]) => {
                format!("fpn_inner{}.{value}", after(level)? + 1)
            }
            (Self::Fcos, ["output", level, value]) => {
                format!("fpn_layer{}.{value}", after(level)? + 1)
            }
            (Self::Fcos, [extra @ ("p6" | "p7"), value]) => format!("top_blocks.{extra}.{value}"),
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
                // Convolution, norm and activation are counted one by one.
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

/// The name of a normalisation's value elsewhere.
fn norm_value(value: &str) -> &str {
    match value {
        "gamma" => "weight",
        "beta" => "bias",
        statistic => statistic,
    }
}

/// The number after that of `index`: others count from 1.
fn after(index: &str) -> Option<usize> {
    Some(index.parse::<usize>().ok()? + 1)
}

/// The name that torchvision gives today to a tensor of its pyramid that it named
/// otherwise before version 0.13.
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

/// A path without the names of enum variants, which modules do not have elsewhere.
fn without_variants(path: &str) -> String {
    let is_variant = |part: &&str| part.starts_with(|first: char| first.is_ascii_uppercase());
    let parts: Vec<&str> = path.split('.').filter(|part| !is_variant(part)).collect();
    parts.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_other_codes() {
        let names = |path: &str| [Layout::Torchvision, Layout::Fcos].map(|l| l.name(path));
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
                "fpn.p7.weight",
                Some("backbone.fpn.extra_blocks.p7.weight"),
                Some("backbone.fpn.top_blocks.p7.weight"),
            ),
            (
                "head.box_tower.3.norm.beta",
                Some("head.regression_head.conv.10.bias"),
                Some("rpn.head.bbox_tower.10.bias"),
            ),
            ("head.scales.4", None, Some("rpn.head.scales.4.scale")),
        ] {
            let expected = [torchvision, fcos].map(|name| name.map(str::to_owned));
            assert_eq!(names(path), expected, "{path}");
        }
        assert_eq!(
            Layout::TorchvisionResNet.name("backbone.stages.3.blocks.1.convs.0.conv.weight"),
            Some("layer4.1.conv1.weight".to_owned())
        );
        assert_eq!(Layout::TorchvisionResNet.name("fpn.p6.bias"), None);
    }

    #[test]
    fn older_and_longer_names_are_found_by_todays() {
        let pyramid = "backbone.fpn.inner_blocks.2.0.weight";
        for name in ["backbone.fpn.inner_blocks.2.weight", pyramid] {
            assert_eq!(Layout::Torchvision.current_name(name), pyramid);
        }
        assert_eq!(
            Layout::FcosBurn.current_name("backbone.stem.norm.Batch.gamma"),
            "backbone.stem.norm.gamma"
        );
    }
}
