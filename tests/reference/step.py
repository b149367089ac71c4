"""A whole training step: loss terms, gradients, and weight changes after two steps. Also the
outputs of an improved model.

The pyramid, the head, the targets, the losses and the parameter groups of the optimizer are those
of the original FCOS code. The backbone is a narrow ResNet-18 of torchvision.
"""

from collections import OrderedDict
from types import SimpleNamespace

import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

import formula
import original

WIDTH, CHANNELS, CLASSES, DEPTH = 4, 32, 3, 2
HEIGHT, WIDTH_OF_INPUT = 96, 128
# Overlapping boxes in the size ranges of the first levels: x1, y1, x2, y2, class.
OBJECTS = [
    [[10.0, 12.0, 50.0, 44.0, 0], [40.0, 8.0, 120.0, 90.0, 2], [70.0, 50.0, 94.0, 70.0, 1]],
    [[0.0, 0.0, 128.0, 96.0, 1], [33.5, 20.25, 61.5, 77.75, 0]],
]
CONFIG = SimpleNamespace(
    MODEL=SimpleNamespace(
        FCOS=SimpleNamespace(
            NUM_CLASSES=CLASSES + 1,
            FPN_STRIDES=[8, 16, 32, 64, 128],
            NORM_REG_TARGETS=False,
            CENTERNESS_ON_REG=False,
            USE_DCN_IN_TOWER=False,
            NUM_CONVS=DEPTH,
            PRIOR_PROB=0.01,
            LOSS_GAMMA=[2.0],
            LOSS_ALPHA=[0.25],
            CENTER_SAMPLING_RADIUS=0.0,
            IOU_LOSS_TYPE="iou",
        )
    ),
    SOLVER=SimpleNamespace(
        BASE_LR=0.01,
        WEIGHT_DECAY=1e-4,
        BIAS_LR_FACTOR=2,
        WEIGHT_DECAY_BIAS=0,
        DCONV_OFFSETS_LR_FACTOR=1.0,
        MOMENTUM=0.9,
    ),
)


class Body(ResNet):
    """torchvision's ResNet-18 with another width and the names of the original code."""

    def __init__(self, width, norm_layer):
        nn.Module.__init__(self)
        self._norm_layer = norm_layer
        self.inplanes, self.dilation, self.groups, self.base_width = width, 1, 1, 64
        self.stem = nn.Sequential(
            OrderedDict(
                conv1=nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False),
                bn1=norm_layer(width),
            )
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        for index in range(4):
            stride = 1 if index == 0 else 2
            layer = self._make_layer(BasicBlock, width * 2**index, 2, stride=stride)
            self.add_module(f"layer{index + 1}", layer)

    def forward(self, x):
        features = [self.layer1(self.pool(self.stem(x).relu()))]
        for layer in (self.layer2, self.layer3, self.layer4):
            features.append(layer(features[-1]))
        return features


def convolution(channels_in, channels_out, kernel, stride=1):
    return nn.Conv2d(channels_in, channels_out, kernel, stride, padding=(kernel - 1) // 2)


class Detector(nn.Module):
    def __init__(self, code, norm_layer):
        super().__init__()
        fpn = code.fpn.FPN(
            [0] + [WIDTH * factor for factor in (2, 4, 8)],
            CHANNELS,
            convolution,
            code.fpn.LastLevelP6P7(CHANNELS, CHANNELS),
        )
        self.backbone = nn.Sequential(OrderedDict(body=Body(WIDTH, norm_layer), fpn=fpn))
        self.rpn = nn.ModuleDict({"head": code.fcos.FCOSHead(CONFIG, CHANNELS)})

    def forward(self, images):
        features = self.backbone.fpn(self.backbone.body(images))
        return features, *self.rpn["head"](features)


def batch(code):
    images = torch.cat([formula.image(f"step.{i}", HEIGHT, WIDTH_OF_INPUT) for i in range(2)])
    targets = []
    for objects in OBJECTS:
        rows = torch.tensor(objects)
        target = code.boxes.BoxList(rows[:, :4], (WIDTH_OF_INPUT, HEIGHT), mode="xyxy")
        target.add_field("labels", 1 + rows[:, 4].long())
        targets.append(target)
    return images, targets


def locations(code, features):
    module = code.fcos.FCOSModule.__new__(code.fcos.FCOSModule)
    nn.Module.__init__(module)
    module.fpn_strides = CONFIG.MODEL.FCOS.FPN_STRIDES
    return module.compute_locations(features)


def fcos_losses(code, model, images, targets):
    """The losses of the original code, with center-ness."""
    features, logits, distances, centerness = model(images)
    evaluator = code.loss.FCOSLossComputation(CONFIG)
    cls, reg, ctr = evaluator(locations(code, features), logits, distances, centerness, targets)
    return {"classification": cls, "localization": reg, "centerness": ctr}


def pse_losses(code, model, images, targets):
    """The losses of the paper: eq. (12) with PSE and beta = k = 1, without center-ness."""
    features, logits, distances, _ = model(images)
    evaluator = code.loss.FCOSLossComputation(CONFIG)
    labels, wanted = evaluator.prepare_targets(locations(code, features), targets)
    flatten = lambda maps: torch.cat(
        [m.permute(0, 2, 3, 1).reshape(-1, m.shape[1]) for m in maps]
    )
    logits, distances = flatten(logits), flatten(distances)
    labels, wanted = torch.cat(labels), torch.cat(wanted)
    positive = labels > 0
    count = positive.sum()
    found, wanted = distances[positive], wanted[positive]
    area = lambda d: (d[:, 0] + d[:, 2]) * (d[:, 1] + d[:, 3])
    with torch.no_grad():
        shared = area(torch.minimum(found, wanted))
        iou = shared / (area(found) + area(wanted) - shared)
    score = logits[positive].sigmoid().amax(1)
    return {
        "classification": evaluator.cls_loss_func(logits, labels.int()) / count,
        "localization": evaluator.box_reg_loss_func(found, wanted) / count,
        "association": ((score - iou) ** 2).sum() / count,
    }


def case(tensors, names, code, name, norm_layer, losses):
    model = Detector(code, norm_layer).train()
    if name == "pse":
        del model.rpn["head"].centerness
        # The forward pass of the head expects this module.
        model.rpn["head"].centerness = lambda tower: tower
    if name == "fcos":
        # The original code freezes the stem and layer1.
        for part in (model.backbone.body.stem, model.backbone.body.layer1):
            part.requires_grad_(False)
    names[name] = [
        [key, shape] for key, shape in formula.fill(model) if "num_batches_tracked" not in key
    ]
    images, targets = batch(code)
    optimizer = code.solver.make_optimizer(CONFIG, model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for step in range(2):
        optimizer.zero_grad()
        parts = losses(code, model, images, targets)
        sum(parts.values()).backward()
        if step == 0:
            gradients = {key: p.grad for key, p in model.named_parameters() if p.grad is not None}
            for key in before:
                if "num_batches_tracked" not in key:
                    gradient = gradients.get(key, torch.zeros_like(before[key]))
                    tensors[f"{name}.gradient.{key}"] = gradient.clone().numpy()
            for key, value in parts.items():
                tensors[f"{name}.loss.{key}"] = value.detach().reshape(1).numpy()
        print(name, step, {key: round(value.item(), 5) for key, value in parts.items()})
        optimizer.step()
    for key, value in model.state_dict().items():
        if "num_batches_tracked" not in key:
            tensors[f"{name}.change.{key}"] = (value - before[key]).numpy()


@torch.no_grad()
def improved(tensors, names, code):
    """Outputs of an `imprv` model, whose tensors have the same names as in other models."""
    settings = CONFIG.MODEL.FCOS
    settings.NORM_REG_TARGETS = settings.CENTERNESS_ON_REG = True
    model = Detector(code, FrozenBatchNorm2d).eval()
    settings.NORM_REG_TARGETS = settings.CENTERNESS_ON_REG = False
    names["improved"] = formula.fill(model)
    images, _ = batch(code)
    _, *outputs = model(images)
    for kind, levels in zip(["class_logits", "distances", "centerness_logits"], outputs):
        for level, values in enumerate(levels):
            tensors[f"improved.p{level + 3}.{kind}"] = values.numpy()


def write(save, checkout):
    code = original.load(checkout)
    tensors, names = {}, {}
    case(tensors, names, code, "fcos", FrozenBatchNorm2d, fcos_losses)
    case(tensors, names, code, "pse", nn.BatchNorm2d, pse_losses)
    improved(tensors, names, code)
    save("step", tensors, names=names, objects=OBJECTS, size=[HEIGHT, WIDTH_OF_INPUT])
