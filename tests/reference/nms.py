"""torchvision's batched_nms on random boxes with tied scores and touching sides."""

import numpy as np
import torch
from torchvision.ops import batched_nms

CASES = 1000


def write(save):
    generator = np.random.default_rng(11)
    boxes, scores, labels, counts, kept, kept_counts, thresholds = [], [], [], [], [], [], []
    for case in range(CASES):
        count = int(generator.integers(0, 25))
        # On a grid of quarter pixels, sides touch and some IoUs equal the threshold.
        corner = generator.integers(0, 40, (count, 2)) / 4
        size = generator.integers(0 if case % 10 == 0 else 1, 40, (count, 2)) / 4
        case_boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
        # With few distinct values, many scores are tied.
        case_scores = (generator.integers(1, 9, count) / 8).astype(np.float32)
        case_labels = generator.integers(0, 3, count).astype(np.int32)
        threshold = float(np.float32(generator.choice([0.0, 0.25, 1 / 3, 0.5, 0.6, 0.75, 1.0])))
        keep = batched_nms(
            torch.from_numpy(case_boxes),
            torch.from_numpy(case_scores),
            torch.from_numpy(case_labels).long(),
            threshold,
        )
        boxes.append(case_boxes)
        scores.append(case_scores)
        labels.append(case_labels)
        counts.append(count)
        kept.append(keep.numpy().astype(np.int32))
        kept_counts.append(len(keep))
        thresholds.append(threshold)
    save(
        "nms",
        {
            "boxes": np.concatenate(boxes),
            "scores": np.concatenate(scores),
            "labels": np.concatenate(labels),
            "counts": np.array(counts, np.int32),
            "kept": np.concatenate(kept),
            "kept_counts": np.array(kept_counts, np.int32),
            "thresholds": np.array(thresholds, np.float32),
        },
    )
