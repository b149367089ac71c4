"""Modules of the original FCOS code, loaded without their unused dependencies."""

import importlib.util
import sys
import types
from types import SimpleNamespace

# Packages whose __init__ would import compiled CUDA extensions.
PACKAGES = [
    "fcos_core",
    "fcos_core.layers",
    "fcos_core.modeling",
    "fcos_core.modeling.backbone",
    "fcos_core.modeling.rpn",
    "fcos_core.modeling.rpn.fcos",
    "fcos_core.modeling.rpn.utils",
    "fcos_core.modeling.rpn.fcos.inference",
    "fcos_core.modeling.matcher",
    "fcos_core.modeling.utils",
    "fcos_core.solver",
    "fcos_core.solver.lr_scheduler",
    "fcos_core.structures",
    "fcos_core.structures.boxlist_ops",
]
UNUSED = {
    "fcos_core": ["_C"],
    "fcos_core.layers": ["DFConv2d"],
    "fcos_core.modeling.rpn.utils": ["concat_box_prediction_layers"],
    "fcos_core.modeling.rpn.fcos.inference": ["make_fcos_postprocessor"],
    "fcos_core.modeling.matcher": ["Matcher"],
    "fcos_core.modeling.utils": ["cat"],
    "fcos_core.solver.lr_scheduler": ["WarmupMultiStepLR"],
    "fcos_core.structures.boxlist_ops": ["boxlist_iou", "cat_boxlist"],
}


def load(checkout):
    """Load the modules from a checkout of the original FCOS code."""

    def module(name):
        path = checkout.joinpath(*name.split(".")).with_suffix(".py")
        spec = importlib.util.spec_from_file_location(name, path)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[name] = loaded
        spec.loader.exec_module(loaded)
        return loaded

    for name in PACKAGES:
        sys.modules.setdefault(name, types.ModuleType(name)).__path__ = []
    for name, unused in UNUSED.items():
        for attribute in unused:
            setattr(sys.modules[name], attribute, None)
    layers = sys.modules["fcos_core.layers"]
    layers.IOULoss = module("fcos_core.layers.iou_loss").IOULoss
    layers.SigmoidFocalLoss = module("fcos_core.layers.sigmoid_focal_loss").SigmoidFocalLoss
    layers.Scale = module("fcos_core.layers.scale").Scale
    return SimpleNamespace(
        boxes=module("fcos_core.structures.bounding_box"),
        loss=module("fcos_core.modeling.rpn.fcos.loss"),
        fcos=module("fcos_core.modeling.rpn.fcos.fcos"),
        fpn=module("fcos_core.modeling.backbone.fpn"),
        solver=module("fcos_core.solver.build"),
    )
