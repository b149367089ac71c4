"""Outputs and detections of torchvision's FCOS."""

import io

import numpy as np
import torch
from PIL import Image
from torchvision.models import resnet18, resnet50
from torchvision.models.detection import FCOS
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

import formula

CLASSES = 5
# The second size is not a multiple of 32.
SIZES = [(64, 96), (75, 50)]


def detector(resnet, stride_in_first_conv=False, **arguments):
    body = resnet(weights=None, norm_layer=FrozenBatchNorm2d)
    if stride_in_first_conv:
        for layer in (body.layer2, body.layer3, body.layer4):
            layer[0].conv1.stride, layer[0].conv2.stride = (2, 2), (1, 1)
    backbone = _resnet_fpn_extractor(
        body, 3, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256)
    )
    model = FCOS(backbone, CLASSES, **arguments).eval()
    names = formula.fill(model)
    return model, names


@torch.no_grad()
def outputs(model, image):
    features = list(model.backbone(image).values())
    heads = model.head(features)
    sizes = [list(f.shape[-2:]) for f in features]
    counts = [h * w for h, w in sizes]
    strides = [8, 16, 32, 64, 128]
    found = {}
    for key, name in [
        ("cls_logits", "class_logits"),
        ("bbox_regression", "distances"),
        ("bbox_ctrness", "centerness_logits"),
    ]:
        for level, rows in enumerate(heads[key].split(counts, dim=1)):
            channels = rows.shape[-1]
            maps = rows[0].T.reshape(1, channels, *sizes[level])
            if name == "distances":
                # The box coder scales distances by the anchor size, which is the stride.
                maps = maps * strides[level]
            found[f"p{level + 3}.{name}"] = maps.numpy()
    return found


def photograph():
    """A synthetic photograph of 200 x 150 pixels: smooth shades with edges."""
    height, width = 150, 200
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    channels = []
    for channel in range(3):
        coarse = formula.uniform(f"photograph.{channel}", 20 * 15).reshape(15, 20)
        shade = np.array(
            Image.fromarray(coarse.astype(np.float32)).resize((width, height), Image.BICUBIC)
        )
        channels.append(shade)
    pixels = np.stack(channels, -1)
    for index in range(8):
        cx, cy, r, *color = formula.uniform(f"photograph.disc.{index}", 6)
        inside = (x - cx * width) ** 2 + (y - cy * height) ** 2 < (8 + 30 * r) ** 2
        pixels[inside] = 0.3 * pixels[inside] + 0.7 * np.array(color)
    pixels = np.clip(255 * pixels, 0, 255).round().astype(np.uint8)
    return Image.fromarray(pixels)


@torch.no_grad()
def detections(model, image):
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
    found = model([pixels])[0]
    return {
        "boxes": found["boxes"].numpy(),
        "scores": found["scores"].numpy(),
        "labels": found["labels"].numpy().astype(np.int32),
    }


def write(save, folder):
    tensors, names = {}, {}
    for name, resnet, first in [
        ("resnet18", resnet18, False),
        ("resnet50", resnet50, False),
        ("resnet50-first", resnet50, True),
    ]:
        model, names[resnet.__name__] = detector(resnet, first)
        for height, width in SIZES:
            image = formula.image(f"input.{height}x{width}", height, width)
            for key, value in outputs(model, image).items():
                tensors[f"{name}.{height}x{width}.{key}"] = value
    save("network", tensors, names=names)

    image = photograph()
    image.save(folder / "photograph.png", optimize=True)
    image.save(folder / "photograph.jpg", quality=90)
    tensors = {}
    for resnet in (resnet18, resnet50):
        model, _ = detector(resnet, min_size=200, max_size=333)
        for suffix in ("png", "jpg"):
            found = detections(model, Image.open(folder / f"photograph.{suffix}").convert("RGB"))
            gaps = -np.diff(found["scores"])
            print(
                f"{resnet.__name__} {suffix}: {len(found['scores'])} detections,"
                f" scores {found['scores'].max():.3f} to {found['scores'].min():.3f},"
                f" smallest gap {gaps.min():.2e}, labels {np.bincount(found['labels'])}"
            )
            for key, value in found.items():
                tensors[f"{resnet.__name__}.{suffix}.{key}"] = value
    save("detections", tensors)
