"""COCO metrics by pycocotools, and correlations by scipy."""

import json

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import stats

import formula

METRICS = ["AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL"]
# Number of pairs and of distinct values. Few distinct values give many ties.
LISTS = [(7, 3), (1000, 1 << 24), (1000, 40), (5000, 2), (250_000, 1000)]


def metrics(folder):
    truth = COCO(str(folder / "truth.json"))
    evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    found = dict(zip(METRICS, evaluation.stats.tolist()))
    # Threshold 8 of 0.50, 0.55, ...; all areas; 100 detections.
    precision = evaluation.eval["precision"][8, :, :, 0, 2]
    found["AP90"] = float(precision[precision > -1].mean())
    return found


def pairs(count, levels):
    """Two lists that agree in about half of their elements."""
    x, y, follows = (formula.uniform(f"correlation.{count}.{n}", count) for n in range(3))
    x = np.floor(x * levels)
    return x, np.where(follows < 0.5, x, np.floor(y * levels))


def correlations(count, levels):
    x, y = pairs(count, levels)
    found = stats.pearsonr(x, y), stats.spearmanr(x, y), stats.kendalltau(x, y)
    return [count, levels, *(float(result.statistic) for result in found)]


def write(folder):
    numbers = {
        "figures": metrics(folder / "evaluation"),
        "correlations": [correlations(*list) for list in LISTS],
    }
    path = folder / "evaluation" / "expected.json"
    path.write_text(json.dumps(numbers, indent=1) + "\n")
    print(path.read_text())
