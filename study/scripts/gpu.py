"""Compare training steps and forward passes on a GPU with PyTorch, in one command.

    cargo build --release -p fcos-burn-study --bin bench --features cuda
    python study/scripts/gpu.py --bench target/release/bench --output FOLDER

The machine needs NVIDIA's driver, NVRTC, PyTorch, torchvision, numpy and pillow, but no Rust. Both programs have the
same weights, images and batch size; nothing is frozen, and batch normalization is trained. What is measured, in
this order, until the time is up:

1. A training step: ours in f32, with and without fusion, and in bf16; PyTorch's eager and compiled, in f32,
   TF32 and bf16. Milliseconds, seconds of the first step (compiling and choosing kernels), peak memory.
2. The kernels of a training step: their number, their total time and the most frequent ones. If the total is less
   than the time of the step, the GPU waits for the host.
3. The forward pass; for ours, also detection.

`--device vulkan` or `wgpu` measures only our part, on another device. The case `tiny`, our smallest detector,
needs no PyTorch: on a software driver, it shows that the script works.
"""

import argparse
import collections
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import compare

# Backbone, batch size, (width, height). Without a backbone: the preset `small`, only ours.
CASES = {
    "tiny": (None, 1, (64, 64)),
    "r50-2x320": ("resnet50", 2, (320, 320)),
    "r50-16x800": ("resnet50", 16, (1088, 800)),
}

# Precision, and whether operations are fused.
OURS = {"f32": ("f32", True), "bf16": ("bf16", True), "f32, no fusion": ("f32", False)}

# Precision, and whether the model is compiled.
THEIRS = {
    "eager, f32": ("f32", False),
    "eager, TF32": ("tf32", False),
    "eager, bf16": ("bf16", False),
    "compile, TF32": ("tf32", True),
    "compile, bf16": ("bf16", True),
}


class Memory:
    """The largest use of the GPU's memory while it is open, by nvidia-smi, beyond that at its start."""

    QUERY = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def __enter__(self):
        self.peak = self.before = self.used()
        self.open = True
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def used(self):
        try:
            found = subprocess.run(self.QUERY, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return int(found.stdout.splitlines()[0])

    def watch(self):
        while self.open and self.before is not None:
            self.peak = max(self.peak, self.used() or 0)
            time.sleep(0.2)

    def __exit__(self, *_):
        self.open = False
        self.thread.join()

    def mib(self):
        return None if self.before is None else self.peak - self.before


class Clock:
    """The time that is left."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return self.end - time.monotonic()


def configure(folder, fusion=True, profile=None):
    """Burn's configuration for programs that run in `folder`."""
    folder.mkdir(exist_ok=True)
    burn = "" if fusion else "[fusion.beam_search]\nmax_explorations = 0\n"
    (folder / "burn.toml").write_text(burn)
    log = folder / "kernels.log"
    log.unlink(missing_ok=True)
    logger = "" if profile is None else f'[profiling]\nlogger = {{ level = "{profile}", file = "{log}" }}\n'
    (folder / "cubecl.toml").write_text(logger)
    return log


def run(command, clock, folder=None, warmed_up=lambda: None):
    """The JSON that a program prints, or why there is none. Calls `warmed_up` when it says so."""
    if clock.left() < 5:
        return "no time left"
    errors = []

    def listen():
        for line in process.stderr:
            errors.append(line.strip())
            if line.startswith("warm-up done"):
                warmed_up()

    with Memory() as memory:
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        listener = threading.Thread(target=listen)
        listener.start()
        late = threading.Timer(clock.left(), process.kill)
        late.start()
        output = process.stdout.read()
        code = process.wait()
        late.cancel()
        listener.join()
    if clock.left() <= 0:
        return "time is up"
    if code != 0:
        return errors[-1] if errors else f"exit code {code}"
    return json.loads(output) | {"mib": memory.mib()}


def ours(args, case, part, clock, precision="f32", warmed_up=None, **configuration):
    work = Path(case["data"]) / "work"
    log = configure(work, **configuration)
    data = Path(case["data"]).resolve()
    files = [data / "images", data / "annotations.json"]
    width, height = case["input"]
    network = ["--preset", "small", "--set", "model.backbone.width=16"]
    if case["backbone"] is not None:
        network = ["--preset", "paper", "--config", str(data / "config.json"), "--weights", case["weights"]]
    command = [
        *(str(args.bench.resolve()), "--parts", part, "--device", args.device, *network),
        *("--train-images", str(files[0]), "--train-annotations", str(files[1])),
        *("--val-images", str(files[0]), "--val-annotations", str(files[1])),
        *("--image-size", f"{width}x{height}", "--batch-size", str(case["batch"])),
        *("--precision", precision, "--warm-up", "2", "--rounds", str(args.rounds)),
    ]
    if warmed_up is None:
        return run(command, clock, work)
    # The log is written by another thread.
    return run([*command, "--pause", "2"], clock, work, lambda: warmed_up(log)), log


UNITS = {"ns": 1e-6, "µs": 1e-3, "us": 1e-3, "ms": 1.0, "s": 1e3}


def profiled(text):
    """The kernels in a log, by name: number and milliseconds."""
    counts, milliseconds = collections.Counter(), 0.0
    for line in text.splitlines():
        found = re.match(r"\| ([0-9.]+)(ns|µs|us|ms|s) +\| (.*)", line)
        if found:
            # Without the types that the kernel is compiled for.
            counts[re.split(r"[<( ]", found[3])[0].split("::")[-1]] += 1
            milliseconds += float(found[1]) * UNITS[found[2]]
    return counts, milliseconds


def kernels(args, case, clock, **options):
    """The number of kernels of a step, by name, and their time."""
    start = []

    def warmed_up(log):
        time.sleep(1)
        start.append(log.stat().st_size)

    found, log = ours(args, case, "step", clock, warmed_up=warmed_up, profile="basic", **options)
    if isinstance(found, str):
        return found
    with log.open("rb") as file:
        file.seek(start[0])
        counts, milliseconds = profiled(file.read().decode(errors="replace"))
    per_step = [(name, count / args.rounds) for name, count in counts.most_common()]
    return per_step, milliseconds / args.rounds


def theirs(case, clock, part, precision, compiled, rounds):
    job = {**case, "part": part, "precision": precision, "compiled": compiled, "rounds": rounds}
    return run([sys.executable, __file__, "--worker", json.dumps(job)], clock)


def worker(job):
    """Runs PyTorch and prints a report as JSON."""
    import torch

    tf32 = job["precision"] == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda")
    pictures, targets = compare.read_images(Path(job["data"]))
    model = compare.detector(job["backbone"])
    model.load_state_dict(torch.load(job["weights"], weights_only=True))
    height, width = pictures[0].shape[:2]
    model.transform.min_size, model.transform.max_size = (min(width, height),), max(width, height)
    model.to(device)
    if job["compiled"]:
        model.backbone.body.compile()
        model.backbone.fpn.compile()
        model.head.compile()
    images = [image.to(device) for image in compare.tensors(pictures)]
    targets = [{name: values.to(device) for name, values in target.items()} for target in targets]
    autocast = torch.autocast("cuda", torch.bfloat16, enabled=job["precision"] == "bf16")

    def forward(batch):
        with autocast:
            features = list(model.backbone(batch.tensors).values())
            return features, model.head(features)

    if job["part"] == "step":
        model.train()
        batch, boxes = model.transform(images, targets)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)

        def once():
            features, outputs = forward(batch)
            outputs = {name: values.float() for name, values in outputs.items()}
            anchors = model.anchor_generator(batch, features)
            loss = sum(model.compute_loss(boxes, outputs, anchors, compare.level_sizes(features)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss.item()
    else:
        model.eval()
        batch, _ = model.transform(images)

        def once():
            with torch.inference_mode():
                forward(batch)
            return 0.0

    def timed():
        start = time.perf_counter()
        value = once()
        torch.cuda.synchronize()
        return time.perf_counter() - start, value

    first_seconds, loss = timed()
    timed()
    seconds = [timed()[0] for _ in range(job["rounds"])]
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        timed()
    events = [event for event in profile.events() if event.device_type.name == "CUDA"]
    report = {
        "milliseconds": 1e3 * statistics.median(seconds),
        "first_seconds": first_seconds,
        "loss": loss,
        "kernels": len(events),
        "kernel_ms": sum(event.device_time for event in events) / 1e3,
        "reserved_mib": torch.cuda.max_memory_reserved() / 2**20,
    }
    print(json.dumps(report))


def prepare(name, folder):
    """Images, weights and the configuration of a case."""
    backbone, batch, size = CASES[name]
    compare.write_images(folder, batch, size, objects=8)
    case = {"backbone": backbone, "batch": batch, "input": size, "data": str(folder)}
    if backbone is None:
        return case
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is required: it makes the weights")
    weights = (folder / "weights.pth").resolve()
    (folder / "config.json").write_text(json.dumps(compare.configuration(backbone)))
    torch.save(compare.detector(backbone).state_dict(), weights)
    return case | {"weights": str(weights)}


def measure(args, name, folder, clock, tell):
    case = prepare(name, folder)
    tell(f"\n## {name}\n")
    tell("| Training step | ms | First step, s | Loss | Memory, MiB |")
    tell("|---|---|---|---|---|")
    for label, (precision, fusion) in OURS.items():
        found = ours(args, case, "step", clock, precision=precision, fusion=fusion)
        if isinstance(found, str):
            tell(f"| ours, {label} | {found} | | | |")
            continue
        step = found["step"]
        tell(
            f"| ours, {label} | {step['device'][0]['median']:.1f} | {step['first_seconds']:.1f} |"
            f" {step['loss']:.5f} | {found['mib']} |"
        )
    pytorch = THEIRS if args.device == "cuda" and case["backbone"] is not None else {}
    launches = {}
    for label, (precision, compiled) in pytorch.items():
        found = theirs(case, clock, "step", precision, compiled, args.rounds)
        if isinstance(found, str):
            tell(f"| PyTorch, {label} | {found} | | | |")
            continue
        launches[label] = found
        tell(
            f"| PyTorch, {label} | {found['milliseconds']:.1f} | {found['first_seconds']:.1f} |"
            f" {found['loss']:.5f} | {found['mib']} |"
        )
    tell("\n| Kernels of a training step | Number | Milliseconds | The most frequent |")
    tell("|---|---|---|---|")
    for fusion in (True, False):
        found = kernels(args, case, clock, fusion=fusion)
        label = "ours" if fusion else "ours, no fusion"
        if isinstance(found, str):
            tell(f"| {label} | {found} | | |")
            continue
        counts, milliseconds = found
        frequent = ", ".join(f"{count:g} {kernel}" for kernel, count in counts[:8])
        tell(f"| {label} | {sum(count for _, count in counts):g} | {milliseconds:.1f} | {frequent} |")
    for label, found in launches.items():
        tell(f"| PyTorch, {label} | {found['kernels']} | {found['kernel_ms']:.1f} | |")
    tell("\n| Forward pass | ms |")
    tell("|---|---|")
    for precision in ("f32", "bf16"):
        found = ours(args, case, "inference", clock, precision=precision)
        if isinstance(found, str):
            tell(f"| ours, {precision} | {found} |")
            continue
        stages = {stage["name"]: stage["median"] for stage in found["inference"]["stages"]}
        tell(f"| ours, {precision} | {stages['forward']:.1f} (detection: {stages['detect']:.1f}) |")
    for label, (precision, compiled) in pytorch.items():
        found = theirs(case, clock, "forward", precision, compiled, args.rounds)
        shown = found if isinstance(found, str) else f"{found['milliseconds']:.1f}"
        tell(f"| PyTorch, {label} | {shown} |")


def main():
    if sys.argv[1:2] == ["--worker"]:
        worker(json.loads(sys.argv[2]))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--bench", type=Path, required=True, help="the program `bench` of the study")
    parser.add_argument("--output", type=Path, required=True, help="folder for the report")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cases", default="r50-2x320,r50-16x800", help=", ".join(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=480, help="for everything")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    report = args.output / "gpu.md"
    report.write_text("")

    def tell(line):
        print(line, flush=True)
        with report.open("a") as file:
            file.write(line + "\n")

    clock = Clock(args.seconds)
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        tell(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip())
    except (OSError, subprocess.CalledProcessError):
        tell(f"no NVIDIA driver; ours on {args.device}")
    for name in args.cases.split(","):
        with tempfile.TemporaryDirectory(dir=args.output) as folder:
            measure(args, name, Path(folder), clock, tell)
    tell(f"\n{args.seconds - clock.left():.0f} s")


if __name__ == "__main__":
    main()
