"""Compare exported detectors in ONNX Runtime and OpenVINO with this project's own detections.

    cargo build --release -p fcos-burn-study
    RAYON_NUM_THREADS=2 target/release/onnx --images IMAGES --weights RUN --rounds 5 --output FOLDER
    venv/bin/python study/scripts/onnx_parity.py FOLDER

For each detector in FOLDER: `onnx.checker` with full shape inference; the largest differences of boxes
in pixels and of scores, at all locations and of the detections; detections without a counterpart;
and milliseconds per image. Exits with 1 if a box differs by more than 0.05 pixels, a score by more
than 0.0001, or a detection has no counterpart. Detections whose score or IoU is within rounding of a
threshold may be on either side of it. They are counted apart, as `borderline`.

onnx, onnxruntime, openvino and pillow come from PyPI.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from PIL import Image

PIXELS = 0.05
SCORE = 1e-4


def onnx_runtime(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images})))


def open_vino(path, threads):
    # The CPU plugin computes in 16 bits by default where the processor can.
    settings = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(images):
        results = model([images])
        return {name: results[output] for output in model.outputs for name in output.get_names()}

    return run


RUNTIMES = {"onnxruntime": onnx_runtime, "openvino": open_vino}


def read_image(path):
    pixels = np.asarray(Image.open(path).convert("RGB"), np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda box: (box[2] - box[0]) * (box[3] - box[1])
    union = area(a) + area(b) - width * height
    return width * height / union if union > 0 else 0.0


def matched(found, expected):
    """Pairs of the same label, greedily by the distance of corners, and what is left of both."""
    pairs, left = [], list(found)
    missing = []
    for one in expected:
        same = [other for other in left if other["label"] == one["label"] and abs(other["score"] - one["score"]) < 1e-2]
        distance = lambda other: np.abs(np.subtract(other["bbox"], one["bbox"])).max()
        best = min(same, key=distance, default=None)
        if best is None or distance(best) > 1.0:
            missing.append(one)
        else:
            left.remove(best)
            pairs.append((best, one))
    return pairs, missing, left


def borderline(one, others, metadata):
    """Whether rounding decides if this detection exists: by its score, or by its IoU with another."""
    if abs(one["score"] - float(metadata["score_threshold"])) < 1e-4:
        return True
    if others and abs(one["score"] - others[-1]["score"]) < 1e-4:
        return True
    threshold = float(metadata["nms_iou_threshold"])
    same = [other for other in others if other["label"] == one["label"]]
    return any(abs(iou(one["bbox"], other["bbox"]) - threshold) < 1e-3 for other in same)


def check_file(path):
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    return {entry.key: entry.value for entry in model.metadata_props}


def detections(outputs):
    count = int(outputs["counts"][0])
    rows = zip(outputs["boxes"][0][:count], outputs["scores"][0], outputs["labels"][0])
    return [{"bbox": box.tolist(), "score": float(score), "label": int(label)} for box, score, label in rows]


def compare(folder, runtime, threads, rounds):
    reference = json.loads((folder / "reference.json").read_text())
    metadata = check_file(folder / "detections.onnx")
    classes = len(json.loads(metadata["class_names"]))
    boxes_run = runtime(folder / "boxes.onnx", threads)
    half_run = runtime(folder / "boxes-f16.onnx", threads)
    raw_run = runtime(folder / "raw.onnx", threads)
    run = runtime(folder / "detections.onnx", threads)
    worst = {"box": 0.0, "score": 0.0, "missing": 0, "borderline": 0, "half_score": 0.0}
    times, ours = [], []
    for image in reference["images"]:
        pixels = read_image(folder / image["file"])
        values = np.fromfile(folder / image["locations"], "<f4")
        locations = len(values) // (4 + classes)
        expected_boxes = values[: 4 * locations].reshape(locations, 4)
        expected_scores = values[4 * locations :].reshape(locations, classes)
        outputs = boxes_run(pixels)
        assert outputs["boxes"].shape == (1, locations, 4), outputs["boxes"].shape
        worst["box"] = max(worst["box"], float(np.abs(outputs["boxes"][0] - expected_boxes).max()))
        worst["score"] = max(worst["score"], float(np.abs(outputs["scores"][0] - expected_scores).max()))
        outputs = half_run(pixels)
        worst["half_score"] = max(worst["half_score"], float(np.abs(outputs["scores"][0] - expected_scores).max()))
        raw = raw_run(pixels)
        cells = sum(np.prod(raw[name].shape[2:]) for name in raw if name.startswith("distances"))
        assert cells == locations, (cells, locations)

        found = detections(run(pixels))
        pairs, missing, extra = matched(found, image["detections"])
        for a, b in pairs:
            worst["box"] = max(worst["box"], float(np.abs(np.subtract(a["bbox"], b["bbox"])).max()))
            worst["score"] = max(worst["score"], abs(a["score"] - b["score"]))
        for one, others in [(one, found) for one in missing] + [(one, image["detections"]) for one in extra]:
            worst["borderline" if borderline(one, others, metadata) else "missing"] += 1
        rounds_of_image = []
        for _ in range(rounds):
            start = time.perf_counter()
            run(pixels)
            rounds_of_image.append(1e3 * (time.perf_counter() - start))
        times.append(statistics.median(rounds_of_image))
        ours.append(image["milliseconds"])
    # A batch gives what its images give alone.
    mirrored = np.ascontiguousarray(pixels[..., ::-1])
    both = run(np.concatenate([pixels, mirrored]))
    for row, alone in enumerate([run(pixels), run(mirrored)]):
        assert both["counts"][row] == alone["counts"][0], (both["counts"], alone["counts"])
        assert np.abs(both["boxes"][row] - alone["boxes"][0]).max() <= PIXELS
    count = sum(len(image["detections"]) for image in reference["images"])
    return worst | {"detections": count, "milliseconds": statistics.mean(times), "ours": statistics.mean(ours)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__}"
    print(versions, file=sys.stderr)
    print("| Detector | Runtime | Box, px | Score | Detections | Missing | Borderline | Score, 16 bits | ms | Ours, ms |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    failed = False
    for folder in sorted(path.parent for path in args.folder.glob("*/reference.json")):
        for file in ("raw", "boxes", "boxes-f16"):
            check_file(folder / f"{file}.onnx")
        for name, runtime in RUNTIMES.items():
            found = compare(folder, runtime, args.threads, args.rounds)
            failed |= found["box"] > PIXELS or found["score"] > SCORE or found["missing"] > 0
            print(
                f"| {folder.name} | {name} | {found['box']:.4f} | {found['score']:.1e} | {found['detections']} "
                f"| {found['missing']} | {found['borderline']} | {found['half_score']:.1e} "
                f"| {found['milliseconds']:.1f} | {found['ours']:.1f} |",
                flush=True,
            )
    sys.exit(failed)


if __name__ == "__main__":
    main()
