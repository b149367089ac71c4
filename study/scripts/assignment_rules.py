"""Write what the reference implementations of assignment rules assign in random scenes.

    pip install torch mmengine==0.10.7 mmcv-lite==2.1.0 pycocotools shapely scipy terminaltables
    pip install --no-deps mmdet==3.3.0
    python study/scripts/assignment_rules.py --dw DW/dw_head.py

ATSS, TAL and SimOTA are the assigners of mmdetection, dual weighting is the head in the authors'
repository, https://github.com/strongwolf/DW. The file is read by
crates/model/tests/assignment_rules.rs. Everything is computed in 64 bits.

Two things are added to the references. A location outside the box of its object is background,
which matters for SimOTA only. Dual weighting gives a location to the object with the largest
positive weight; weights below 1e-5 are background where the negative weight is 1.
"""

import argparse
import importlib.abc
import importlib.machinery
import json
import sys
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import nn


class Wide:
    """torch, but for a number format that SimOTAAssigner names."""

    float32 = torch.float64

    def __getattr__(self, name):
        return getattr(torch, name)


class Stub(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Stands in for the compiled operations of mmcv, which assigners do not call."""

    def find_spec(self, name, path=None, target=None):
        if name == "mmcv.ops" or name.startswith("mmcv.ops."):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = MagicMock()
        module.__path__ = []
        return module

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, Stub())

from mmdet.models.losses import GIoULoss  # noqa: E402
from mmdet.models.task_modules.assigners import sim_ota_assigner  # noqa: E402
from mmdet.models.task_modules.assigners import (  # noqa: E402
    ATSSAssigner,
    SimOTAAssigner,
    TaskAlignedAssigner,
)
from mmdet.structures.bbox import bbox_overlaps  # noqa: E402
from mmengine.structures import InstanceData  # noqa: E402

STRIDES = [8, 16, 32]
CLASSES = 4
# Objects per scene.
OBJECTS = [0, 1, 1, 2, 3, 4, 5, 6, 8, 12, 40]
OUTPUT = Path(__file__).parents[2] / "crates/model/tests/fixtures/assignment_rules.json"
# Boxes are written in eighths of a pixel and logits in sixty-fourths, which 32 bits represent.
BOX_UNIT, LOGIT_UNIT = 8, 64


def locations(height, width):
    """The location and stride of every cell, [locations, 3]."""
    rows = []
    for stride in STRIDES:
        for y in range(-(-height // stride)):
            for x in range(-(-width // stride)):
                rows.append([x * stride + stride // 2, y * stride + stride // 2, stride])
    return torch.tensor(rows, dtype=torch.float64)


def scene(index, count):
    random = torch.Generator().manual_seed(index)
    uniform = lambda *shape: torch.rand(*shape, generator=random, dtype=torch.float64)
    height, width = (48 + 8 * torch.randint(0, 7, (2,), generator=random)).tolist()
    side = torch.tensor([width, height], dtype=torch.float64)
    size = 4 + uniform(count, 2) ** 2 * 100
    center = uniform(count, 2) * side
    corners = torch.cat([center - size / 2, center + size / 2], 1)
    # Odd fractions, so that no two locations are equally far from a center.
    boxes = corners.floor() + torch.tensor([1, 1, 2, 4]) / BOX_UNIT
    labels = torch.randint(0, CLASSES, (count,), generator=random)

    places = locations(height, width)
    reach = uniform(len(places), 4) ** 2 * 60 + 1
    predicted = torch.cat([places[:, :2] - reach[:, :2], places[:, :2] + reach[:, 2:]], 1)
    logits = torch.randn(len(places), CLASSES, generator=random, dtype=torch.float64) * 1.5 - 2
    for bbox, label in zip(boxes, labels):
        # A share of the locations inside, and some around, predict the object.
        l, t = (places[:, :2] - bbox[:2]).unbind(1)
        r, b = (bbox[2:] - places[:, :2]).unbind(1)
        near = torch.stack([l, t, r, b], 1).min(1).values > -6
        near &= uniform(len(places)) < 0.6
        noise = (uniform(len(places), 4) - 0.5) * 0.5 * (bbox[2:] - bbox[:2]).repeat(2)
        predicted[near] = (bbox + noise)[near]
        logits[near, label] += 2.5
    predicted = (predicted * BOX_UNIT).round() / BOX_UNIT
    logits = (logits * LOGIT_UNIT).round() / LOGIT_UNIT
    return {
        "size": [height, width],
        "boxes": boxes,
        "labels": labels,
        "predicted": predicted,
        "logits": logits,
        "places": places,
    }


def inside(scene):
    """Whether each location lies strictly inside each box, [locations, objects]."""
    places, boxes = scene["places"][:, None, :2], scene["boxes"][None]
    sides = torch.cat([places - boxes[..., :2], boxes[..., 2:] - places], -1)
    return sides.min(-1).values > 0


def objects(scene):
    return InstanceData(bboxes=scene["boxes"], labels=scene["labels"])


def owners(scene, result):
    """The object of each location, -1 for background."""
    owner = result.gt_inds - 1
    if len(scene["boxes"]) > 0:
        within = inside(scene)[torch.arange(len(owner)), owner.clamp(min=0)]
        owner[~within] = -1
    return owner


def atss(scene):
    place, half = scene["places"][:, :2], scene["places"][:, 2:] * 8 / 2
    anchors = torch.cat([place - half, place + half], 1)
    levels = [int((scene["places"][:, 2] == stride).sum()) for stride in STRIDES]
    assigner = ATSSAssigner(topk=9)
    result = assigner.assign(InstanceData(priors=anchors), levels, objects(scene))
    return {"owners": owners(scene, result).tolist()}


def tal(scene):
    place, half = scene["places"][:, :2], scene["places"][:, 2:] / 2
    predictions = InstanceData(
        priors=torch.cat([place - half, place + half], 1),
        bboxes=scene["predicted"],
        scores=scene["logits"].sigmoid(),
    )
    result = TaskAlignedAssigner(topk=13).assign(predictions, objects(scene), alpha=1, beta=6)
    owner = owners(scene, result)
    quality = torch.zeros(len(owner), dtype=torch.float64)
    for index in owner[owner >= 0].unique():
        # As in TOODHead._get_targets_single.
        of_object = owner == index
        metrics, ious = result.assign_metrics[of_object], result.max_overlaps[of_object]
        quality[of_object] = metrics / (metrics.max() + 10e-8) * ious.max()
    return {"owners": owner.tolist(), "quality": quality[owner >= 0].tolist()}


def simota(scene):
    stride = scene["places"][:, 2:]
    predictions = InstanceData(
        priors=torch.cat([scene["places"][:, :2], stride, stride], 1),
        bboxes=scene["predicted"],
        scores=scene["logits"].sigmoid(),
    )
    return {"owners": owners(scene, SimOTAAssigner().assign(predictions, objects(scene))).tolist()}


def dual_weighting_head(path):
    """The class of the head, without what its detector needs."""
    lines = Path(path).read_text().splitlines()
    source = "\n".join(line for line in lines if "import" not in line or "torch" in line)
    identity = lambda *args, **kwargs: lambda function: function
    names = {
        "HEADS": type("Registry", (), {"register_module": staticmethod(identity)}),
        "AnchorFreeHead": nn.Module,
        "force_fp32": identity,
    }
    exec(compile(source, path, "exec"), names)
    return names["DWHead"], names["CenterPrior"]


def dw(scene, DWHead, CenterPrior):
    boxes, labels = scene["boxes"], scene["labels"]
    count, num_objects = len(scene["places"]), len(boxes)
    within = inside(scene) if num_objects else torch.zeros(count, 0, dtype=torch.bool)
    levels = [scene["places"][scene["places"][:, 2] == s, :2] for s in STRIDES]
    prior, _ = CenterPrior(num_classes=CLASSES, strides=STRIDES)(levels, boxes, labels, within)
    pairs = lambda boxes, dim: boxes.unsqueeze(dim).expand(count, num_objects, 4).reshape(-1, 4)
    a, b = pairs(scene["predicted"], 1), pairs(boxes, 0)
    ious = bbox_overlaps(a, b, is_aligned=True).reshape(count, num_objects)
    ious[~within] = 0
    loss = GIoULoss(reduction="none", eps=1e-12)(a, b).reshape(count, num_objects)

    # The weights of DWHead._loss_single, which returns only the losses.
    scores = scene["logits"].sigmoid()
    p_cls, p_loc = scores[:, labels], (-5 * loss).exp()
    p = p_cls * p_loc
    positive = (5 * p).exp() * p * prior
    positive = positive / ((3 * p).exp() * p * prior).sum(0, keepdim=True).clamp(min=1e-12)
    negative = torch.ones(count, num_objects, dtype=torch.float64)
    for index in range(num_objects):
        x = ious[within[:, index], index]
        if len(x) == 0:
            continue
        t = (x**2 - 1) / (0.5**2 - 1)
        low, high = t.min(), min(1.0, t.max())
        y = (t - low + 1e-12) / (high - low + 1e-12)
        y[x < 0.5] = 1
        negative[within[:, index], index] = y

    # They give the losses of the original function, in which later objects of a class overwrite
    # the negative weights of earlier ones.
    head = DWHead.__new__(DWHead)
    found = DWHead._loss_single(
        head, scores, torch.ones(count, 1, dtype=torch.float64), loss, labels, prior, ious, within
    )
    of_class = torch.ones(count, CLASSES, dtype=torch.float64)
    for index in range(num_objects):
        rows = within[:, index]
        of_class[rows, labels[index]] = negative[rows, index]
    expected = [
        0.25 * (positive * -p_cls.log()).sum(),
        0.25 * (positive * 5 * loss).sum(),
        (of_class * scores**2 * -(1 - scores).log()).sum(),
        (1 - of_class).sum(),
    ]
    for value, other in zip(found, expected):
        torch.testing.assert_close(value, other, rtol=1e-9, atol=1e-9)

    owner = torch.full((count,), -1)
    counts = (positive >= 1e-5) | (negative < 1)
    if num_objects:
        best = torch.where(counts & within, positive, -1)
        owner = torch.where(best.max(1).values >= 0, best.argmax(1), -1)
    assigned = owner >= 0
    chosen = lambda weights: weights[assigned, owner[assigned]].tolist()
    return {"owners": owner.tolist(), "positive": chosen(positive), "negative": chosen(negative)}


def rounded(value):
    """Numbers with the digits that the comparison needs."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.7g}") if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dw", required=True, help="dw_head.py of the authors' repository")
    head = dual_weighting_head(parser.parse_args().dw)
    torch.set_default_dtype(torch.float64)
    sim_ota_assigner.torch = Wide()
    torch.Tensor.float = torch.Tensor.double
    scenes = []
    for index, count in enumerate(OBJECTS):
        made = scene(index, count)
        integers = lambda name, unit: (made[name] * unit).round().long().flatten().tolist()
        scenes.append(
            {
                "size": made["size"],
                "boxes": integers("boxes", BOX_UNIT),
                "labels": made["labels"].tolist(),
                "predicted": integers("predicted", BOX_UNIT),
                "logits": integers("logits", LOGIT_UNIT),
                "atss": atss(made),
                "tal": rounded(tal(made)),
                "simota": simota(made),
                "dw": rounded(dw(made, *head)),
            }
        )
    document = {"strides": STRIDES, "classes": CLASSES, "scenes": scenes}
    OUTPUT.parent.mkdir(exist_ok=True)
    text = json.dumps(document, separators=(",", ":"))
    OUTPUT.write_text(text.replace('{"size"', '\n{"size"') + "\n")
    for rule in ["atss", "tal", "simota", "dw"]:
        positives = [sum(o >= 0 for o in s[rule]["owners"]) for s in scenes]
        print(f"{rule}: {positives} positives, of {[len(s[rule]['owners']) for s in scenes]}")


if __name__ == "__main__":
    main()
