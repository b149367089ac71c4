"""Writes the fixtures of the parity tests.

    python -m venv venv && venv/bin/pip install torch torchvision numpy pillow safetensors pycocotools scipy \
        supervision tidecv ensemble-boxes
    git clone https://github.com/tianzhi0549/FCOS fcos
    venv/bin/python tests/reference/generate.py --fcos fcos

`correlation` and `ranking` need the code of other authors, and torchsort:

    venv/bin/pip install --no-build-isolation torchsort
    git clone https://github.com/fehmikahraman/CorrLoss
    git clone https://github.com/kemaloksuz/RankSortLoss
    git clone https://github.com/blisgard/BucketedRankingBasedLosses
    venv/bin/python tests/reference/generate.py --only correlation ranking --correlation CorrLoss \
        --rank-sort RankSortLoss --bucketed BucketedRankingBasedLosses

All inputs come from a formula or a fixed seed. A second run writes the same numbers, up to the
rounding of another version of PyTorch.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).parent))

import assignment
import checkpoints
import correlation
import distribution
import evaluation
import losses
import merging
import network
import nms
import operating_point
import ranking
import step

FIXTURES = Path(__file__).parent.parent / "fixtures"


def save(name, tensors, **metadata):
    arrays = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    metadata = {key: json.dumps(value) for key, value in metadata.items()}
    path = FIXTURES / f"{name}.safetensors"
    save_file(arrays, path, metadata)
    print(f"{path.name}: {len(arrays)} tensors, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fcos", type=Path, help="checkout of the original FCOS code")
    parser.add_argument("--correlation", type=Path, help="checkout of Correlation Loss")
    parser.add_argument("--rank-sort", type=Path, help="checkout of Rank & Sort Loss")
    parser.add_argument("--bucketed", type=Path, help="checkout of bucketed ranking losses")
    parser.add_argument("--only", nargs="*", help="names of the fixtures to write")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(2)
    FIXTURES.mkdir(exist_ok=True)
    writers = {
        "network": lambda: network.write(save, FIXTURES),
        "checkpoints": lambda: checkpoints.write(FIXTURES),
        "nms": lambda: nms.write(save),
        "merging": lambda: merging.write(save),
        "losses": lambda: losses.write(save),
        "assignment": lambda: assignment.write(save, arguments.fcos),
        "evaluation": lambda: evaluation.write(FIXTURES),
        "operating-point": lambda: operating_point.write(FIXTURES),
        "step": lambda: step.write(save, arguments.fcos),
        "distribution": lambda: distribution.write(save),
        "correlation": lambda: correlation.write(save, arguments.correlation),
        "ranking": lambda: ranking.write(save, arguments.rank_sort, arguments.bucketed),
    }
    for name in arguments.only or writers:
        writers[name]()


if __name__ == "__main__":
    main()
