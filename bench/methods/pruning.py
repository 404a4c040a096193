"""Single weights pruned (MP-1, LW-1): digits, 64-300-100-10, all layers, masks while retraining."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, mlp, trained
from deploycompress.training.arrays import Arrays
from deploycompress.training.pruning.masked import Masked, Scope, Score
from deploycompress.training.pruning.masks import sparsity_of, uniform
from deploycompress.training.pruning.scores import magnitude
from deploycompress.training.pruning.targets import prunable

WIDTHS = (64, 300, 100, 10)


def dense(seed: int, data: Arrays) -> nn.Module:
    """The network before pruning, 30 epochs."""
    return trained(mlp(seed, *WIDTHS), data, lr=1e-3, epochs=30, batch_size=64, seed=seed)


def retrained(
    net: nn.Module, data: Arrays, sparsity: float, epochs: int, seed: int, score: Score, scope: Scope
) -> tuple[nn.Module, Masked]:
    """A copy masked at once and trained for `epochs`."""
    twin = copy.deepcopy(net)
    objective = Masked(twin, final=sparsity, score=score, scope=scope, end=0.0, edges=True)
    return trained(twin, data, objective, lr=1e-3, epochs=epochs, batch_size=64, seed=seed), objective


def mp_1(seed: int) -> Figures:
    """90 % of every layer, with and without retraining."""
    data, test = digits(seed)
    net = dense(seed, data)
    cut = copy.deepcopy(net)
    weights = prunable(cut, edges=True)
    with torch.no_grad():
        for name, mask in uniform({name: magnitude(weight) for name, weight in weights.items()}, 0.9).items():
            weights[name].mul_(mask)
    after, objective = retrained(net, data, 0.9, 30, seed, "magnitude", "layer")
    counts = [int((weight != 0).sum()) for weight in prunable(after, edges=True).values()]
    return {
        "dense": accuracy(net, test),
        "90 %, not retrained": accuracy(cut, test),
        "90 %, retrained": accuracy(after, test),
        "counts off": float(sum(abs(found - round(0.1 * size)) for found, size in zip(counts, SIZES, strict=True))),
        "sparsity": 100 * sparsity_of(objective.masks()),
    }


SIZES = tuple(inputs * outputs for inputs, outputs in pairwise(WIDTHS))


def lw_1(seed: int) -> Figures:
    """95 % of all weights: the same share of every layer, one threshold on magnitudes, one on LAMP scores."""
    data, test = digits(seed)
    net = dense(seed, data)
    figures = {"dense": accuracy(net, test)}
    ways: dict[str, tuple[Score, Scope]] = {
        "uniform": ("magnitude", "layer"),
        "global": ("magnitude", "global"),
        "LAMP": ("lamp", "global"),
    }
    for name, (score, scope) in ways.items():
        after, objective = retrained(net, data, 0.95, 15, seed, score, scope)
        figures[name] = accuracy(after, test)
    figures["least left of a layer, LAMP"] = float(min(int(mask.sum()) for mask in objective.masks().values()))
    return figures


CHECKS = (
    Check(
        "MP-1",
        fresh(5),
        mp_1,
        lambda mean: (
            mean["90 %, retrained"] >= mean["dense"] - 1
            and mean["90 %, not retrained"] <= mean["90 %, retrained"] - 20
            and mean["counts off"] == 0
        ),
        "90 % of every layer: retrained at most 1.0 below dense and 20 above not retrained; counts exact",
        fast=True,
    ),
    Check(
        "LW-1",
        fresh(5),
        lw_1,
        lambda mean: (
            mean["LAMP"] >= mean["uniform"] + 2
            and mean["LAMP"] >= mean["global"] + 1
            and mean["least left of a layer, LAMP"] >= 1
        ),
        "95 % of all weights: LAMP 2.0 above uniform and 1.0 above one threshold; no layer empty",
    ),
)
