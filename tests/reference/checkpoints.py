"""Files as PyTorch writes them: a detector of a sixteenth of ResNet-18's width."""

import torch
from torchvision.models import resnet18

import formula
import network


def narrow(shape):
    return [side // 16 if side >= 64 else side for side in shape]


def write(folder):
    _, names = network.detector(resnet18)
    state = {name: formula.tensor(name, narrow(shape)) for name, shape in names}
    # As torchvision's training program saves it, from a parallel model.
    checkpoint = {
        "model": {f"module.{name}": value for name, value in state.items()},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
        "epoch": 11,
    }
    torch.save(checkpoint, folder / "checkpoint.pth")
    # PyTorch's format before version 1.6, and half precision.
    half = {name: value.half() for name, value in state.items()}
    torch.save(half, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("checkpoint.pth", "legacy.pth"):
        print(f"{name}: {(folder / name).stat().st_size} bytes")
