"""Distribution focal loss, as its authors write it: two cross-entropies, weighted by the distance to the neighbors."""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

ROWS, BINS = 40, 16


def write(save):
    generator = torch.Generator().manual_seed(17)
    random = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    logits = (8 * random(ROWS, BINS + 1) - 4).float().double()
    targets = (BINS * random(ROWS)).float().double()
    # On a bin, and near the last one.
    targets[0], targets[1], targets[2] = 0.0, 5.0, BINS - 0.1
    targets = targets.float().double()
    left = targets.long()
    argument = logits.clone().requires_grad_(True)
    value = cross_entropy(argument, left, reduction="none") * (left + 1 - targets)
    value = value + cross_entropy(argument, left + 1, reduction="none") * (targets - left)
    value.sum().backward()
    tensors = {
        "logits": logits,
        "targets": targets,
        "distribution-focal.value": value.detach(),
        "distribution-focal.gradient": argument.grad,
    }
    save("distribution", {name: tensor.numpy().astype(np.float32) for name, tensor in tensors.items()})
