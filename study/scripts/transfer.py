"""Compare starts of a training run: random weights, the built-in ones, or others, on a few images or many.

    cargo build --release
    python3 study/scripts/transfer.py --fcos-burn target/release/fcos-burn \\
      --data datasets/neu-det --size 128x128 --counts 50,200,all --seeds 0,1,2,3,4 \\
      --start scratch=--from-scratch --start builtin= --output results/transfer/neu-det

Each `--start NAME=FLAGS` is a row with these flags of `fcos-burn train`. All starts see the same images of the same
subset equally often (`--passes` images, or the same number of epochs) in the same order, so they take the same
seconds; the subset depends on the seed. The last epoch is evaluated on the whole validation split. Every run is one
thread. Results are kept in the output folder, so that a command that was stopped goes on where it was.
"""

import argparse
import json
import os
import random
import resource
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import converted

ONE_THREAD = {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

# Quantiles of Student's t distribution at 0.975, by degrees of freedom.
T = [float("nan"), 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262]


def run(command, log):
    with open(log, "w") as out:
        environment = {**os.environ, **ONE_THREAD}
        subprocess.run(list(map(str, command)), check=True, env=environment, stdout=out, stderr=subprocess.STDOUT)


def prepare(args):
    """Converts the data to COCO files, once."""
    coco = args.output / "coco"
    if (coco / "done").exists():
        return
    shutil.rmtree(coco, ignore_errors=True)
    command = [args.fcos_burn, "convert", "--data", args.data, "--format", "coco", "--output", coco]
    for split in (args.train_split, args.val_split):
        command += ["--split", split]
    args.output.mkdir(parents=True, exist_ok=True)
    run(command, args.output / "convert.log")
    for name, split in (("train", args.train_split), ("val", args.val_split)):
        (coco / f"{name}.json").write_text(json.dumps(converted.annotations_of(coco, split)))
    (coco / "done").touch()


def subset(annotations, count, seed):
    images = sorted(annotations["images"], key=lambda image: image["id"])
    chosen = images if count == "all" else random.Random(seed).sample(images, int(count))
    ids = {image["id"] for image in chosen}
    kept = [annotation for annotation in annotations["annotations"] if annotation["image_id"] in ids]
    return {**annotations, "images": sorted(chosen, key=lambda image: image["id"]), "annotations": kept}


def measure(args, start, count, seed):
    name, flags = start
    kept = args.output / f"{name}-{count}-{seed}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    coco = args.output / "coco"
    with tempfile.TemporaryDirectory(dir=args.output) as folder:
        folder = Path(folder)
        annotations = subset(json.loads((coco / "train.json").read_text()), count, seed)
        (folder / "train.json").write_text(json.dumps(annotations))
        images = len(annotations["images"])
        epochs = args.epochs or max(1, round(args.passes / images))
        command = [
            args.fcos_burn, "train", "--train-images", coco, "--train-annotations", folder / "train.json",
            "--val-images", coco, "--val-annotations", coco / "val.json", "--image-size", args.size,
            "--epochs", epochs, "--validate-every", epochs, "--keep", "last", "--workers", "0", "--seed", seed,
            *shlex.split(flags), "--output", folder / "run",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(command, args.output / f"{name}-{count}-{seed}.log")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        evaluation = json.loads((folder / "run" / "evaluation.json").read_text())
        row = {
            "start": name, "images": images, "seed": seed, "epochs": epochs,
            "ap": evaluation["figures"]["AP"], "ap50": evaluation["figures"]["AP50"],
        }
        if args.jobs == 1:
            row["cpu_seconds"] = after.ru_utime - before.ru_utime
    kept.write_text(json.dumps(row))
    print(json.dumps(row), file=sys.stderr, flush=True)
    return row


def cell(values):
    """Mean and range."""
    return f"{statistics.mean(values):.1f} ({min(values):.1f}–{max(values):.1f})"


def difference(values):
    """Mean and 95% interval of paired differences."""
    mean = statistics.mean(values)
    if not 2 <= len(values) <= len(T):
        return f"{mean:+.1f}"
    margin = T[len(values) - 1] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:+.1f} ({mean - margin:+.1f} to {mean + margin:+.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fcos-burn", type=Path, required=True, help="the program of this project")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--val-split", default="val")
    parser.add_argument("--size", required=True, help="WxH, the input size")
    parser.add_argument("--counts", default="50,200,all", help="numbers of training images")
    parser.add_argument("--passes", type=int, default=4000, help="images that a training sees")
    parser.add_argument("--epochs", type=int, help="use this number of epochs instead")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--start", action="append", required=True, help="NAME=FLAGS; the others are compared with the first one")
    parser.add_argument("--jobs", type=int, default=1, help="training runs at the same time")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    prepare(args)
    starts = [tuple(start.split("=", 1)) for start in args.start]
    counts, seeds = args.counts.split(","), [int(seed) for seed in args.seeds.split(",")]
    with ThreadPoolExecutor(args.jobs) as pool:
        tasks = {
            (count, start[0], seed): pool.submit(measure, args, start, count, seed)
            for seed in seeds for count in counts for start in starts
        }
        rows = {key: task.result() for key, task in tasks.items()}
    print("| images | start | epochs | AP: mean (range) | AP50 | AP above the first start (95%) |")
    print("|---|---|---|---|---|---|")
    for count in counts:
        first = [rows[count, starts[0][0], seed] for seed in seeds]
        for name, _ in starts:
            found = [rows[count, name, seed] for seed in seeds]
            gain = difference([100 * (a["ap"] - b["ap"]) for a, b in zip(found, first)])
            aps, ap50s = ([100 * row[key] for row in found] for key in ("ap", "ap50"))
            print(f"| {found[0]['images']} | {name} | {found[0]['epochs']} | {cell(aps)} | {cell(ap50s)} | {gain} |")


if __name__ == "__main__":
    main()
