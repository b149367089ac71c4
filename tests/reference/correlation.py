"""Correlation losses and their gradients, by the code of the authors of Correlation Loss."""

import ast
import types
from unittest import mock

import numpy as np
import torch

COUNTS = [2, 7, 60]


def functions(checkout):
    """The methods of their head that compute a loss from scores and IoUs, which need nothing else of it."""
    import torchsort

    path = checkout / "mmdet/models/dense_heads/corr_atss_head.py"
    names = {"concordancer", "pearsonr", "spearmanr"}
    tree = ast.parse(path.read_text())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    module = types.ModuleType("correlation_loss")
    module.torch, module.torchsort = torch, torchsort
    exec(compile(ast.Module(found, []), str(path), "exec"), module.__dict__)
    return module


def population(function):
    """Calls `function` with moments that are divided by n instead of n - 1."""

    def call(*arguments):
        var, std = torch.var, torch.std
        with mock.patch.object(torch, "var", lambda x: var(x, correction=0)):
            with mock.patch.object(torch, "std", lambda x: std(x, correction=0)):
                return function(*arguments)

    return call


def write(save, checkout):
    module = functions(checkout)
    generator = torch.Generator().manual_seed(11)
    random = lambda count: torch.rand(count, generator=generator, dtype=torch.float64)
    tensors = {}
    for count in COUNTS:
        ious = random(count).float().double()
        scores = (0.6 * ious + 0.3 * random(count)).float().double()
        put = lambda name, values: tensors.update({f"{count}.{name}": values.detach().numpy().astype(np.float32)})
        put("scores", scores)
        put("ious", ious)
        losses = {
            "concordance": lambda x: population(module.concordancer)(None, x, ious),
            "sample-concordance": lambda x: module.concordancer(None, x, ious),
            "pearson": lambda x: module.pearsonr(None, x, ious),
            "spearman-1": lambda x: module.spearmanr(None, x, ious),
            "spearman-0.02": lambda x: module.spearmanr(None, x, ious, 0.02),
        }
        for name, loss in losses.items():
            argument = scores.clone().requires_grad_(True)
            value = loss(argument)
            value.backward()
            put(f"{name}.value", value.reshape(1))
            put(f"{name}.gradient", argument.grad)
    save("correlation", tensors)
