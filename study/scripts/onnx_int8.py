"""Quantize an exported detector to 8 bits, and compare AP and speed before and after.

    fcos-burn convert --data shapes --format coco --output DATA
    fcos-burn export --format onnx --weights RUN --output model.onnx
    venv/bin/python study/scripts/onnx_int8.py model.onnx --train DATA/images/train --val DATA/images/val \\
        --val-annotations DATA/annotations/instances_val.json --output model-int8.onnx

Static quantization by ONNX Runtime after training: QDQ nodes around the convolutions, weights per
channel, ranges of activations from training images. The predictors of the head and everything after
them stay in 32 bits. With --layers, quantizes one group of layers at a time and lists what each costs.

onnx, onnxruntime, pillow and pycocotools come from PyPI.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

METHODS = {
    "minmax": CalibrationMethod.MinMax,
    "entropy": CalibrationMethod.Entropy,
    "percentile": CalibrationMethod.Percentile,
}


def metadata(path):
    model = onnx.load(path, load_external_data=False)
    return {entry.key: entry.value for entry in model.metadata_props}


def read_image(path, resize):
    """The input of the graph, and the factors from its pixels to those of the image."""
    image = Image.open(path).convert("RGB")
    if "fixed" in resize:
        size = (resize["fixed"]["width"], resize["fixed"]["height"])
    else:
        short, long = resize["short_side"]["short"], resize["short_side"]["long"]
        factor = min(short / min(image.size), long / max(image.size))
        size = tuple(max(int(side * factor), 1) for side in image.size)
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)
    factors = np.array([image.width / size[0], image.height / size[1]] * 2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]), factors


class Calibration(CalibrationDataReader):
    def __init__(self, files, resize):
        self.images = iter([read_image(file, resize)[0] for file in files])

    def get_next(self):
        image = next(self.images, None)
        return None if image is None else {"images": image}


def session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def evaluate(path, folder, annotations, threads):
    """AP and AP50 in hundredths, and the milliseconds per image."""
    about = metadata(path)
    resize, ids = json.loads(about["resize"]), json.loads(about["category_ids"])
    run = session(path, threads)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotations))
        results, times = [], []
        for number, info in truth.imgs.items():
            pixels, factors = read_image(folder / info["file_name"], resize)
            start = time.perf_counter()
            boxes, scores, labels, counts = run.run(["boxes", "scores", "labels", "counts"], {"images": pixels})
            times.append(1e3 * (time.perf_counter() - start))
            for box, score, label in list(zip(boxes[0], scores[0], labels[0]))[: counts[0]]:
                x1, y1, x2, y2 = (box * factors).tolist()
                results.append(
                    {
                        "image_id": number,
                        "category_id": ids[label],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "score": float(score),
                    }
                )
        ap, ap50 = 0.0, 0.0
        if results:
            evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            ap, ap50 = evaluation.stats[:2]
    # The first images take longer, while memory is allocated.
    return 100 * ap, 100 * ap50, statistics.median(times[2:] or times)


def ratios(path, reference, image, threads, turns=5, rounds=30):
    """The time of a detector / that of another, which take turns. The first rounds of a turn do not count."""
    runs = [session(each, threads) for each in (path, reference)]
    result = []
    for _ in range(turns):
        medians = []
        for run in runs:
            times = []
            for _ in range(rounds):
                start = time.perf_counter()
                run.run(None, {"images": image})
                times.append(time.perf_counter() - start)
            medians.append(statistics.median(times[5:]))
        result.append(medians[0] / medians[1])
    return result


def convolutions(path):
    return [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"]


def is_predictor(name):
    return name.startswith(("head.class_logits", "head.distances", "head.centerness"))


def quantize(source, target, nodes, files, resize, method):
    with tempfile.TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # Shapes stay dynamic: symbolic shape inference does not know every operator of the decoding.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Calibration(files, resize),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=METHODS[method],
        )


def group(name):
    """The stage of the backbone, the pyramid or the tower of a node."""
    return ".".join(name.split(".")[:3]) if name.startswith("backbone.stages") else ".".join(name.split(".")[:2])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("--val-annotations", type=Path, required=True)
    parser.add_argument("--images", type=int, default=100, help="calibration images")
    parser.add_argument("--method", choices=METHODS, default="minmax")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layers", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()

    resize = json.loads(metadata(args.model)["resize"])
    suffixes = {".png", ".jpg", ".jpeg", ".bmp"}
    files = sorted(file for file in args.train.iterdir() if file.suffix.lower() in suffixes)[: args.images]
    nodes = [name for name in convolutions(args.model) if not is_predictor(name)]

    print("| | AP | AP50 | ms | MiB |")
    print("|---|---|---|---|---|")

    def report(name, path):
        ap, ap50, milliseconds = evaluate(path, args.val, args.val_annotations, args.threads)
        size = path.stat().st_size / 2**20
        print(f"| {name} | {ap:.1f} | {ap50:.1f} | {milliseconds:.1f} | {size:.1f} |", flush=True)

    report("32 bits", args.model)
    quantize(args.model, args.output, nodes, files, resize, args.method)
    report("8 bits", args.output)
    turns = ratios(args.output, args.model, read_image(files[0], resize)[0], args.threads)
    faster = f"{statistics.median(turns):.2f} ({min(turns):.2f}–{max(turns):.2f})"
    if args.layers:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part.onnx"
            for name in dict.fromkeys(map(group, convolutions(args.model))):
                part = [node for node in convolutions(args.model) if group(node) == name]
                quantize(args.model, path, part, files, resize, args.method)
                report(f"only {name}", path)
    print(f"\ntime, 8 bits / 32 bits: {faster}, median of {len(turns)} turns, smallest and largest")


if __name__ == "__main__":
    main()
