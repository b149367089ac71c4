"""Targets of the original FCOS code on random scenes."""

import importlib.util
import sys
import types

import numpy as np
import torch

SCENES = 1000
STRIDES = [8, 16, 32, 64, 128]


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def original(checkout):
    """The code that computes targets, without what it never calls for that."""
    root = checkout / "fcos_core"
    for name in [
        "fcos_core",
        "fcos_core.layers",
        "fcos_core.modeling",
        "fcos_core.modeling.rpn",
        "fcos_core.modeling.rpn.fcos",
        "fcos_core.modeling.rpn.utils",
        "fcos_core.modeling.matcher",
        "fcos_core.modeling.utils",
        "fcos_core.structures",
        "fcos_core.structures.boxlist_ops",
    ]:
        module = sys.modules.setdefault(name, types.ModuleType(name))
        module.__path__ = []
    unused = lambda *arguments: None
    sys.modules["fcos_core.layers"].IOULoss = unused
    sys.modules["fcos_core.layers"].SigmoidFocalLoss = unused
    sys.modules["fcos_core.modeling.rpn.utils"].concat_box_prediction_layers = unused
    sys.modules["fcos_core.modeling.matcher"].Matcher = unused
    sys.modules["fcos_core.modeling.utils"].cat = unused
    sys.modules["fcos_core.structures.boxlist_ops"].boxlist_iou = unused
    sys.modules["fcos_core.structures.boxlist_ops"].cat_boxlist = unused
    boxes = load(root / "structures" / "bounding_box.py", "fcos_core.structures.bounding_box")
    loss = load(root / "modeling" / "rpn" / "fcos" / "loss.py", "fcos_core.modeling.rpn.fcos.loss")
    return loss.FCOSLossComputation, boxes.BoxList


def locations(height, width):
    """As FCOSModule.compute_locations_per_level."""
    levels = []
    for stride in STRIDES:
        rows, columns = -(-height // stride), -(-width // stride)
        x = torch.arange(0, columns * stride, step=stride, dtype=torch.float32)
        y = torch.arange(0, rows * stride, step=stride, dtype=torch.float32)
        y, x = torch.meshgrid(y, x, indexing="ij")
        levels.append(torch.stack((x.reshape(-1), y.reshape(-1)), dim=1) + stride // 2)
    return levels


def scene(generator, index):
    height, width = (int(side) for side in generator.integers(32, 160, 2))
    if index % 25 == 0:
        height, width = (int(side) for side in generator.integers(300, 500, 2))
    count = int(generator.integers(0, 9))
    # Some boxes reach far beyond the image, so that coarse levels have their share.
    reach = generator.choice([16, 64, 160, 700, 1400], (count, 2))
    size = np.maximum(1, (generator.random((count, 2)) * reach).round())
    centre = generator.integers(0, [width, height], (count, 2)) + 0.5 * generator.integers(
        0, 2, (count, 2)
    )
    boxes = np.concatenate([centre - size / 2, centre + size / 2], 1)
    if index % 3 == 0:
        # On the grid of the locations, and on the bounds of the levels.
        boxes = np.round(boxes / 4) * 4
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 4)
    if index % 4 == 0 and count > 1:
        # Ties of area: the same box turned, or moved.
        w, h = boxes[0, 2] - boxes[0, 0], boxes[0, 3] - boxes[0, 1]
        boxes[1] = [boxes[0, 0], boxes[0, 1], boxes[0, 0] + h, boxes[0, 1] + w]
        boxes[-1] = boxes[0] + [4, 0, 4, 0]
    if index % 10 == 0 and count > 0:
        # Beside the image.
        boxes[0] = boxes[0] + [width + 2000, 0, width + 2000, 0]
    if count > 0 and boxes[0, 0] + boxes[0, 2] == 0:
        # With centre sampling the original code takes such an image for an empty one.
        boxes[0] = boxes[0] + [1, 0, 1, 0]
    return height, width, boxes.astype(np.float32)


def write(save, checkout):
    Computation, BoxList = original(checkout)
    generator = np.random.default_rng(23)
    boxes, counts, sizes = [], [], []
    found = {"plain": [], "radius": []}
    for index in range(SCENES):
        height, width, scene_boxes = scene(generator, index)
        points = locations(height, width)
        total = sum(len(level) for level in points)
        for name, radius in [("plain", -1.0), ("radius", 1.5)]:
            if len(scene_boxes) == 0:
                # The original code has no answer for an image without objects.
                found[name].append(np.full(total, -1, np.int8))
                continue
            computation = Computation.__new__(Computation)
            computation.fpn_strides = STRIDES
            computation.center_sampling_radius = radius
            computation.norm_reg_targets = False
            target = BoxList(torch.from_numpy(scene_boxes), (width, height), mode="xyxy")
            # Labels tell the objects apart; 0 is background.
            target.add_field("labels", torch.arange(1, len(scene_boxes) + 1))
            labels, _ = computation.prepare_targets(points, [target])
            found[name].append(torch.cat(labels).numpy().astype(np.int8) - 1)
        boxes.append(scene_boxes)
        counts.append(len(scene_boxes))
        sizes.append([height, width])
    plain = np.concatenate(found["plain"])
    print(f"{SCENES} scenes, {len(plain)} locations, {(plain >= 0).sum()} positive")
    save(
        "assignment",
        {
            "boxes": np.concatenate(boxes),
            "counts": np.array(counts, np.int32),
            "sizes": np.array(sizes, np.int32),
            "plain": plain,
            "radius": np.concatenate(found["radius"]),
        },
    )
