"""Soft-NMS and weighted boxes fusion of the package ensemble_boxes, on random boxes around common objects."""

import numpy as np
from ensemble_boxes import weighted_boxes_fusion
from ensemble_boxes.ensemble_boxes_nms import cpu_soft_nms_float

SOFT_NMS_CASES = 300
FUSION_CASES = 200


def scene(generator, count, objects, classes):
    """Boxes in [0, 1] that are scattered around objects, their distinct scores and their classes."""
    corner = generator.uniform(0, 0.6, (objects, 2))
    corners = np.concatenate([corner, corner + generator.uniform(0.1, 0.4, (objects, 2))], 1)
    of_object = generator.integers(0, objects, count)
    boxes = corners[of_object] + generator.normal(0, 0.03, (count, 4))
    boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 0.01)
    boxes = np.clip(boxes, 0, 1).astype(np.float32)
    scores = generator.permutation(np.linspace(0.02, 0.98, max(count, 1)))[:count].astype(np.float32)
    labels = generator.integers(0, classes, count).astype(np.int32)
    return boxes, scores, labels


def write_soft_nms(save):
    """Decayed scores in the order of the input, 0 for boxes that are dropped; two methods for each set of boxes."""
    generator = np.random.default_rng(12)
    counts, parts, thresholds, sigmas = [], [], [], []
    for _ in range(SOFT_NMS_CASES):
        count = int(generator.integers(0, 40))
        boxes, scores, labels = scene(generator, count, objects=4, classes=2)
        threshold, sigma = generator.choice([0.3, 0.5, 0.6]), generator.choice([0.1, 0.5, 1.0])
        decayed = []
        for method in (1, 2):
            values = np.zeros(count, np.float32)
            for label in np.unique(labels):
                places = np.flatnonzero(labels == label)
                rest = scores[places].astype(np.float64)
                # The function reorders the scores that it decays, and returns the indices in this order.
                order = cpu_soft_nms_float(
                    boxes[places].astype(np.float64), rest, threshold, sigma, thresh=-1, method=method
                )
                values[places[order]] = np.where(rest >= 0.001, rest, 0)
            decayed.append(values)
        counts.append(count)
        parts.append((boxes, scores, labels, *decayed))
        thresholds.append(threshold)
        sigmas.append(sigma)
    names = ["boxes", "scores", "labels", "linear", "gaussian"]
    arrays = {name: np.concatenate(values) for name, values in zip(names, zip(*parts))}
    arrays["counts"] = np.array(counts, np.int32)
    arrays["thresholds"] = np.array(thresholds, np.float32)
    arrays["sigmas"] = np.array(sigmas, np.float32)
    save("soft_nms", arrays)


def write_fusion(save):
    """The detections of three models for each case, with and without weights, and the fused detections."""
    generator = np.random.default_rng(13)
    counts, sources, fused_counts, fused, thresholds, weights = [], [], [], [], [], []
    for case in range(FUSION_CASES):
        numbers = generator.integers(0, 12, 3)
        together = scene(generator, int(numbers.sum()), objects=4, classes=2)
        models = [np.split(values, np.cumsum(numbers)[:-1]) for values in together]
        threshold = float(np.float32(generator.choice([0.4, 0.55, 0.7])))
        weight = np.ones(3) if case % 2 == 0 else generator.choice([0.5, 1.0, 2.0], 3)
        boxes, scores, labels = weighted_boxes_fusion(*models, weights=list(weight), iou_thr=threshold)
        counts.extend(numbers)
        sources.append(together)
        fused_counts.append(len(scores))
        fused.append((boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int32)))
        thresholds.append(threshold)
        weights.append(weight)
    arrays = {}
    for prefix, parts in (("", sources), ("fused_", fused)):
        for name, values in zip(["boxes", "scores", "labels"], zip(*parts)):
            arrays[prefix + name] = np.concatenate(values)
    arrays["counts"] = np.array(counts, np.int32)
    arrays["fused_counts"] = np.array(fused_counts, np.int32)
    arrays["thresholds"] = np.array(thresholds, np.float32)
    arrays["weights"] = np.concatenate(weights).astype(np.float32)
    save("fusion", arrays)


def write(save):
    write_soft_nms(save)
    write_fusion(save)
