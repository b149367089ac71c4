"""Weights and inputs by a formula that both languages implement, so that none need to be stored."""

import math

import numpy as np
import torch

MASK = (1 << 64) - 1


def seed_of(name: str) -> int:
    """FNV-1a."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def uniform(name: str, count: int) -> np.ndarray:
    """`count` numbers in [0, 1): SplitMix64, seeded by the name, 24 bits each."""
    with np.errstate(over="ignore"):
        state = np.uint64(seed_of(name)) + np.uint64(0x9E3779B97F4A7C15) * np.arange(
            1, count + 1, dtype=np.uint64
        )
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state = state ^ (state >> np.uint64(31))
    return (state >> np.uint64(40)).astype(np.float64) / (1 << 24)


def tensor(name: str, shape) -> torch.Tensor:
    """The weight called `name` in a state dict of torchvision or the original FCOS code.

    Convolutions preserve the magnitude of activations. Statistics and affine parameters stay away
    from 0, so that no layer is dead.
    """
    shape = tuple(shape)
    u = uniform(name, math.prod(shape)).reshape(shape)
    if len(shape) == 4:
        gain = 8.0 if ".cls_logits." in name else 1.0
        values = (2 * u - 1) * math.sqrt(gain * 3.0 / math.prod(shape[1:]))
    elif name.endswith("running_var"):
        values = 0.5 + u
    elif name.endswith("running_mean"):
        values = 0.4 * u - 0.2
    elif name.endswith("cls_logits.bias"):
        values = u - 4.0
    elif name.endswith("bbox_reg.bias"):
        values = 1.0 + u
    elif name.endswith("bbox_pred.bias"):
        values = 2.0 + u
    elif name.endswith((".weight", ".scale")):
        values = 0.75 + 0.5 * u
    else:
        values = 0.2 * u - 0.1
    return torch.from_numpy(values.astype(np.float32))


def fill(module: torch.nn.Module) -> list:
    """Fill a module with weights by the formula. Returns names and shapes."""
    state = module.state_dict()
    for name, value in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        state[name] = tensor(name, value.shape)
    module.load_state_dict(state)
    return [[name, list(value.shape)] for name, value in state.items()]


def image(name: str, height: int, width: int) -> torch.Tensor:
    """A normalized image, [1, 3, height, width] in [-2, 2)."""
    u = uniform(name, 3 * height * width).reshape(1, 3, height, width)
    return torch.from_numpy((4 * u - 2).astype(np.float32))
