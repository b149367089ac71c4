"""Files that PyTorch writes: a detector with a sixteenth of ResNet-18's width, the pickle of a
whole training state, and expanded tensors that share one element."""

import copy
import io
import pathlib
import zipfile

import torch
from torchvision.models import resnet18
from torchvision.models.detection import FCOS
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone

import formula
import network


def narrow(shape):
    return [side // 16 if side >= 64 else side for side in shape]


WEIGHTS = pathlib.Path(__file__).parents[2] / "crates/model/src/weights/fixtures"


def training():
    """The pickle of modules and an optimizer, without the data of their tensors."""
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, trainable_layers=5, returned_layers=[2, 3, 4]
    )
    model = FCOS(backbone, num_classes=3)
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    checkpoint = {
        "model": model,
        "ema": copy.deepcopy(model),
        "optimizer": optimizer.state_dict(),
        "losses": [0.1 * step for step in range(1000)],
    }
    file = io.BytesIO()
    torch.save(checkpoint, file)
    with zipfile.ZipFile(file) as archive:
        return archive.read("archive/data.pkl")


def write(folder):
    WEIGHTS.mkdir(exist_ok=True)
    (WEIGHTS / "training.pkl").write_bytes(training())
    shared = {str(index): torch.zeros(1).expand(5000) for index in range(100)}
    torch.save(shared, WEIGHTS / "expanded.pth")
    _, names = network.detector(resnet18)
    state = {name: formula.tensor(name, narrow(shape)) for name, shape in names}
    # Like a checkpoint of torchvision's training script, from a parallel model.
    checkpoint = {
        "model": {f"module.{name}": value for name, value in state.items()},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": []},
        "epoch": 11,
    }
    torch.save(checkpoint, folder / "checkpoint.pth")
    # The format of PyTorch before version 1.6, in half precision.
    half = {name: value.half() for name, value in state.items()}
    torch.save(half, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    for name in ("checkpoint.pth", "legacy.pth"):
        print(f"{name}: {(folder / name).stat().st_size} bytes")
