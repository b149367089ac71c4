"""Ranking losses and their gradients, by the code of their authors."""

import importlib.util
import sys
import types

import numpy as np
import torch

ROWS, CLASSES = 80, 5


class Registry:
    """Stands in for the registry of mmdetection."""

    def register_module(self):
        return lambda loss: loss


def load(path):
    """A module of losses, outside of its package."""
    for name in ["authors", "authors.losses"]:
        sys.modules.setdefault(name, types.ModuleType(name)).__path__ = []
    builder = sys.modules.setdefault("authors.builder", types.ModuleType("authors.builder"))
    builder.LOSSES = Registry()
    spec = importlib.util.spec_from_file_location(f"authors.losses.{path.parts[-5]}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def write(save, rank_sort_checkout, bucketed_checkout):
    losses = "mmdet/models/losses/ranking_losses.py"
    authors = load(rank_sort_checkout / losses)
    bucketed = load(bucketed_checkout / losses)
    generator = torch.Generator().manual_seed(13)
    random = lambda *shape: torch.rand(*shape, generator=generator, dtype=torch.float64)
    logits = 8 * random(ROWS, CLASSES) - 6
    labels = torch.randint(-2, CLASSES, (ROWS,), generator=generator).clamp(min=-1)
    ious = (0.05 + 0.95 * random(ROWS)).float().double()
    # Locations of equal IoU, and elements of equal logits.
    positive = (labels >= 0).nonzero().squeeze(1)
    ious[positive[1]] = ious[positive[0]]
    logits[positive[3], labels[positive[3]]] = logits[positive[2], labels[positive[2]]]
    logits = logits.float().double()
    tensors = {
        "logits": logits.numpy().astype(np.float32),
        "labels": labels.numpy().astype(np.int32),
        "ious": ious.numpy().astype(np.float32),
    }
    one_hot = torch.nn.functional.one_hot(labels + 1, CLASSES + 1)[:, 1:].double()
    qualities = (one_hot * ious[:, None]).reshape(-1)
    errors = 2 * (1 - ious[positive])

    def put(name, loss):
        argument = logits.reshape(-1).clone().requires_grad_(True)
        values, weights = loss(argument)
        sum(values).backward()
        tensors[f"{name}.value"] = np.array([value.item() for value in values], np.float32)
        tensors[f"{name}.gradient"] = argument.grad.reshape(ROWS, CLASSES).numpy().astype(np.float32)
        if weights is not None:
            tensors[f"{name}.box-weights"] = weights.numpy().astype(np.float32)

    def alrp(delta):
        def loss(argument):
            value, rank, order = authors.aLRPLoss.apply(argument, one_hot.reshape(-1), errors, delta)
            # As in their heads: box losses by descending score, summed up and divided by the rank.
            order = order.detach()
            box_losses = torch.ones_like(errors, requires_grad=True)
            sums = box_losses[order].flip(dims=[0]).cumsum(0) / rank[order].detach().flip(dims=[0])
            (weights,) = torch.autograd.grad(sums.sum(), box_losses)
            return [value], weights

        return loss

    # In double precision, and on the CPU.
    torch.set_default_dtype(torch.float64)
    originals = torch.Tensor.cuda, torch.Tensor.float
    torch.Tensor.cuda, torch.Tensor.float = lambda tensor: tensor, torch.Tensor.double
    for delta in [0.0, 0.5]:
        put(f"rank-sort.{delta}", lambda x: (authors.RankSort.apply(x, qualities, delta), None))
        put(f"bucketed-rank-sort.{delta}", lambda x: (bucketed.BucketedRankSort.apply(x, qualities, delta), None))
    for delta in [0.5, 1.0]:
        put(f"alrp.{delta}", alrp(delta))
    torch.Tensor.cuda, torch.Tensor.float = originals
    torch.set_default_dtype(torch.float32)
    save("ranking", tensors)
