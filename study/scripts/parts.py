"""Keep some parts of weights and take the others from an untrained detector, to ask which parts carry over.

    target/release/fcos-burn train --data shapes --set data.source.shapes.train_images=8 \\
      --set data.source.shapes.val_images=4 --epochs 1 --from-scratch --output runs/untrained
    target/release/fcos-burn export --weights runs/untrained --format safetensors \\
      --output runs/untrained/model.safetensors
    python3 study/scripts/parts.py crates/builtin/assets/model.safetensors runs/untrained \\
      --keep backbone --output runs/backbone

`transfer.py` compares the results: `--start 'backbone=--weights runs/backbone/model.safetensors --new-classifier'`.
Needs numpy and safetensors.
"""

import argparse
import shutil
from pathlib import Path

import numpy
import safetensors
from safetensors.numpy import load_file, save_file


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="weights in a .safetensors file")
    parser.add_argument("untrained", type=Path, help="a run folder with exported weights, model.safetensors")
    parts = ["backbone", "fpn", "head"]
    parser.add_argument("--keep", action="append", required=True, choices=parts, help="a part of the detector")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    untrained = args.untrained / "model.safetensors"
    trained, weights = load_file(args.trained), load_file(untrained)
    with safetensors.safe_open(untrained, "numpy") as file:
        metadata = file.metadata()
    prefixes = tuple(f"{part}." for part in args.keep)
    kept = [name for name in trained if name.startswith(prefixes)]
    # A classifier of other classes stays untrained.
    kept = [name for name in kept if name in weights and trained[name].shape == weights[name].shape]
    if not kept:
        parser.error(f"{args.trained} has no tensor of {', '.join(args.keep)} that fits {untrained}")
    for name in kept:
        weights[name] = trained[name].astype(numpy.float32)
    args.output.mkdir(parents=True, exist_ok=True)
    save_file(weights, args.output / "model.safetensors", metadata=metadata)
    shutil.copy(args.untrained / "config.json", args.output)
    print(f"{args.output}: {len(kept)} of {len(weights)} tensors from {args.trained}")


if __name__ == "__main__":
    main()
