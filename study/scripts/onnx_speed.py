"""Time detection with exported detectors in ONNX Runtime and OpenVINO beside this project's own.

    cargo build --release -p fcos-burn-study
    venv/bin/python study/scripts/onnx_speed.py --onnx target/release/onnx --images IMAGES --weights RUN

Everything from the resized image to boxes is timed: the graph has the normalization, the network, the
decoding and the suppression. In each turn, the programs detect in the same images one after the other, each
for some rounds, with the same number of threads. The result of a turn is the ratio of the medians. A
cell is the median over the turns, with the smallest and the largest. Below 1, this project is faster.

onnx, onnxruntime, openvino and pillow come from PyPI.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from onnx_parity import RUNTIMES, read_image


def milliseconds(run, images, rounds):
    """The median of the rounds, averaged over the images. The first round does not count."""
    times = []
    for image in images:
        of_image = []
        for _ in range(rounds + 1):
            start = time.perf_counter()
            run(image)
            of_image.append(1e3 * (time.perf_counter() - start))
        times.append(statistics.median(of_image[1:]))
    return statistics.mean(times)


def cell(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f}–{max(values):.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--onnx", type=Path, required=True, help="the program `onnx` of the study")
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--weights", help="run folders, separated by commas")
    parser.add_argument("--count", type=int, default=2, help="images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()

    times = {}
    with tempfile.TemporaryDirectory() as folder:
        command = [args.onnx, "--images", args.images, "--count", args.count, "--rounds", args.rounds]
        command += ["--output", folder]
        if args.weights:
            command += ["--weights", args.weights]
        environment = os.environ | {"RAYON_NUM_THREADS": str(args.threads)}
        for turn in range(args.turns):
            subprocess.run(list(map(str, command)), env=environment, check=True, stdout=subprocess.DEVNULL)
            for case in sorted(path.parent for path in Path(folder).glob("*/reference.json")):
                reference = json.loads((case / "reference.json").read_text())
                images = [read_image(case / image["file"]) for image in reference["images"]]
                ours = statistics.mean(image["milliseconds"] for image in reference["images"])
                row = times.setdefault(case.name, {"ours": []})
                row["ours"].append(ours)
                for name, runtime in RUNTIMES.items():
                    run = runtime(case / "detections.onnx", args.threads)
                    row.setdefault(name, []).append(milliseconds(run, images, args.rounds))
            print(f"turn {turn + 1}/{args.turns}", file=sys.stderr)

    print("| Detector | Ours, ms | " + " | ".join(f"ours / {name}" for name in RUNTIMES) + " |")
    print("|---|---|" + "---|" * len(RUNTIMES))
    for case, row in times.items():
        ratios = [cell([ours / other for ours, other in zip(row["ours"], row[name])]) for name in RUNTIMES]
        print(f"| {case} | {statistics.median(row['ours']):.0f} | " + " | ".join(ratios) + " |")


if __name__ == "__main__":
    main()
