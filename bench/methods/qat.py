"""Few-bit weights trained (QAT-1, TER-1, BIN-1), against rounding the same network afterwards; digits, 64-128-64-10.

The float network is the teacher, as is the default of the method. The first and the last layer take the same few bits
as the others: it is the harder case, and three layers leave no middle worth the name.
"""

from __future__ import annotations

import copy

from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, digits, mlp, trained
from deploycompress.quantization.spec import Levels
from deploycompress.training.arrays import Arrays
from deploycompress.training.frozen import Frozen
from deploycompress.training.offline import Offline
from deploycompress.training.quantizing.prepare import prepare
from deploycompress.training.quantizing.spec import FakeQuant

WIDTHS = (64, 128, 64, 10)


def floating(seed: int, data: Arrays) -> nn.Module:
    """The float network, 60 epochs of labels."""
    return trained(mlp(seed, *WIDTHS), data, lr=1e-3, epochs=60, batch_size=64, seed=seed)


def rounded(net: nn.Module, data: Arrays, asked: FakeQuant) -> nn.Module:
    """A copy of the network on the grids that training would start from."""
    twin = copy.deepcopy(net)
    prepare(twin, asked, (), data.inputs)
    return twin


def tuned(net: nn.Module, data: Arrays, asked: FakeQuant, seed: int) -> nn.Module:
    """A copy trained on its grids for 30 epochs, under the float network."""
    objective = Offline(Frozen(copy.deepcopy(net)), temperature=4.0, alpha=0.9)
    return trained(
        rounded(net, data, asked), data, objective, lr=2e-3, schedule="cosine", epochs=30, batch_size=64, seed=seed
    )


def qat_1(seed: int) -> Figures:
    """Weights of 2 bits with one step a layer, the same with one a channel, and with activations of 2 bits as well."""
    data, test = digits(seed)
    net = floating(seed, data)
    coarse = FakeQuant(2, edge_bits=None, per_channel=False)
    fine, both = FakeQuant(2, edge_bits=None), FakeQuant(2, activation_bits=2, edge_bits=None)
    return {
        "fp32": accuracy(net, test),
        "W2 PTQ": accuracy(rounded(net, data, coarse), test),
        "W2 QAT": accuracy(tuned(net, data, coarse, seed), test),
        "W2 PTQ per channel": accuracy(rounded(net, data, fine), test),
        "W2 QAT per channel": accuracy(tuned(net, data, fine, seed), test),
        "W2A2 QAT": accuracy(tuned(net, data, both, seed), test),
    }


def few_levels(levels: Levels, seed: int) -> Figures:
    """Ternary or binary weights, rounded and trained."""
    data, test = digits(seed)
    net, asked = floating(seed, data), FakeQuant(2, levels, edge_bits=None)
    return {
        "fp32": accuracy(net, test),
        "PTQ": accuracy(rounded(net, data, asked), test),
        "QAT": accuracy(tuned(net, data, asked, seed), test),
    }


def ter_1(seed: int) -> Figures:
    """{-a, 0, a}."""
    return few_levels("ternary", seed)


def bin_1(seed: int) -> Figures:
    """{-a, a}."""
    return few_levels("binary", seed)


CHECKS = (
    Check(
        "QAT-1",
        fresh(5),
        qat_1,
        lambda mean: (
            mean["W2 QAT"] >= mean["W2 PTQ"] + 5
            and mean["W2 QAT"] >= mean["fp32"] - 1
            and mean["W2A2 QAT"] >= mean["fp32"] - 3
        ),
        "2-bit weights trained: 5 points above rounded, at most 1 below fp32; with 2-bit activations at most 3 below",
    ),
    Check(
        "TER-1",
        fresh(5),
        ter_1,
        lambda mean: mean["QAT"] >= mean["fp32"] - 1 and mean["QAT"] >= mean["PTQ"] + 3,
        "ternary weights trained: at most 1 point below fp32, 3 above rounded",
        fast=True,
    ),
    Check(
        "BIN-1",
        fresh(5),
        bin_1,
        lambda mean: mean["QAT"] >= mean["fp32"] - 2 and mean["PTQ"] <= mean["QAT"] - 8,
        "binary weights trained: at most 2 points below fp32, 8 above rounded",
    ),
)
