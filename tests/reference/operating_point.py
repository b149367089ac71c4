"""Operating points by pycocotools and numpy, the confusion matrix by supervision, the kinds of errors by tidecv.

supervision and tidecv know no crowds in the sense of COCO: crowds, and the detections that
pycocotools ignores because of them, are taken out before. tidecv averages over all classes with
objects or detections; the fixture divides by the number of classes with objects instead. It
computes the recalls 0.00, 0.01, … as `n / 100`, COCO as `n * 0.01`: where the recall of a detection
is one of them, the rounding decides. COCO's are taken.
"""

import json
from collections import Counter

import numpy as np
import supervision
import tidecv
import tidecv.ap
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import formula

CLASSES = ["bolt", "nut", "screw", "washer", "rivet", "pin"]
WITHOUT_OBJECTS = 5
IMAGES, WIDTH, HEIGHT = 40, 320, 240
IOU_THRESHOLDS = [0.5, 0.75]
TARGET_PRECISION = 0.9
KINDS = {
    "ClassError": "classification",
    "BoxError": "localization",
    "OtherError": "both",
    "DuplicateError": "duplicate",
    "BackgroundError": "background",
    "MissedError": "missed",
}


class Draws:
    """Random numbers by the formula, one after the other."""

    def __init__(self):
        self.numbers = iter(formula.uniform("operating-point", 1 << 16))

    def number(self, low=0.0, high=1.0):
        return low + (high - low) * float(next(self.numbers))

    def index(self, count):
        return int(self.number(0, count))

    def box(self):
        width, height = self.number(20, 80), self.number(20, 80)
        return clipped(self.number(0, WIDTH - width), self.number(0, HEIGHT - height), width, height)

    def moved(self, box, amount):
        """The box, each side moved by up to `amount` of its size."""
        x, y, width, height = box
        dx, dy, dw, dh = (self.number(-amount, amount) for _ in range(4))
        return clipped(x + dx * width, y + dy * height, width * (1 + dw), height * (1 + dh))


def clipped(x, y, width, height):
    """A box inside the image. Quarters of pixels are exact in every precision."""
    corners = [x, y, x + width, y + height]
    limits = [WIDTH, HEIGHT, WIDTH, HEIGHT]
    x1, y1, x2, y2 = (round(4 * min(max(c, 0), limit)) / 4 for c, limit in zip(corners, limits))
    return [x1, y1, max(x2 - x1, 0.25), max(y2 - y1, 0.25)]


def scene():
    """Ground truth and results with every kind of error, crowds, and a class without objects."""
    draws = Draws()
    annotations, results = [], []
    order = formula.uniform("score-order", 4096)

    def found(image, label, box, mean):
        results.append((image, label, box, mean))

    for image in range(1, IMAGES + 1):
        for _ in range(draws.index(8)):
            label = draws.index(WITHOUT_OBJECTS)
            crowd = draws.number() < 0.06
            box = draws.box()
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": int(crowd),
                }
            )
            for _ in range(draws.index(3) if crowd else 0):
                found(image, label, draws.moved(box, 0.2), 0.4)
            if draws.number() < 0.75:
                found(image, label, draws.moved(box, 0.12), 0.6)
            if draws.number() < 0.2:
                found(image, label, draws.moved(box, 0.12), 0.4)
            if draws.number() < 0.3:
                found(image, label, draws.moved(box, 0.6), 0.35)
            if draws.number() < 0.3:
                found(image, draws.index(len(CLASSES)), draws.moved(box, 0.12), 0.45)
            if draws.number() < 0.15:
                found(image, draws.index(len(CLASSES)), draws.moved(box, 0.6), 0.3)
        for _ in range(draws.index(3)):
            found(image, draws.index(len(CLASSES)), draws.box(), 0.25)
    # Distinct scores, so that no number depends on the order of equal ones.
    keys = [0.5 * mean + 0.5 * order[n] for n, (*_, mean) in enumerate(results)]
    scores = np.linspace(0.02, 0.98, len(results)).astype(np.float32).tolist()
    for rank, n in enumerate(np.argsort(keys)):
        image, label, box, _ = results[n]
        results[n] = {
            "image_id": image,
            "category_id": label + 1,
            "bbox": box,
            "score": scores[rank],
        }
    truth = {
        "images": [
            {"id": image, "file_name": f"{image}.png", "width": WIDTH, "height": HEIGHT}
            for image in range(1, IMAGES + 1)
        ],
        "annotations": annotations,
        "categories": [{"id": n + 1, "name": name} for n, name in enumerate(CLASSES)],
    }
    return truth, results


def matched(truth_path, results, iou):
    """Whether each result is correct and whether it is ignored, by pycocotools."""
    truth = COCO(str(truth_path))
    evaluation = COCOeval(truth, truth.loadRes(json.loads(json.dumps(results))), "bbox")
    evaluation.params.iouThrs = np.array([iou])
    evaluation.params.areaRng = [[0, 1e10]]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.params.maxDets = [1000]
    evaluation.evaluate()
    correct, ignored = set(), set()
    for image in filter(None, evaluation.evalImgs):
        for n, detection in enumerate(image["dtIds"]):
            # loadRes numbers the results from 1.
            if image["dtIgnore"][0, n]:
                ignored.add(detection - 1)
            elif image["dtMatches"][0, n] > 0:
                correct.add(detection - 1)
    return correct, ignored


def points(scores, correct, objects):
    """Each distinct operating point, by descending threshold."""
    order = np.argsort(-scores)
    found = np.cumsum(correct[order])
    kept = np.arange(1, len(scores) + 1)
    below = np.append(scores[order][1:], 0.0)
    return [
        {
            "thresholds": [float(low), float(high)],
            "true_positives": int(true),
            "false_positives": int(n - true),
            "false_negatives": int(objects - true),
            "precision": true / n,
            "recall": true / objects if objects else None,
            "f1": 2 * true / (n + objects),
        }
        for low, high, true, n in zip(below, scores[order], found, kept)
        if true > 0
    ]


def operating_points(truth, results, correct, ignored):
    expected = {}
    for label in [None, *range(len(CLASSES))]:
        rows = [
            n
            for n, result in enumerate(results)
            if n not in ignored and label in (None, result["category_id"] - 1)
        ]
        objects = sum(
            label in (None, a["category_id"] - 1) and not a["iscrowd"] for a in truth["annotations"]
        )
        scores = np.array([results[n]["score"] for n in rows])
        found = points(scores, np.array([n in correct for n in rows]), objects)
        precise = [point for point in found if point["precision"] >= TARGET_PRECISION]
        expected["all" if label is None else CLASSES[label]] = {
            "objects": objects,
            "best_f1": max(found, key=lambda point: point["f1"], default=None),
            "at_target_precision": max(precise, key=lambda point: point["recall"], default=None),
        }
    return expected


def confusion(truth, results, threshold, iou):
    """supervision's matrix: rows are objects, columns detections; the last are the background."""

    def detections(rows, scored):
        boxes = np.array([row["bbox"] for row in rows], dtype=float).reshape(-1, 4)
        return supervision.Detections(
            xyxy=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
            class_id=np.array([row["category_id"] - 1 for row in rows], dtype=int),
            confidence=np.array([row["score"] for row in rows]) if scored else None,
        )

    def by_image(rows, scored):
        of_image = {image: [] for image in range(1, IMAGES + 1)}
        for row in rows:
            of_image[row["image_id"]].append(row)
        return [detections(rows, scored) for rows in of_image.values()]

    matrix = supervision.ConfusionMatrix.from_detections(
        by_image(results, True), by_image(truth["annotations"], False), CLASSES, threshold, iou
    )
    return matrix.matrix.tolist()


class NumpyWithRecallsOfCoco:
    def __getattr__(self, name):
        return getattr(np, name)

    def searchsorted(self, recalls, _, side):
        return np.searchsorted(recalls, np.linspace(0, 1, 101), side=side)


tidecv.ap.np = NumpyWithRecallsOfCoco()


def errors(truth, results, iou):
    """AP, costs and counts of tidecv, as fractions."""
    objects, detections = tidecv.Data("truth"), tidecv.Data("results")
    for image in range(1, IMAGES + 1):
        objects.add_image(image, str(image))
    for row in truth["annotations"]:
        objects.add_ground_truth(row["image_id"], row["category_id"], row["bbox"])
    for row in results:
        detections.add_detection(row["image_id"], row["category_id"], row["score"], row["bbox"])
    run = tidecv.TIDE().evaluate(objects, detections, pos_threshold=iou, background_threshold=0.1)
    with_objects = {annotation["category_id"] for annotation in truth["annotations"]}
    classes = with_objects | {result["category_id"] for result in results}
    scale = len(classes) / len(with_objects) / 100
    counts = Counter(type(error).__name__ for error in run.errors)
    costs = {kind.__name__: cost for kind, cost in run.fix_main_errors().items()}
    special = {kind.__name__: cost for kind, cost in run.fix_special_errors().items()}
    return {
        "ap": run.ap * scale,
        "kinds": {
            name: {"count": counts[kind], "ap_cost": costs[kind] * scale}
            for kind, name in KINDS.items()
        },
        "false_positives": special["FalsePositiveError"] * scale,
        "false_negatives": special["FalseNegativeError"] * scale,
    }


def write(fixtures):
    folder = fixtures / "operating-point"
    folder.mkdir(exist_ok=True)
    truth, results = scene()
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "results.json").write_text(json.dumps(results))
    expected = []
    for iou in IOU_THRESHOLDS:
        correct, ignored = matched(folder / "truth.json", results, iou)
        curves = operating_points(truth, results, correct, ignored)
        threshold = curves["all"]["best_f1"]["thresholds"][1]
        plain = dict(truth, annotations=[a for a in truth["annotations"] if not a["iscrowd"]])
        counted = [result for n, result in enumerate(results) if n not in ignored]
        kept = [result for result in counted if result["score"] >= threshold]
        expected.append(
            {
                "iou_threshold": iou,
                "ignored": len(ignored),
                "operating_points": curves,
                "confusion_matrix": confusion(plain, counted, threshold, iou),
                "errors": errors(plain, counted, iou),
                "errors_at_threshold": errors(plain, kept, iou)["kinds"],
            }
        )
    path = folder / "expected.json"
    path.write_text(json.dumps(expected, indent=1) + "\n")
    print(path.read_text())
