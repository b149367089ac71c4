"""The detector beside torchvision's, stage by stage.

    cargo build --release --examples
    venv/bin/python benches/compare.py --bench target/release/examples/bench --output FOLDER

Both train and detect with the same weights, images, batch size and threads, one program
after the other, in turn; a figure is the median over the rounds of ours / torchvision's
(below 1: we are faster), with the least and the largest ratio of a round. The first losses
and the detections of both are compared too: they compute the same.

torch and torchvision come from PyPI, at the versions that the table names.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = 80

# Backbone, batch size, (width, height).
CASES = {
    "r50-2x320": ("resnet50", 2, (320, 320)),
    "r18-4x256": ("resnet18", 4, (256, 256)),
    "r50-1x800": ("resnet50", 1, (1088, 800)),
}

# JPEG files of one size that are resized to another.
LOADING = {"files": (640, 480), "input": (320, 320), "batch": 4, "images": 256}

# In a step each side has stages of its own; these are compared.
TRAINING = ["backbone", "pyramid", "head", "loss", "backward", "optimizer", "step"]


def write_images(folder, count, size, objects, seed=0, suffix="png"):
    """A data set in COCO layout: clouds of colour, and boxes anywhere."""
    import numpy as np
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    numbers = np.random.default_rng(seed)
    draw = random.Random(seed)
    width, height = size
    images, annotations = [], []
    for index in range(count):
        coarse = numbers.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize(size, Image.BICUBIC)
        noise = numbers.normal(0, 8, (height, width, 3))
        picture = Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))
        name = f"{index:06}.{suffix}"
        picture.save(folder / "images" / name, **({"quality": 90} if suffix == "jpg" else {}))
        images.append({"id": index + 1, "file_name": name, "width": width, "height": height})
        for _ in range(objects):
            side = lambda length: draw.uniform(0.05, 0.6) * length
            w, h = side(width), side(height)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": draw.randrange(CLASSES) + 1,
                    "bbox": [draw.uniform(0, width - w), draw.uniform(0, height - h), w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index + 1, "name": f"class {index}"} for index in range(CLASSES)]
    annotations = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(annotations))


def detector(backbone):
    """torchvision's FCOS over a backbone whose layers are all trained."""
    import torch
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    torch.manual_seed(0)
    body = resnet_fpn_backbone(
        backbone_name=backbone,
        weights=None,
        norm_layer=torch.nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return FCOS(body, CLASSES)


def configuration():
    """What our side changes in the model of torchvision's weights."""
    return {
        "model": {
            "backbone": {"norm": "batch", "frozen_stages": 0},
            # Below the scores that new weights give, so that there is something to suppress.
            "postprocess": {"score_threshold": 0.05},
        },
        "objective": {"box_loss": "giou", "association": None},
        "input": {"augmentation": []},
        "optimization": {
            "optimizer": {"sgd": {"momentum": 0.9}},
            "learning_rate": 1e-4,
            "weight_decay": 1e-4,
            "bias_weight_decay": 1e-4,
            "bias_learning_rate_factor": 1.0,
            "warmup": {"iterations": 0, "factor": 1.0, "shape": "constant"},
            "max_gradient_norm": None,
        },
    }


def begin_peak():
    Path("/proc/self/clear_refs").write_text("5")


def peak_mib():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024


class Stopwatch:
    def __init__(self, warm_up):
        self.warm_up = warm_up
        self.times = {}

    def time(self, name, work):
        start = time.perf_counter()
        result = work()
        self.times.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
        return result

    def medians(self):
        return {name: statistics.median(times[self.warm_up :]) for name, times in self.times.items()}


def torchvision_worker(case):
    """One round of torchvision's side, as JSON on standard output."""
    import numpy as np
    import torch
    from PIL import Image

    torch.set_num_threads(case["threads"])
    report = {"torch": torch.__version__}
    if case["kind"] == "loading":
        report["loading"] = {workers: torchvision_loading(case, workers) for workers in (1, 2)}
        print(json.dumps(report))
        return
    folder = Path(case["data"])
    annotations = json.loads((folder / "annotations.json").read_text())
    pictures, targets = [], []
    for image in annotations["images"]:
        picture = Image.open(folder / "images" / image["file_name"]).convert("RGB")
        pictures.append(np.asarray(picture))
        found = [a for a in annotations["annotations"] if a["image_id"] == image["id"]]
        boxes = torch.tensor([a["bbox"] for a in found])
        boxes[:, 2:] += boxes[:, :2]
        labels = torch.tensor([a["category_id"] - 1 for a in found])
        targets.append({"boxes": boxes, "labels": labels})
    model = detector(case["backbone"])
    model.load_state_dict(torch.load(case["weights"], weights_only=True))
    height, width = pictures[0].shape[:2]
    model.transform.min_size = (min(width, height),)
    model.transform.max_size = max(width, height)
    model.score_thresh = 0.05

    def tensors():
        return [torch.from_numpy(p).permute(2, 0, 1).to(torch.float32).div(255) for p in pictures]

    rounds = range(case["warm_up"] + case["rounds"])
    clock = Stopwatch(case["warm_up"])
    model.eval()
    begin_peak()
    with torch.inference_mode():
        for _ in rounds:
            detections = clock.time("detect", lambda: model(tensors()))
            images, _ = clock.time("preprocessing", lambda: model.transform(tensors()))

            def forward():
                features = list(model.backbone(images.tensors).values())
                return features, model.head(features)

            features, outputs = clock.time("forward", forward)

            def postprocess():
                anchors = model.anchor_generator(images, features)
                sizes = [f.shape[-2] * f.shape[-1] for f in features]
                split = {k: list(v.split(sizes, dim=1)) for k, v in outputs.items()}
                grouped = [list(a.split(sizes)) for a in anchors]
                found = model.postprocess_detections(split, grouped, images.image_sizes)
                original = [p.shape[:2] for p in pictures]
                return model.transform.postprocess(found, images.image_sizes, original)

            clock.time("detections", postprocess)
    report["detections"] = sum(len(d["boxes"]) for d in detections)
    report["scores"] = float(sum(d["scores"].sum() for d in detections))
    report["inference_peak_mib"] = peak_mib()

    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    images, targets = model.transform(tensors(), targets)
    begin_peak()
    for _ in rounds:
        body = clock.time("backbone", lambda: model.backbone.body(images.tensors))
        features = clock.time("pyramid", lambda: list(model.backbone.fpn(body).values()))
        outputs = clock.time("head", lambda: model.head(features))

        def loss():
            anchors = model.anchor_generator(images, features)
            sizes = [f.shape[-2] * f.shape[-1] for f in features]
            return sum(model.compute_loss(targets, outputs, anchors, sizes).values())

        total = clock.time("loss", loss)
        optimizer.zero_grad()
        clock.time("backward", total.backward)
        clock.time("optimizer", optimizer.step)
    del body, features, outputs, total
    model.load_state_dict(torch.load(case["weights"], weights_only=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    for _ in rounds:

        def step():
            features = list(model.backbone(images.tensors).values())
            outputs = model.head(features)
            anchors = model.anchor_generator(images, features)
            sizes = [f.shape[-2] * f.shape[-1] for f in features]
            total = sum(model.compute_loss(targets, outputs, anchors, sizes).values())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            return total.item()

        first = clock.time("step", step)
        report.setdefault("loss", first)
    report["training_peak_mib"] = peak_mib()
    report["stages"] = clock.medians()
    print(json.dumps(report))


def torchvision_loading(case, workers):
    """Images a second of a DataLoader over PIL."""
    import torch
    from torchvision.datasets import CocoDetection
    from torchvision.transforms import v2

    folder = Path(case["data"])
    transform = v2.Compose(
        [
            v2.Resize(case["input"][::-1], antialias=True),
            v2.RandomHorizontalFlip(0.5),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    from torchvision.datasets import wrap_dataset_for_transforms_v2

    # Quiet: pycocotools tells of its index on standard output.
    stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
    data = CocoDetection(folder / "images", folder / "annotations.json", transforms=transform)
    sys.stdout = stdout
    data = wrap_dataset_for_transforms_v2(data, target_keys=("boxes", "labels"))
    loader = torch.utils.data.DataLoader(
        data,
        batch_size=case["batch"],
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
        collate_fn=lambda samples: (torch.stack([s[0] for s in samples]), [s[1] for s in samples]),
    )
    rates = []
    for _ in range(case["warm_up"] + case["rounds"]):
        start = time.perf_counter()
        count = sum(len(images) for images, _ in loader)
        rates.append(count / (time.perf_counter() - start))
    return statistics.median(rates[case["warm_up"] :])


def run(command, threads):
    environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stderr.decode()}")
    return json.loads(done.stdout)


def ours(arguments, case):
    data = Path(case["data"])
    files = [data / "images", data / "annotations.json"]
    width, height = case["input"]
    command = [
        str(arguments.bench),
        *("--preset", "paper", "--device", arguments.device, "--config", str(data / "config.json")),
        *("--train-images", str(files[0]), "--train-annotations", str(files[1])),
        *("--val-images", str(files[0]), "--val-annotations", str(files[1])),
        *("--image-size", f"{width}x{height}", "--batch-size", str(case["batch"])),
        *("--warm-up", str(case["warm_up"]), "--rounds", str(case["rounds"])),
    ]
    if case["kind"] == "loading":
        command += ["--parts", "loading", "--images", str(case["images"])]
        return run(command, case["threads"])
    return run([*command, "--weights", case["weights"], "--parts", "training,inference"], case["threads"])


def stages(report):
    """The medians of our side by torchvision's names."""
    medians = {s["name"]: s["median"] for s in report["training"]["device"]}
    return medians | {s["name"]: s["median"] for s in report["inference"]["stages"]}


def ratio(pairs):
    """Median, least and largest of the rounds' ratios."""
    ratios = [our / their for our, their in pairs]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def compare_network(arguments, name, folder):
    import torch

    backbone, batch, size = CASES[name]
    write_images(folder, batch, size, objects=8)
    (folder / "config.json").write_text(json.dumps(configuration()))
    weights = folder / "weights.pth"
    torch.save(detector(backbone).state_dict(), weights)
    case = {
        "kind": "network",
        "backbone": backbone,
        "batch": batch,
        "input": size,
        "data": str(folder),
        "weights": str(weights),
        "threads": arguments.threads,
        "warm_up": arguments.warm_up,
        "rounds": arguments.rounds,
    }
    pairs = []
    for turn in range(arguments.turns):
        print(f"{name}: turn {turn + 1} of {arguments.turns}", file=sys.stderr)
        first = ours(arguments, case)
        second = run([sys.executable, __file__, "--worker", json.dumps(case)], arguments.threads)
        pairs.append((first, second))
    first, second = pairs[0]
    values = {
        "loss": (first["training"]["loss"], second["loss"]),
        "detections": (first["inference"]["detections"], second["detections"]),
    }
    rows = {}
    for stage in [*TRAINING, "preprocessing", "forward", "detections", "detect"]:
        milliseconds = [(stages(our)[stage], their["stages"][stage]) for our, their in pairs]
        rows[stage] = {"milliseconds": milliseconds, "ratio": ratio(milliseconds)}
    for part in ("training", "inference"):
        mib = [(our[part]["peak_mib"], their[f"{part}_peak_mib"]) for our, their in pairs]
        rows[f"{part} memory"] = {"mib": mib, "ratio": ratio(mib)}
    share = lambda names, whole: statistics.median(
        sum(stages(our)[n] for n in names) / stages(our)[whole] for our, _ in pairs
    )
    return {
        "same": values,
        "rows": rows,
        "not the network": {
            "training": share(["transfer", "loss"], "step"),
            "inference": share(["preprocessing", "transfer", "detections"], "detect"),
        },
    }


def compare_loading(arguments, folder):
    write_images(folder, LOADING["images"], LOADING["files"], objects=8, suffix="jpg")
    changes = {"input": {"normalization": "image-net"}}
    (folder / "config.json").write_text(json.dumps(changes))
    case = LOADING | {
        "kind": "loading",
        "data": str(folder),
        "threads": arguments.threads,
        "warm_up": 1,
        "rounds": arguments.rounds,
    }
    pairs = []
    for turn in range(arguments.turns):
        print(f"loading: turn {turn + 1} of {arguments.turns}", file=sys.stderr)
        first = ours(arguments, case)
        second = run([sys.executable, __file__, "--worker", json.dumps(case)], arguments.threads)
        pairs.append((first["loading"], second["loading"]))
    rows = {}
    for index, workers in enumerate((1, 2)):
        rates = [(our[index]["median"], their[str(workers)]) for our, their in pairs]
        rows[f"{workers} worker{'s' * (workers > 1)}"] = {"images_per_second": rates, "ratio": ratio(rates)}
    return {"rows": rows}


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def markdown(report):
    lines = [
        f"{report['processor']}, {report['threads']} threads, torch {report['torch']},"
        f" torchvision {report['torchvision']}; {report['turns']} turns.",
        "",
    ]
    cell = lambda r: f"{r['median']:.2f} ({r['min']:.2f}–{r['max']:.2f})"
    cases = report["cases"]
    if cases:
        lines += ["| ours / torchvision | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
        for stage in next(iter(cases.values()))["rows"]:
            cells = [cell(case["rows"][stage]["ratio"]) for case in cases.values()]
            lines.append(f"| {stage} | " + " | ".join(cells) + " |")
        for part in ("training", "inference"):
            cells = [f"{100 * case['not the network'][part]:.1f} %" for case in cases.values()]
            lines.append(f"| not the network, of ours: {part} | " + " | ".join(cells) + " |")
        for value in ("loss", "detections"):
            cells = ["{:.6g}, {:.6g}".format(*case["same"][value]) for case in cases.values()]
            lines.append(f"| {value}: ours, torchvision's | " + " | ".join(cells) + " |")
        lines.append("")
    if "loading" in report:
        lines += ["| images a second, ours / torchvision | |", "|---|---|"]
        for name, row in report["loading"]["rows"].items():
            lines.append(f"| {name} | {cell(row['ratio'])} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, help="our program")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="of each program in a turn")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--cases", default=",".join([*CASES, "loading"]))
    parser.add_argument("--output", type=Path, help="folder of performance.json and performance.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        torchvision_worker(json.loads(arguments.worker))
        return
    import torch
    import torchvision

    if arguments.bench is None or arguments.output is None:
        parser.error("--bench and --output are needed")
    wanted = arguments.cases.split(",")
    report = {
        "processor": processor(),
        "threads": arguments.threads,
        "turns": arguments.turns,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "cases": {},
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted:
            if name == "loading":
                report["loading"] = compare_loading(arguments, Path(folder) / name)
            else:
                report["cases"][name] = compare_network(arguments, name, Path(folder) / name)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "performance.json").write_text(json.dumps(report, indent=1) + "\n")
    text = markdown(report)
    (arguments.output / "performance.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
