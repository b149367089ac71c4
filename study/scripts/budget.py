"""Train this project and ultralytics' YOLO for equal CPU seconds and score both with pycocotools.

    cargo build --release
    venv/bin/python study/scripts/budget.py --fcos-burn target/release/fcos-burn \\
      --data datasets/bccd --train-split trainval --val-split test --size 320x240 \\
      --seconds 300,1200 --seeds 0,1,2 --output results/budget/bccd --yolo yolo11n --ours small=--from-scratch

`--yolo yolo11n` trains from scratch. The CPU seconds are those of the whole process with its children:
reading, augmentation and validation included. Runs of one and of three epochs measure the seconds of an
epoch and of the start; the number of epochs is the largest that fits into the budget. Epochs differ in
cost, so the seconds used are printed, too.

YOLO has its defaults, with `--size`'s longer side as `imgsz`, and is scored with the settings
of its own validation (confidence 0.001, IoU 0.7, class by class). Each of `--ours NAME=FLAGS` is a row with
these flags of `fcos-burn train`; without `--from-scratch`, it may start from the built-in weights. Results are
kept in the output folder, so that a stopped command can be continued.

The weights of each training are kept there, too, so that another data set can start from them: `--yolo
NAME=results/budget/bccd/yolo11n-1200-0.pt --ours 'NAME=--weights results/budget/bccd/small-1200-0 --new-classifier'`.

ultralytics (AGPL) and pycocotools come from PyPI.
"""

import argparse
import contextlib
import io
import json
import os
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import converted

# Threads that wait for each other in a loop would count as work.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}


def cpu_seconds(command, log=None):
    """Runs a command on one thread; the CPU seconds of it and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(log, "w") if log else contextlib.nullcontext(subprocess.DEVNULL) as out:
        environment = {**os.environ, **ONE_THREAD}
        subprocess.run(list(map(str, command)), check=True, env=environment, stdout=out, stderr=subprocess.STDOUT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def score(ground_truth, results):
    """AP and AP50 in percent."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    if not results:
        return {"ap": 0.0, "ap50": 0.0}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(ground_truth))
        evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {"ap": 100 * evaluation.stats[0], "ap50": 100 * evaluation.stats[1]}


class Yolo:
    def __init__(self, args, row):
        self.args = args
        self.name, _, self.model = row.rpartition("=")
        self.name = self.name or Path(self.model).stem

    def train(self, epochs, seed, folder):
        command = [sys.executable, __file__, "--worker", "train", "--yolo", self.model, "--epochs", epochs]
        command += ["--seed", seed, "--size", self.args.size, "--output", folder, "--data", self.args.output / "yolo" / "data.yaml"]
        return cpu_seconds(command, log=f"{folder}.log")

    def keep(self, folder, kept):
        shutil.copy(folder / "weights" / "last.pt", f"{kept}.pt")

    def results(self, folder):
        command = [sys.executable, __file__, "--worker", "detect", "--size", self.args.size, "--output", folder]
        cpu_seconds(command + ["--data", self.args.output / "coco"], log=f"{folder}-detect.log")
        return json.loads((folder / "results.json").read_text())


class Ours:
    def __init__(self, args, row):
        self.args = args
        self.name, flags = row.split("=", 1)
        self.flags = shlex.split(flags)

    def splits(self):
        args = self.args
        pairs = [("--train-split", args.train_split), ("--val-split", args.val_split), ("--val-share", args.val_share)]
        return [part for flag, value in pairs if value for part in (flag, value)]

    def train(self, epochs, seed, folder):
        command = [self.args.fcos_burn, "train", "--data", self.args.data, *self.splits()]
        if "--image-size" not in self.flags:
            command += ["--image-size", self.args.size]
        command += [*self.flags, "--epochs", epochs, "--seed", seed, "--keep", "last", "--workers", "0", "--output", folder]
        return cpu_seconds(command, log=f"{folder}.log")

    def keep(self, folder, kept):
        kept.mkdir(exist_ok=True)
        for name in ("config.json", "model.bpk"):
            shutil.copy(folder / name, kept / name)

    def results(self, folder):
        return json.loads((folder / "results.json").read_text())


def worker(args):
    from ultralytics import YOLO

    size = max(map(int, args.size.split("x")))
    if args.worker == "train":
        [model] = args.yolo
        # `False` makes a model of a file start from random weights, too.
        from_file = model.endswith(".pt")
        model = YOLO(model if from_file else f"{model}.yaml")
        model.train(
            data=str(args.data), epochs=int(args.epochs), imgsz=size, seed=args.seed, device="cpu", pretrained=from_file,
            project=str(args.output.parent.resolve()), name=args.output.name, exist_ok=True, plots=False, workers=0,
        )
        return
    model = YOLO(str(args.output / "weights" / "last.pt"))
    truth = json.loads((args.data / "ground-truth.json").read_text())
    ids = [category["id"] for category in sorted(truth["categories"], key=lambda category: category["id"])]
    found = []
    for image in truth["images"]:
        path = args.data / image["file_name"]
        result = model.predict(str(path), imgsz=size, conf=0.001, iou=0.7, max_det=300, device="cpu", verbose=False)[0]
        for (x1, y1, x2, y2), confidence, label in zip(result.boxes.xyxy.tolist(), result.boxes.conf.tolist(), result.boxes.cls.tolist()):
            found.append({
                "image_id": image["id"], "category_id": ids[int(label)], "score": confidence,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
            })
    (args.output / "results.json").write_text(json.dumps(found))


def prepare(args):
    """Writes the data for YOLO and the ground truth, once."""
    output = args.output
    if (output / "coco" / "ground-truth.json").exists():
        return
    splits = [name for name in (args.train_split, args.val_split) if name]
    chosen = [part for name in splits for part in ("--split", name)]
    chosen += ["--val-share", args.val_share] if args.val_share else []
    for layout in ("yolo", "coco"):
        shutil.rmtree(output / layout, ignore_errors=True)
        command = [args.fcos_burn, "convert", "--data", args.data, "--format", layout, "--output", output / layout]
        cpu_seconds([*command, *chosen])
    train, val = ("train", "val") if args.val_share else (args.train_split or "train", args.val_split or "val")
    text = (output / "yolo" / "data.yaml").read_text()
    names = text[text.index("names:"):]
    folders = {split: next(path for path in (output / "yolo").glob(f"**/{split}") if "images" in path.parts) for split in (train, val)}
    yaml = f"path: {(output / 'yolo').resolve()}\ntrain: {folders[train].relative_to(output / 'yolo')}\n"
    (output / "yolo" / "data.yaml").write_text(f"{yaml}val: {folders[val].relative_to(output / 'yolo')}\n{names}")
    truth = converted.annotations_of(output / "coco", val)
    (output / "coco" / "ground-truth.json").write_text(json.dumps(truth))


def measure(args, program, seconds, seed):
    kept = args.output / f"{program.name}-{seconds}-{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    calibration = args.output / f"{program.name}-epoch.json"
    with tempfile.TemporaryDirectory(dir=args.output) as folder:
        if not calibration.exists():
            times = [program.train(epochs, 0, Path(folder) / f"epochs-{epochs}") for epochs in (1, 3)]
            epoch = (times[1] - times[0]) / 2
            calibration.write_text(json.dumps({"epoch": epoch, "start": max(0.0, times[0] - epoch)}))
        cost = json.loads(calibration.read_text())
        epochs = max(1, int((seconds - cost["start"]) / cost["epoch"]))
        run = Path(folder) / "run"
        used = program.train(epochs, seed, run)
        found = score(args.output / "coco" / "ground-truth.json", program.results(run))
        program.keep(run, kept.with_suffix(""))
    row = {"program": program.name, "budget": seconds, "seed": seed, "epochs": epochs, "cpu_seconds": used, **found}
    kept.write_text(json.dumps(row))
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fcos-burn", type=Path, help="the program of this project")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train-split")
    parser.add_argument("--val-split")
    parser.add_argument("--val-share")
    parser.add_argument("--size", required=True, help="WxH, the input size")
    parser.add_argument("--seconds", default="300,1200", help="budgets of CPU seconds")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--yolo", action="append", default=[], help="a model of ultralytics, such as yolo11n, or NAME=FILE.pt")
    parser.add_argument("--ours", action="append", default=[], help="NAME=FLAGS of `fcos-burn train`")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--epochs", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return worker(args)
    args.output.mkdir(parents=True, exist_ok=True)
    prepare(args)
    programs = [Yolo(args, row) for row in args.yolo] + [Ours(args, row) for row in args.ours]
    print("| program | budget | epochs | CPU seconds | AP: mean (range) | AP50 |")
    print("|---|---|---|---|---|---|")
    for program in programs:
        for seconds in map(int, args.seconds.split(",")):
            rows = [measure(args, program, seconds, int(seed)) for seed in args.seeds.split(",")]
            def cell(key, digits=1):
                values = [row[key] for row in rows]
                return f"{statistics.mean(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"
            print(f"| {program.name} | {seconds} | {rows[0]['epochs']} | {cell('cpu_seconds', 0)} | {cell('ap')} | {cell('ap50')} |", flush=True)


if __name__ == "__main__":
    main()
