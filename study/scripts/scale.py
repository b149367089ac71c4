"""Measure how time and memory grow with images, detections, objects and classes.

    cargo build --release -p fcos-burn-study
    venv/bin/python study/scripts/scale.py --bench target/release/bench --output FOLDER

Opening annotations and evaluating detections are compared with pycocotools. Both programs take
turns, one after the other; results are medians over the turns.
"""

import argparse
import contextlib
import io
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import compare

# The 80 category ids of COCO, of those up to 90.
CATEGORY_IDS = [
    i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
]

IMAGES = [1_000, 10_000, 100_000, 118_000]
OBJECTS_AN_IMAGE = 860_000 / 118_000

OBJECTS = [1, 10, 100, 1_000]
CLASSES = [1, 80, 1_000]


# Sizes of COCO's images.
SIZES = [(640, 480), (480, 640), (640, 427), (500, 375)]


def write_annotations(folder, count):
    """Write `count` image files and annotations like those of COCO, including polygons."""
    from PIL import Image

    draw = random.Random(count)
    images = folder / "images"
    images.mkdir(parents=True)
    # All images of a size are one file: only their headers are read.
    for width, height in SIZES:
        Image.new("RGB", (width, height)).save(folder / f"{width}x{height}.jpg")
    records, annotations = [], []
    for image in range(count):
        name = f"{image + 1:012}.jpg"
        width, height = draw.choice(SIZES)
        os.link(folder / f"{width}x{height}.jpg", images / name)
        records.append(
            {
                "license": 1,
                "file_name": name,
                "coco_url": f"http://images.cocodataset.org/train2017/{name}",
                "height": height,
                "width": width,
                "date_captured": "2013-11-14 17:02:52",
                "flickr_url": f"http://farm9.staticflickr.com/8186/{image}_640.jpg",
                "id": image + 1,
            }
        )
        wanted = round((image + 1) * OBJECTS_AN_IMAGE) - len(annotations)
        for _ in range(wanted):
            w, h = (draw.uniform(0.03, 0.8) * side for side in (width, height))
            x, y = draw.uniform(0, width - w), draw.uniform(0, height - h)
            corners = draw.randrange(8, 40)
            polygon = [
                round(start + draw.random() * side, 2)
                for _ in range(corners)
                for start, side in ((x, w), (y, h))
            ]
            annotations.append(
                {
                    "segmentation": [polygon],
                    "area": round(w * h, 4),
                    "iscrowd": 0,
                    "image_id": image + 1,
                    "bbox": [round(v, 2) for v in (x, y, w, h)],
                    "category_id": draw.choice(CATEGORY_IDS),
                    "id": len(annotations) + 1,
                }
            )
    categories = [{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in CATEGORY_IDS]
    whole = {"images": records, "annotations": annotations, "categories": categories}
    path = folder / "annotations.json"
    path.write_text(json.dumps(whole))
    return path


def pycocotools_worker(task):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    report = {}
    with contextlib.redirect_stdout(io.StringIO()):
        compare.begin_peak()
        start = time.perf_counter()
        truth = COCO(task["annotations"])
        report["open"] = 1e3 * (time.perf_counter() - start)
        report["peak_mib"] = compare.peak_mib()
        if "results" in task:
            results = json.loads(Path(task["results"]).read_text())
            start = time.perf_counter()
            evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            report["evaluate"] = 1e3 * (time.perf_counter() - start)
            report["AP"] = evaluation.stats[0]
    print(json.dumps(report))


def bench(arguments, annotations, parts, *more):
    images = annotations.parent / "images"
    command = [
        *(str(arguments.bench), "--parts", parts, "--device", "cpu"),
        *("--train-images", str(images), "--train-annotations", str(annotations)),
        *("--val-images", str(images), "--val-annotations", str(annotations)),
        *map(str, more),
    ]
    return compare.run(command, arguments.threads)


def peer(arguments, **task):
    command = [sys.executable, __file__, "--worker", json.dumps(task)]
    return compare.run(command, arguments.threads)


def median_of(report, part, stage):
    return next(s["median"] for s in report[part]["stages"] if s["name"] == stage)


def opening(arguments, folder):
    rows = []
    for count in IMAGES:
        annotations = write_annotations(folder / f"images-{count}", count)
        turns = []
        for turn in range(arguments.turns):
            print(f"{count} images: turn {turn + 1} of {arguments.turns}", file=sys.stderr)
            our = bench(arguments, annotations, "opening", "--warm-up", 0, "--rounds", 1)
            their = peer(arguments, annotations=str(annotations))
            turns.append((our, their))
        first = turns[0][0]["opening"]
        rows.append(
            {
                "images": count,
                "objects": first["objects"],
                "file_mib": annotations.stat().st_size / 2**20,
                "open_ms": [median_of(our, "opening", "open") for our, _ in turns],
                "epoch_start_ms": [median_of(our, "opening", "epoch start") for our, _ in turns],
                "peak_mib": [our["opening"]["peak_mib"] for our, _ in turns],
                "pycocotools_open_ms": [their["open"] for _, their in turns],
                "pycocotools_peak_mib": [their["peak_mib"] for _, their in turns],
            }
        )
    return rows


def evaluation(arguments, folder):
    count, per_image = 5_000, 50
    annotations = write_annotations(folder / "evaluation", count)
    results = folder / "results.json"
    turns = []
    for turn in range(arguments.turns):
        print(f"evaluation: turn {turn + 1} of {arguments.turns}", file=sys.stderr)
        more = ["--detections", per_image, "--results", results, "--warm-up", 0, "--rounds", 3]
        our = bench(arguments, annotations, "evaluation", *more)
        their = peer(arguments, annotations=str(annotations), results=str(results))
        turns.append((our, their))
    our, their = turns[0]
    return {
        "images": count,
        "detections": our["evaluation"]["detections"],
        "AP": our["evaluation"]["ap"],
        "pycocotools_AP": their["AP"],
        "evaluate_ms": [median_of(our, "evaluation", "evaluate") for our, _ in turns],
        "pycocotools_evaluate_ms": [their["evaluate"] for _, their in turns],
    }


def steps(arguments, folder):
    """Time training steps of a ResNet-18 on 4 images of 256×256, by objects and by classes."""
    rows = []
    cases = [(objects, 80) for objects in OBJECTS]
    cases += [(10, classes) for classes in CLASSES if classes != 80]
    for objects, classes in cases:
        place = folder / f"step-{objects}-{classes}"
        compare.write_images(place, 4, (256, 256), objects, classes=classes)
        more = ["--preset", "paper", "--backbone", "resnet18", "--image-size", "256x256"]
        more += ["--batch-size", 4, "--lr", 1e-4, "--config", place / "config.json"]
        backbone = {"norm": "batch", "norm_epsilon": 1e-5, "frozen_stages": 0}
        configuration = {"model": {"backbone": backbone}}
        (place / "config.json").write_text(json.dumps(configuration))
        report = bench(arguments, place / "annotations.json", "training", *more)["training"]
        stages = {s["name"]: s["median"] for s in report["host"] + report["device"]}
        rows.append(
            {"objects": objects, "classes": classes, "peak_mib": report["peak_mib"]} | stages
        )
        print(f"{objects} objects, {classes} classes", file=sys.stderr)
    return rows


def markdown(report):
    middle = statistics.median
    lines = [f"{report['processor']}, {report['threads']} threads; {report['turns']} turns.", ""]
    if "opening" in report:
        lines += [
            "| Images | Objects | File, MiB | Open, s | / pycocotools | Peak, MiB | / pycocotools |"
            " Epoch start, ms |",
            "|---" * 8 + "|",
        ]
        for row in report["opening"]:
            ours, theirs = middle(row["open_ms"]), middle(row["pycocotools_open_ms"])
            peak, their_peak = middle(row["peak_mib"]), middle(row["pycocotools_peak_mib"])
            lines.append(
                f"| {row['images']:,} | {row['objects']:,} | {row['file_mib']:.0f} |"
                f" {ours / 1e3:.2f} | {ours / theirs:.2f} | {peak:.0f} | {peak / their_peak:.2f} |"
                f" {middle(row['epoch_start_ms']):.2f} |"
            )
        lines.append("")
    if "evaluation" in report:
        row = report["evaluation"]
        ours, theirs = middle(row["evaluate_ms"]), middle(row["pycocotools_evaluate_ms"])
        lines += [
            f"Evaluation of {row['images']:,} images with {row['detections']:,} detections:"
            f" {ours / 1e3:.2f} s, pycocotools {theirs / 1e3:.1f} s, {theirs / ours:.0f} times as"
            f" long; AP {row['AP']:.6f} and {row['pycocotools_AP']:.6f}.",
            "",
        ]
    if "steps" in report:
        lines += [
            "| Objects | Classes | Assignment, ms per image | Loss, ms | Step, ms | Peak, MiB |",
            "|---" * 6 + "|",
        ]
        for row in report["steps"]:
            lines.append(
                f"| {row['objects']:,} | {row['classes']:,} | {row['assignment']:.2f} |"
                f" {row['loss']:.1f} | {row['step']:.0f} | {row['peak_mib']:.0f} |"
            )
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bench", type=Path, help="path of our bench program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--parts", default="opening,evaluation,steps")
    parser.add_argument("--output", type=Path, help="folder for scale.json and scale.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        pycocotools_worker(json.loads(arguments.worker))
        return
    if arguments.bench is None or arguments.output is None:
        parser.error("--bench and --output are required")
    report = {
        "processor": compare.processor(),
        "threads": arguments.threads,
        "turns": arguments.turns,
    }
    measures = {"opening": opening, "evaluation": evaluation, "steps": steps}
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.parts.split(","):
            report[part] = measures[part](arguments, Path(folder))
            # Written after each part, so that a failure of a later part loses nothing.
            (arguments.output / "scale.json").write_text(json.dumps(report, indent=1) + "\n")
            (arguments.output / "scale.md").write_text(markdown(report))
    print(markdown(report))


if __name__ == "__main__":
    main()
