"""Targets of the original FCOS code on random scenes."""

import numpy as np
import torch

import original

SCENES = 1000
STRIDES = [8, 16, 32, 64, 128]


def locations(height, width):
    """The same as FCOSModule.compute_locations_per_level."""
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
    # Some boxes extend far beyond the image, so that coarse levels have positives too.
    reach = generator.choice([16, 64, 160, 700, 1400], (count, 2))
    size = np.maximum(1, (generator.random((count, 2)) * reach).round())
    center = generator.integers(0, [width, height], (count, 2)) + 0.5 * generator.integers(
        0, 2, (count, 2)
    )
    boxes = np.concatenate([center - size / 2, center + size / 2], 1)
    if index % 3 == 0:
        # Edges coincide with locations, and sizes with the range bounds of the levels.
        boxes = np.round(boxes / 4) * 4
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 4)
    if index % 4 == 0 and count > 1:
        # Ties in area: the same box transposed or shifted.
        w, h = boxes[0, 2] - boxes[0, 0], boxes[0, 3] - boxes[0, 1]
        boxes[1] = [boxes[0, 0], boxes[0, 1], boxes[0, 0] + h, boxes[0, 1] + w]
        boxes[-1] = boxes[0] + [4, 0, 4, 0]
    if index % 10 == 0 and count > 0:
        # Entirely outside the image.
        boxes[0] = boxes[0] + [width + 2000, 0, width + 2000, 0]
    if count > 0 and boxes[0, 0] + boxes[0, 2] == 0:
        # With center sampling, the original code treats such an image as empty.
        boxes[0] = boxes[0] + [1, 0, 1, 0]
    return height, width, boxes.astype(np.float32)


def write(save, checkout):
    code = original.load(checkout)
    Computation, BoxList = code.loss.FCOSLossComputation, code.boxes.BoxList
    generator = np.random.default_rng(23)
    boxes, counts, sizes = [], [], []
    found = {"plain": [], "radius": []}
    for index in range(SCENES):
        height, width, scene_boxes = scene(generator, index)
        points = locations(height, width)
        total = sum(len(level) for level in points)
        for name, radius in [("plain", -1.0), ("radius", 1.5)]:
            if len(scene_boxes) == 0:
                # The original code fails on an image without objects.
                found[name].append(np.full(total, -1, np.int8))
                continue
            computation = Computation.__new__(Computation)
            computation.fpn_strides = STRIDES
            computation.center_sampling_radius = radius
            computation.norm_reg_targets = False
            target = BoxList(torch.from_numpy(scene_boxes), (width, height), mode="xyxy")
            # Labels identify the objects; 0 is background.
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
