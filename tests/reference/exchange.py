"""Exchange full-size weights between PyTorch and fcos-burn, in both directions.

    cargo build --release
    venv/bin/python tests/reference/exchange.py --program target/release/fcos-burn --image IMAGE...

torchvision's FCOS with a ResNet-50 detects objects in the images, with a short side of 800.
`detect` must find the same objects with the weights that torch.save wrote. `export` writes the
weights again. PyTorch must load that file and compute the same detections, bit for bit.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision.models import resnet50

import network

# Tolerances in pixels of the image and in score. Differences come from rounding of 32-bit floats
# in another order of summation, and from another JPEG decoder, whose pixels differ by one or two of
# 255 levels. Detections whose scores are closer than this may swap ranks.
ROUNDING, DECODER = (0.05, 1e-4), (0.5, 5e-3)


def run(program, command, *arguments):
    subprocess.run([program, command, *map(str, arguments)], check=True, stderr=subprocess.DEVNULL)


def compare(found, expected, tolerance):
    """Print the number of detections and the largest differences of those that match."""
    max_pixels, max_score = tolerance
    found = [
        (d["category_id"], d["score"], np.array(d["bbox"]) + [0, 0, *d["bbox"][:2]]) for d in found
    ]
    rows = zip(expected["labels"], expected["scores"], expected["boxes"])
    pixels = score = 0.0
    unmatched = list(found)
    for rank, (label, value, box) in enumerate(rows):
        near = [
            (abs(box - other[2]).max(), index)
            for index, other in enumerate(unmatched)
            if other[0] == label and abs(other[1] - value) <= max_score
        ]
        if near and min(near)[0] <= max_pixels:
            distance, index = min(near)
            pixels = max(pixels, distance)
            score = max(score, abs(unmatched.pop(index)[1] - value))
        else:
            # The last detections may be cut off at another rank.
            last = expected["scores"][-1]
            assert value <= last + max_score, f"detection {rank} is missing: {label} {value} {box}"
    print(
        f"{len(found)} detections, PyTorch {len(expected['scores'])}; {len(unmatched)} of ours are"
        f" unmatched, the others agree within {pixels:.4f} px and {score:.1e}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True)
    parser.add_argument("--image", type=Path, nargs="+", required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    model, _ = network.detector(resnet50)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        torch.save(model.state_dict(), folder / "fcos.pth")
        exported = folder / "exported.safetensors"
        run(arguments.program, "export", "--weights", folder / "fcos.pth", "--output", exported)
        again, _ = network.detector(resnet50)
        with torch.no_grad():
            for value in again.state_dict().values():
                value.zero_()
        again.load_state_dict(load_file(exported))
        for name, value in model.state_dict().items():
            assert torch.equal(value, again.state_dict()[name]), name
        for path in arguments.image:
            image = Image.open(path).convert("RGB")
            expected = network.detections(model, image)
            other = network.detections(again, image)
            assert all((expected[key] == other[key]).all() for key in expected)
            run(
                arguments.program,
                "detect",
                *("--weights", folder / "fcos.pth", "--input", path, "--output", folder / "drawn"),
                *("--score-threshold", "0"),
            )
            found = json.loads((folder / "drawn" / "detections.json").read_text())
            print(f"{path.name}, {image.width} x {image.height}:", end=" ")
            lossy = path.suffix.lower() in (".jpg", ".jpeg")
            compare(found[0]["detections"], expected, DECODER if lossy else ROUNDING)


if __name__ == "__main__":
    main()
