"""Compare the detector with torchvision's FCOS, stage by stage, and with other ways to run it.

    cargo build --release -p fcos-burn-study -p fcos-burn-cli --bins
    venv/bin/python study/scripts/compare.py --bench target/release/bench --output FOLDER
    venv/bin/python study/scripts/compare.py --bench target/release/bench --fcos-burn target/release/fcos-burn \\
        --peers eager,channels-last,compile,onnxruntime,openvino --output FOLDER

All programs train and detect with the same weights, images, batch size and threads. They take
turns, one after the other. Each cell is the median over the turns of ours / theirs (below
1: ours is faster), with the smallest and the largest ratio. The first loss and the number of
detections of ours and of torchvision's are listed too. They agree, except that we weight box losses
by center-ness, as FCOS does and torchvision does not.

The peers beside `eager`, torchvision as it is, take part in two measurements: the forward pass and,
with PyTorch, the training step. `compile` needs a C++ compiler. The arithmetic of a case counts
convolutions, two operations a multiplication; with Winograd's F(4x4, 3x3), those of 3x3 kernels of
stride 1 count a quarter. The peak is that of a product of two matrices in PyTorch.

`--precision bf16-products` lets our convolutions multiply 16-bit brain floats. Peers whose names end
with `-bf16` compute in 16 bits, activations included. The case `small-8x160` has random weights on both sides, so losses and detections
differ.

`--instructions avx2` compares with PyTorch as on a processor without AVX-512. ONNX Runtime and OpenVINO
choose instructions by themselves.

torch, torchvision, onnxruntime and openvino come from PyPI, in the versions that the table names.
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

# Network, batch size, (width, height). A frozen network trains neither its stem and first stage nor its
# batch normalization. `small` has the sizes of this project's preset.
CASES = {
    "r50-2x320": ("resnet50", 2, (320, 320)),
    "r18-4x256": ("resnet18", 4, (256, 256)),
    "r50-1x800": ("resnet50", 1, (1088, 800)),
    "r18-1x640": ("resnet18", 1, (640, 640)),
    "r50-1x320": ("resnet50", 1, (320, 320)),
    "r18-1x256": ("resnet18", 1, (256, 256)),
    "r50-2x320-frozen": ("resnet50-frozen", 2, (320, 320)),
    "r18-4x256-frozen": ("resnet18-frozen", 4, (256, 256)),
    "small-8x160": ("small", 8, (160, 120)),
}

# Other ways to run the same network, and what they can do. With `-bf16`, PyTorch runs under autocast and
# OpenVINO in bf16: activations are in 16 bits, too.
PEERS = {
    "eager": ["inference", "step"],
    "channels-last": ["inference", "step"],
    "compile": ["inference", "step"],
    "onnxruntime": ["inference"],
    "openvino": ["inference"],
    "eager-bf16": ["inference", "step"],
    "channels-last-bf16": ["inference", "step"],
    "compile-bf16": ["inference", "step"],
    "openvino-bf16": ["inference"],
}

# What limits PyTorch and its libraries.
LIMITS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
}

# The measurement in which they are compared.
MEASURED = {"inference": "forward", "step": "step"}

# JPEG files of one size that are resized to another size.
LOADING = {"files": (640, 480), "input": (320, 320), "batch": 4, "images": 256}

# Below the scores of untrained weights, so that there are candidates to suppress.
SCORE_THRESHOLD = 0.05

# The stages that both programs have. Whole steps have a process of their own, without a copy of the initial
# weights.
STAGES = {
    "step": ["step"],
    "training": ["backbone", "pyramid", "head", "loss", "backward", "optimizer"],
    "inference": ["preprocessing", "forward", "detections", "detect"],
}


def write_images(folder, count, size, objects, classes=CLASSES, suffix="png"):
    """Write a data set in COCO layout: clouds of color with random boxes."""
    import numpy as np
    from PIL import Image

    (folder / "images").mkdir(parents=True)
    numbers = np.random.default_rng(0)
    draw = random.Random(0)
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
                    "category_id": draw.randrange(classes) + 1,
                    "bbox": [draw.uniform(0, width - w), draw.uniform(0, height - h), w, h],
                    "area": w * h,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index + 1, "name": f"class {index}"} for index in range(classes)]
    annotations = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(annotations))


def detector(network):
    """torchvision's FCOS with all layers of the backbone trainable, unless they are frozen."""
    import torch
    from torchvision.models.detection import FCOS
    from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
    from torchvision.models.detection.fcos import FCOSHead
    from torchvision.ops import FrozenBatchNorm2d
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    torch.manual_seed(0)
    if network == "small":
        return FCOS(small_backbone(), CLASSES, head=FCOSHead(64, 1, CLASSES, num_convs=2))
    name, _, frozen = network.partition("-")
    body = resnet_fpn_backbone(
        backbone_name=name,
        weights=None,
        norm_layer=FrozenBatchNorm2d if frozen else torch.nn.BatchNorm2d,
        trainable_layers=3 if frozen else 5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    return FCOS(body, CLASSES)


def small_backbone():
    """A ResNet-18 whose layers have 24 channels where the usual ones have 64, and a pyramid of 64."""
    from torch import nn
    from torchvision.models.detection.backbone_utils import BackboneWithFPN
    from torchvision.models.resnet import BasicBlock, ResNet
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    width = 24

    class Narrow(ResNet):
        def _make_layer(self, block, planes, *arguments, **options):
            if planes == 64:
                self.inplanes = width
            return super()._make_layer(block, planes * width // 64, *arguments, **options)

    body = Narrow(BasicBlock, [2, 2, 2, 2])
    body.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
    body.bn1 = nn.BatchNorm2d(width)
    layers = {"layer2": "0", "layer3": "1", "layer4": "2"}
    channels = [width * 2, width * 4, width * 8]
    return BackboneWithFPN(body, layers, channels, 64, extra_blocks=LastLevelP6P7(64, 64))


def configuration(network):
    """Our settings that differ from those derived from torchvision's weights, or from the preset."""
    frozen = network.endswith("-frozen")
    return {
        "model": {
            "backbone": {"norm": "frozen" if frozen else "batch", "frozen_stages": 2 if frozen else 0},
            "postprocess": {"score_threshold": SCORE_THRESHOLD},
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


def memory_mib(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024


def peak_mib():
    return memory_mib("VmHWM")


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


def worker(case):
    """Run one turn of another program and print the report as JSON."""
    if case.get("peer") in ("onnxruntime", "openvino", "openvino-bf16"):
        print(json.dumps(runtime_forward(case)))
        return
    import torch
    import torchvision

    libraries = memory_mib("VmRSS")
    torch.set_num_threads(case["threads"])
    if case["part"] == "loading":
        report = {workers: torchvision_loading(case, workers) for workers in (1, 2)}
    else:
        pictures, targets = read_images(Path(case["data"]))
        model = detector(case["backbone"])
        if case["weights"]:
            model.load_state_dict(torch.load(case["weights"], weights_only=True))
        height, width = pictures[0].shape[:2]
        model.transform.min_size = (min(width, height),)
        model.transform.max_size = max(width, height)
        peer = kind(case)
        if peer == "channels-last":
            model = model.to(memory_format=torch.channels_last)
        if peer == "compile":
            if case["instructions"] == "avx2":
                import torch._inductor.config

                torch._inductor.config.cpp.simdlen = 256
            model.backbone.body.compile()
            model.backbone.fpn.compile()
            model.head.compile()
        clock = Stopwatch(case["warm_up"])
        part = {
            "step": torchvision_step,
            "training": torchvision_stages,
            "inference": torchvision_inference,
        }
        begin_peak()
        report = part[case["part"]](case, model, pictures, targets, clock)
        report["stages"] = clock.medians()
        report["libraries_mib"] = libraries
    print(json.dumps(report))


def kind(case):
    """The peer, without its number format."""
    return case.get("peer", "eager").removesuffix("-bf16")


def arithmetic_of(case):
    """Autocast for a `-bf16` peer. PyTorch keeps its casts of trainable weights until the context ends."""
    import torch

    return torch.autocast("cpu", torch.bfloat16, enabled=case.get("peer", "").endswith("-bf16"))


def read_images(folder):
    import numpy as np
    import torch
    from PIL import Image

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
    return pictures, targets


def tensors(pictures):
    import torch

    return [torch.from_numpy(p).permute(2, 0, 1).to(torch.float32).div(255) for p in pictures]


def level_sizes(features):
    return [feature.shape[-2] * feature.shape[-1] for feature in features]


def in_format(case, images):
    """The images in the memory format of the peer."""
    import torch

    if kind(case) == "channels-last":
        images.tensors = images.tensors.contiguous(memory_format=torch.channels_last)
    return images


def runtime_forward(case):
    """The forward pass of an ONNX file."""
    import numpy as np

    if case["peer"] == "onnxruntime":
        import onnxruntime

        libraries = memory_mib("VmRSS")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = case["threads"]
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(case["onnx"], options, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        forward = lambda: session.run(None, {name: images})
    else:
        import openvino

        libraries = memory_mib("VmRSS")
        hints = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": case["threads"],
            "INFERENCE_PRECISION_HINT": "bf16" if case["peer"].endswith("-bf16") else "f32",
        }
        network = openvino.Core().compile_model(case["onnx"], "CPU", hints)
        forward = lambda: network([images])
    width, height = case["input"]
    shape = (case["batch"], 3, height, width)
    images = np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)
    begin_peak()
    clock = Stopwatch(case["warm_up"])
    for _ in range(case["warm_up"] + case["rounds"]):
        clock.time("forward", forward)
    return {"stages": clock.medians(), "peak_mib": peak_mib(), "libraries_mib": libraries}


def arithmetic(case):
    """Operations of all convolutions of a forward pass, directly and by Winograd's algorithm."""
    import torch

    model = detector(case["backbone"]).eval()
    counts = [0.0, 0.0]

    def count(layer, _inputs, output):
        operations = 2.0 * output.numel() * layer.weight[0].numel()
        is_winograd = layer.kernel_size == (3, 3) and layer.stride == (1, 1)
        counts[0] += operations
        counts[1] += operations / 4 if is_winograd else operations

    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    width, height = case["input"]
    with torch.inference_mode():
        features = list(model.backbone(torch.zeros(case["batch"], 3, height, width)).values())
        model.head(features)
    return [count / 1e9 for count in counts]


def peak_gflops(threads):
    """The operations a second of a matrix product in PyTorch: the best of some."""
    import torch

    torch.set_num_threads(threads)
    side = 2048
    a, b = torch.randn(side, side), torch.randn(side, side)
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        a @ b
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds) / 1e9


def torchvision_inference(case, model, pictures, _targets, clock):
    import torch

    model.eval()
    model.score_thresh = SCORE_THRESHOLD

    def forward(images):
        with arithmetic_of(case):
            features = list(model.backbone(images.tensors).values())
            outputs = model.head(features)
        return features, {name: values.float() for name, values in outputs.items()}

    def detect():
        with arithmetic_of(case):
            return model(tensors(pictures))

    def postprocess(images, features, outputs):
        anchors = model.anchor_generator(images, features)
        sizes = level_sizes(features)
        split = {name: list(values.split(sizes, dim=1)) for name, values in outputs.items()}
        grouped = [list(boxes.split(sizes)) for boxes in anchors]
        found = model.postprocess_detections(split, grouped, images.image_sizes)
        original = [picture.shape[:2] for picture in pictures]
        return model.transform.postprocess(found, images.image_sizes, original)

    with torch.inference_mode():
        for _ in range(case["warm_up"] + case["rounds"]):
            images, _ = clock.time("preprocessing", lambda: model.transform(tensors(pictures)))
            images = in_format(case, images)
            features, outputs = clock.time("forward", lambda: forward(images))
            clock.time("detections", lambda: postprocess(images, features, outputs))
            del images, features, outputs
            detections = clock.time("detect", detect)
    found = sum(len(found["boxes"]) for found in detections)
    return {"detections": found, "peak_mib": peak_mib()}


class Training:
    """The training steps of torchvision's detector on one batch."""

    def __init__(self, case, model, pictures, targets):
        import torch

        self.model = model.train()
        images, self.targets = model.transform(tensors(pictures), targets)
        self.images = in_format(case, images)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)

    def loss(self, features, outputs):
        anchors = self.model.anchor_generator(self.images, features)
        losses = self.model.compute_loss(self.targets, outputs, anchors, level_sizes(features))
        return sum(losses.values())


def torchvision_stages(case, model, pictures, targets, clock):
    training = Training(case, model, pictures, targets)
    for _ in range(case["warm_up"] + case["rounds"]):
        body = clock.time("backbone", lambda: model.backbone.body(training.images.tensors))
        features = clock.time("pyramid", lambda: list(model.backbone.fpn(body).values()))
        outputs = clock.time("head", lambda: model.head(features))
        total = clock.time("loss", lambda: training.loss(features, outputs))
        training.optimizer.zero_grad()
        clock.time("backward", total.backward)
        clock.time("optimizer", training.optimizer.step)
    return {}


def torchvision_step(case, model, pictures, targets, clock):
    training = Training(case, model, pictures, targets)

    def step():
        with arithmetic_of(case):
            features = list(model.backbone(training.images.tensors).values())
            total = training.loss(features, model.head(features))
        training.optimizer.zero_grad()
        total.backward()
        training.optimizer.step()
        return total.item()

    report = {}
    for _ in range(case["warm_up"] + case["rounds"]):
        report.setdefault("loss", clock.time("step", step))
    return report | {"peak_mib": peak_mib()}


def torchvision_loading(case, workers):
    """Images per second of a DataLoader that decodes with PIL."""
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

    # pycocotools prints messages to standard output, which is reserved for the report.
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
        *(str(arguments.bench), "--parts", case["part"]),
        *("--preset", "small" if case.get("backbone") == "small" else "paper"),
        *("--device", arguments.device, "--config", str(data / "config.json")),
        *("--train-images", str(files[0]), "--train-annotations", str(files[1])),
        *("--val-images", str(files[0]), "--val-annotations", str(files[1])),
        *("--image-size", f"{width}x{height}", "--batch-size", str(case["batch"])),
        *("--warm-up", str(case["warm_up"]), "--rounds", str(case["rounds"])),
    ]
    if arguments.instructions:
        command += ["--instructions", arguments.instructions]
    if arguments.precision:
        command += ["--precision", arguments.precision]
    if case["part"] == "loading":
        command += ["--images", str(case["images"])]
    elif case["weights"]:
        command += ["--weights", case["weights"]]
    else:
        command += ["--from-scratch"]
    return run(command, case["threads"])[case["part"]]


def export(arguments, case):
    """Writes the network as an ONNX file of one size, from normalized pixels to raw outputs."""
    if arguments.fcos_burn is None:
        sys.exit("--fcos-burn is required for onnxruntime and openvino")
    width, height = case["input"]
    command = [
        *(arguments.fcos_burn, "export", "--weights", case["weights"], "--format", "onnx"),
        *("--outputs", "raw", "--normalized-input", "--image-size", f"{width}x{height}"),
        *("--batch-size", case["batch"], "--output", case["onnx"]),
    ]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)


def theirs(case):
    return run([sys.executable, __file__, "--worker", json.dumps(case)], case["threads"])


def medians(report):
    """The median of each stage of our program."""
    stages = report["device"] if "device" in report else report["stages"]
    return {stage["name"]: stage["median"] for stage in stages}


def ratio(pairs):
    """Median, smallest and largest of the ratios of all turns."""
    ratios = [our / their for our, their in pairs]
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def compare_network(arguments, name, folder):
    import torch

    backbone, batch, size = CASES[name]
    write_images(folder, batch, size, objects=8)
    (folder / "config.json").write_text(json.dumps(configuration(backbone)))
    weights = None
    if backbone != "small":
        weights = str(folder / "weights.pth")
        torch.save(detector(backbone).state_dict(), weights)
    case = {
        "backbone": backbone,
        "batch": batch,
        "input": size,
        "data": str(folder),
        "weights": weights,
        "threads": arguments.threads,
        "instructions": arguments.instructions,
        "warm_up": arguments.warm_up,
        "rounds": arguments.rounds,
    }
    peers = [peer for peer in arguments.peers.split(",") if peer != "eager"]
    if any("step" not in PEERS[peer] for peer in peers):
        case["onnx"] = str(folder / "detector.onnx")
        export(arguments, case)
    # Each part runs in its own process, so that peaks of memory are separate.
    pairs = {part: [] for part in STAGES}
    others = {(part, peer): [] for part in MEASURED for peer in peers if part in PEERS[peer]}
    for turn in range(arguments.turns):
        print(f"{name}: turn {turn + 1} of {arguments.turns}", file=sys.stderr)
        for part, found in pairs.items():
            our = ours(arguments, case | {"part": part})
            found.append((our, theirs(case | {"part": part})))
            for (other, peer), found in others.items():
                if other == part:
                    found.append((our, theirs(case | {"part": part, "peer": peer})))
    rows = {}
    for part, stages in STAGES.items():
        for stage in stages:
            milliseconds = [(medians(our)[stage], their["stages"][stage]) for our, their in pairs[part]]
            rows[stage] = {"milliseconds": milliseconds, "ratio": ratio(milliseconds)}
        if part not in MEASURED:
            continue
        mib = [(our["peak_mib"], their["peak_mib"]) for our, their in pairs[part]]
        rows[f"{part}, peak memory"] = {"mib": mib, "ratio": ratio(mib)}
        # Compared with what torchvision uses in addition to its libraries, which are large.
        mib = [
            (our["peak_mib"], their["peak_mib"] - their["libraries_mib"])
            for our, their in pairs[part]
        ]
        rows[f"{part}, without their libraries"] = {"mib": mib, "ratio": ratio(mib)}

    beside = {}
    for (part, peer), found in {**{(part, "eager"): pairs[part] for part in MEASURED}, **others}.items():
        stage = MEASURED[part]
        milliseconds = [(medians(our)[stage], their["stages"][stage]) for our, their in found]
        mib = [(our["peak_mib"], their["peak_mib"] - their["libraries_mib"]) for our, their in found]
        beside.setdefault(part, {})[peer] = {
            "milliseconds": milliseconds,
            "ratio": ratio(milliseconds),
            "memory": ratio(mib),
        }

    def share(part, names, whole):
        shares = []
        for our, _ in pairs[part]:
            host = {stage["name"]: stage["median"] for stage in our.get("host", [])}
            times = medians(our)
            outside = sum(times[name] for name in names) + batch * host.get("assignment", 0)
            shares.append(outside / sum(times[name] for name in whole))
        return statistics.median(shares)

    def values(part, name):
        our, their = pairs[part][0]
        return our[name], their[name]

    return {
        "same": {
            "loss": values("step", "loss"),
            "detections": values("inference", "detections"),
        },
        "rows": rows,
        "beside": beside,
        "gflop": arithmetic(case),
        "not the network": {
            "training": share("training", ["transfer", "loss"], ["transfer", *STAGES["training"]]),
            "inference": share("inference", ["preprocessing", "transfer", "detections"], ["detect"]),
        },
    }


def compare_loading(arguments, folder):
    write_images(folder, LOADING["images"], LOADING["files"], objects=8, suffix="jpg")
    changes = {"input": {"normalization": "imagenet"}}
    (folder / "config.json").write_text(json.dumps(changes))
    case = LOADING | {
        "part": "loading",
        "data": str(folder),
        "threads": arguments.threads,
        "warm_up": 1,
        "rounds": arguments.rounds,
    }
    pairs = []
    for turn in range(arguments.turns):
        print(f"loading: turn {turn + 1} of {arguments.turns}", file=sys.stderr)
        pairs.append((ours(arguments, case), theirs(case)))
    rows = {}
    for index, workers in enumerate((1, 2)):
        rates = [(our[index]["median"], their[str(workers)]) for our, their in pairs]
        name = "1 worker" if workers == 1 else f"{workers} workers"
        rows[name] = {"images_per_second": rates, "ratio": ratio(rates)}
    return {"rows": rows}


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def beside(report):
    """Tables of all peers, and how close we come to the peak of the machine."""
    cell = lambda r: f"{r['median']:.2f} ({r['min']:.2f}–{r['max']:.2f})"
    lines = []
    for part, title in (("inference", "forward pass"), ("step", "training step")):
        peers = [peer for peer in report["peers"] if part in PEERS[peer]]
        lines += [f"| {title}, ours / theirs | ours, ms | " + " | ".join(peers) + " |"]
        lines += ["|---" * (len(peers) + 2) + "|"]
        for name, case in report["cases"].items():
            found = case["beside"][part]
            ours = statistics.median(ms for ms, _ in found["eager"]["milliseconds"])
            cells = [cell(found[peer]["ratio"]) for peer in peers]
            lines.append(f"| {name} | {ours:.0f} | " + " | ".join(cells) + " |")
        for name, case in report["cases"].items():
            cells = [cell(case["beside"][part][peer]["memory"]) for peer in peers]
            lines.append(f"| {name}, peak memory without their libraries | | " + " | ".join(cells) + " |")
        lines.append("")
    peak = report["peak_gflops"]
    lines += [f"Peak of a matrix product: {peak:.0f} GFLOP/s.", ""]
    lines += ["| forward pass | GFLOP | with Winograd | GFLOP/s | share of the peak | with Winograd |", "|---" * 6 + "|"]
    for name, case in report["cases"].items():
        direct, winograd = case["gflop"]
        seconds = statistics.median(ms for ms, _ in case["beside"]["inference"]["eager"]["milliseconds"]) / 1e3
        lines.append(
            f"| {name} | {direct:.1f} | {winograd:.1f} | {direct / seconds:.0f}"
            f" | {direct / seconds / peak:.2f} | {winograd / seconds / peak:.2f} |"
        )
    return [*lines, ""]


def markdown(report):
    lines = [
        f"{report['processor']}, {report['instructions'] or 'its best instructions'}, "
        f"ours in {report['precision'] or 'f32'}, "
        f"{report['threads']} threads, torch {report['torch']},"
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
            cells = [f"{100 * case['not the network'][part]:.1f}%" for case in cases.values()]
            lines.append(f"| outside the network, of ours: {part} | " + " | ".join(cells) + " |")
        for value in ("loss", "detections"):
            cells = ["{:.6g}, {:.6g}".format(*case["same"][value]) for case in cases.values()]
            lines.append(f"| {value}: ours, torchvision's | " + " | ".join(cells) + " |")
        lines.append("")
        if len(report["peers"]) > 1:
            lines += beside(report)
    if "loading" in report:
        lines += ["| images per second, ours / torchvision | |", "|---|---|"]
        for name, row in report["loading"]["rows"].items():
            lines.append(f"| {name} | {cell(row['ratio'])} |")
        lines.append("")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, help="path of our bench program")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each program in a turn")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--cases", default="r50-2x320,r18-4x256,r50-1x800,loading")
    parser.add_argument("--peers", default="eager", help=f"some of {','.join(PEERS)}")
    parser.add_argument("--fcos-burn", type=Path, help="path of our program, to write ONNX files")
    parser.add_argument("--instructions", choices=LIMITS, help="limit ours and PyTorch to these")
    parser.add_argument("--precision", choices=["f32", "bf16-products", "bf16", "f16"], help="the number format of ours")
    parser.add_argument("--output", type=Path, help="folder for performance.json and performance.md")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        worker(json.loads(arguments.worker))
        return
    # Before the libraries that read them.
    os.environ.update(LIMITS.get(arguments.instructions, {}))
    import torch
    import torchvision

    if arguments.bench is None or arguments.output is None:
        parser.error("--bench and --output are required")
    wanted = arguments.cases.split(",")
    if unknown := set(arguments.peers.split(",")) - set(PEERS):
        parser.error(f"unknown peers: {', '.join(sorted(unknown))}")
    runtimes = {peer for peer, parts in PEERS.items() if "step" not in parts}
    if arguments.instructions and runtimes & set(arguments.peers.split(",")):
        parser.error("--instructions does not limit onnxruntime and openvino")
    if runtimes & set(arguments.peers.split(",")) and "small" in {CASES[name][0] for name in wanted if name in CASES}:
        parser.error("only PyTorch can be compared in the case small-8x160")
    peers = ["eager", *(peer for peer in arguments.peers.split(",") if peer != "eager")]
    report = {
        "peers": peers,
        "peak_gflops": peak_gflops(arguments.threads),
        "processor": processor(),
        "threads": arguments.threads,
        "instructions": arguments.instructions,
        "precision": arguments.precision,
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
