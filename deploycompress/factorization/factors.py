"""kernel [M, C, *kernel] = the composition of several: what each multiplies, where it slides, what it costs.

A product Y = X W is a kernel [M, C] without spatial axes. Every factor slides along some of the axes of the layer, each
axis along one factor alone, which then takes its stride, pads and dilation; along the others it is of length 1. The
composition of two is

    T[o, c, a, b] = sum over f of second[o, f, b] first[f, c, a]

Source: convolutions along different axes commute and compose to their outer product; ONNX operator Conv.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
Kernel = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factor:
    """One of the layers that a layer becomes.

    Attributes:
        weight: [outputs, inputs of a group, *kernel], 1 along the axes that it does not slide along.
        slides: Spatial axes of the layer that it slides along, counted from 0.
        groups: Groups of channels; as many as there are inputs where it is depthwise.
    """

    weight: Kernel
    slides: tuple[int, ...] = ()
    groups: int = 1


Factors = tuple[Factor, ...]


def dense(factor: Factor) -> Kernel:
    """The weight [outputs, inputs, *kernel] with the zeros between its groups."""
    weight, groups = factor.weight, factor.groups
    outputs, inputs = weight.shape[0] // groups, weight.shape[1]
    whole = np.zeros((weight.shape[0], inputs * groups, *weight.shape[2:]))
    for group in range(groups):
        rows, columns = slice(group * outputs, (group + 1) * outputs), slice(group * inputs, (group + 1) * inputs)
        whole[rows, columns] = weight[rows]
    return whole


def composed(factors: Sequence[Factor]) -> Kernel:
    """The kernel [M, C, *kernel] that they make together."""
    whole = dense(factors[0])
    for factor in factors[1:]:
        whole = np.einsum("of...,fc...->oc...", dense(factor), whole, optimize=True)
    return whole


def features(factors: Sequence[Factor], kernel: Sequence[int]) -> Matrix:
    """F [K, K'] such that the last factor computes (X F) V on the rows X [rows, K] that the layer itself multiplies.

    Args:
        factors: Two or more; the last one in one group.
        kernel: Lengths of the kernel of the layer.
    """
    made = composed(factors[:-1])
    own = factors[-1].weight.shape[2:]
    places = np.eye(math.prod(own)).reshape(-1, 1, *own)
    rows = made[:, None] * places[None]  # [outputs, places, C, *kernel]
    return np.broadcast_to(rows, (*rows.shape[:3], *kernel)).reshape(-1, made.shape[1] * math.prod(kernel)).T


def with_last(factors: Factors, weight: Matrix) -> Factors:
    """The factors with V [K', M] as the weight of the last one."""
    last = factors[-1]
    return (*factors[:-1], Factor(weight.T.reshape(last.weight.shape), last.slides, last.groups))


def parameters(factors: Sequence[Factor]) -> int:
    """Elements of all weights."""
    return sum(factor.weight.size for factor in factors)


def macs(factors: Sequence[Factor], inputs: Sequence[int], outputs: Sequence[int]) -> int:
    """Multiply-accumulates of one image, or of one row of a product.

    Args:
        factors: What the layer became.
        inputs: Length of every spatial axis in front of the layer.
        outputs: Length behind it.
    """
    lengths, total = list(inputs), 0
    for factor in factors:
        for axis in factor.slides:
            lengths[axis] = outputs[axis]
        total += factor.weight.size * math.prod(lengths)
    return total
