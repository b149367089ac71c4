"""Values and gradients of the losses, computed by PyTorch in double precision."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torchvision.ops import (
    complete_box_iou_loss,
    distance_box_iou_loss,
    generalized_box_iou_loss,
    sigmoid_focal_loss,
)

ROWS = 64
CLASSES = 4


def value_and_gradient(tensors, name, function, argument):
    argument = argument.clone().requires_grad_(True)
    value = function(argument)
    value.sum().backward()
    tensors[f"{name}.value"] = value.detach().numpy().astype(np.float32)
    tensors[f"{name}.gradient"] = argument.grad.numpy().astype(np.float32)


def overlap(a, b, plus_one=0.0):
    """IoU of aligned boxes. `plus_one` is 1 in the IoU loss of the original FCOS code, else 0."""
    left_top = torch.maximum(a[:, :2], b[:, :2])
    right_bottom = torch.minimum(a[:, 2:], b[:, 2:])
    intersection = (right_bottom - left_top).clamp(min=0).prod(1)
    area = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(1)
    union = area(a) + area(b) - intersection
    return (intersection + plus_one) / (union + plus_one)


def write(save):
    generator = torch.Generator().manual_seed(5)
    random = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    logits = 12 * random(ROWS, CLASSES) - 6
    labels = torch.randint(-1, CLASSES, (ROWS,), generator=generator)
    corner = 20 * random(ROWS, 2)
    boxes = torch.cat([corner, corner + 5 + 30 * random(ROWS, 2)], 1).float().double()
    shift = 8 * random(ROWS, 4) - 4
    target = (boxes + shift).float().double()
    target[:, 2:] = torch.maximum(target[:, 2:], target[:, :2] + 1)
    centerness = random(ROWS).float().double()
    logits = logits.float().double()
    scores = logits[:, 0].sigmoid()
    ious = overlap(boxes, target)
    tensors = {
        "logits": logits.numpy().astype(np.float32),
        "labels": labels.numpy().astype(np.int32),
        "boxes": boxes.numpy().astype(np.float32),
        "target": target.numpy().astype(np.float32),
        "centerness": centerness.numpy().astype(np.float32),
        "ious": ious.numpy().astype(np.float32),
    }
    ious = ious.float().double()
    one_hot = torch.nn.functional.one_hot(labels + 1, CLASSES + 1)[:, 1:].double()
    put = lambda name, function, argument: value_and_gradient(tensors, name, function, argument)
    put("focal", lambda x: sigmoid_focal_loss(x, one_hot, 0.25, 2.0), logits)
    put("iou", lambda x: -overlap(x, target).log(), boxes)
    put("iou-plus-one", lambda x: -overlap(x, target, 1.0).log(), boxes)
    put("linear-iou", lambda x: 1 - overlap(x, target), boxes)
    put("giou", lambda x: generalized_box_iou_loss(x, target), boxes)
    put("diou", lambda x: distance_box_iou_loss(x, target), boxes)
    put("ciou", lambda x: complete_box_iou_loss(x, target), boxes)
    put(
        "centerness",
        lambda x: binary_cross_entropy_with_logits(x, centerness, reduction="none"),
        logits[:, 0],
    )
    for name, beta, k in [("1-1", 1.0, 1.0), ("2-0.9", 2.0, 0.9)]:
        gap = lambda x: x.sigmoid() - k * ious
        put(f"pse.{name}", lambda x: beta * gap(x) ** 2, logits[:, 0])
        put(f"pce.{name}", lambda x: -beta * (1 - gap(x).abs()).log(), logits[:, 0])
    quality = one_hot * ious[:, None]
    entropy = lambda x, y: binary_cross_entropy_with_logits(x, y, reduction="none")
    put(
        "quality-focal",
        lambda x: entropy(x, quality) * (quality - x.sigmoid()).abs() ** 2,
        logits,
    )
    put(
        "varifocal",
        lambda x: entropy(x, quality)
        * torch.where(quality > 0, quality, 0.75 * x.sigmoid() ** 2),
        logits,
    )
    put(
        "soft-label-focal",
        lambda x: torch.where(
            one_hot > 0,
            1.25 * entropy(x, quality),
            0.75 * x.sigmoid() ** 2 * entropy(x, torch.zeros_like(x)),
        ),
        logits,
    )
    # Equation (11): focal loss with gamma = 0 for a positive location, plus PSE.
    alpha, beta, k = 0.25, 1.0, 1.0
    put(
        "alpha-pse",
        lambda x: -alpha * x.sigmoid().log() + beta * (x.sigmoid() - k * ious) ** 2,
        logits[:, 0],
    )
    save("losses", tensors)
