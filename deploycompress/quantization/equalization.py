"""Conv -> Relu -> Conv, channel ranges uneven -> the same function with channel ranges even.

    W2 f(W1 x + b1)  ==  (W2 S) f(S^-1 W1 x + S^-1 b1),   S = diag(s), s > 0, f(x / s) = f(x) / s
    s_c = sqrt(r1_c / r2_c),   r1_c = max |W1[c]|, r2_c = max |W2[:, c]|

Relu, LeakyRelu and pools scale with their input, so the rewrite is exact up to float rounding. A Clip with an upper
bound is refused: its bound is one number for all channels. (To move those channels that did not reach the bound during
calibration changed the outputs of two MobileNets by 15 and 29 % on other pictures: docs/results.md.)

It serves targets with one weight scale a tensor. With a scale for each channel W1 has nothing to gain.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721,
section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.quantization.candidates import constant, key
from deploycompress.quantization.plan import clamp_bounds

_BETWEEN = ("Relu", "LeakyRelu", "Clip", "MaxPool", "AveragePool", "GlobalAveragePool")
_LARGEST = 1e3  # and 1 / that: beyond, a channel is dead rather than uneven
_SWEEPS = 20  # pairs share layers; three or four sweeps settle a MobileNet
_SETTLED = 1e-3


@dataclass(frozen=True)
class Equalized:
    """What `equalize` did.

    Attributes:
        model: A copy with the new weights.
        scales: What each channel was divided by [channels], by the output of the convolution in front.
        refusals: (output of a convolution, why its channels stay) for those that a convolution reads.
    """

    model: ir.Model
    scales: Mapping[str, NDArray[np.float64]]
    refusals: tuple[tuple[str, str], ...]


def equalize(model: ir.Model) -> Equalized:
    """A copy of `model`, BatchNormalization folded, in which neighbouring convolutions have weights of like range."""
    copy = model.clone()
    pairs: list[_Pair] = []
    refusals: list[tuple[str, str]] = []
    for node in copy.graph:
        behind = _behind(node)
        if behind is not None:
            refusal = _why_not(node, behind)
            if refusal:
                refusals.append((key(node), refusal))
            else:
                pairs.append(_Pair(node, behind))
    nodes = list(dict.fromkeys(node for pair in pairs for node in (pair.front, pair.behind)))
    weights = {node: _array(node.inputs[1]) for node in nodes}
    scales = {key(pair.front): np.ones(len(weights[pair.front])) for pair in pairs}
    for _ in range(_SWEEPS):
        moved = 0.0
        for pair in pairs:
            total = scales[key(pair.front)]
            step = pair.step(weights, total)
            total *= step
            weights[pair.front] = _per_output(weights[pair.front], 1 / step)
            weights[pair.behind] = _per_input(weights[pair.behind], step, pair.behind)
            moved = max(moved, float(np.abs(np.log(step)).max()))
        if moved < _SETTLED:
            break
    for pair in pairs:
        if len(pair.front.inputs) > 2 and pair.front.inputs[2] is not None:
            _store(pair.front.inputs[2], _array(pair.front.inputs[2]) / scales[key(pair.front)])
    for node in nodes:
        _store(node.inputs[1], weights[node])
    return Equalized(copy, scales, tuple(refusals))


@dataclass(frozen=True)
class _Pair:
    """A convolution that makes channels, and the only one that reads them."""

    front: ir.Node
    behind: ir.Node

    def step(self, weights: Mapping[ir.Node, NDArray[np.float64]], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """By what to divide each channel now [C]; `total` was divided out before."""
        front = np.abs(weights[self.front]).reshape(len(total), -1).max(axis=1, initial=0.0)
        behind = np.abs(_by_input(weights[self.behind], len(total), self.behind)).max(axis=(1, 3), initial=0.0).ravel()
        alive = (front > 0) & (behind > 0)
        step = np.ones(len(total))
        step[alive] = np.sqrt(front[alive] / behind[alive])
        return np.asarray(np.clip(total * step, 1 / _LARGEST, _LARGEST) / total)


def _behind(node: ir.Node) -> ir.Node | None:
    """The convolution that reads the output of the convolution `node` through clamps and pools, or None."""
    if not _is_conv(node):
        return None
    value = node.outputs[0]
    while True:
        readers = (after for after in value.consumers() if after.inputs[0] is value)
        after = next((each for each in readers if _is_conv(each) or each.op_type in _BETWEEN), None)
        if after is None or _is_conv(after):
            return after
        value = after.outputs[0]


def _why_not(front: ir.Node, behind: ir.Node) -> str:
    """Why the channels between two convolutions cannot be scaled, or ""."""
    node = front
    while node is not behind:
        value = node.outputs[0]
        if len(value.uses()) != 1 or value.is_graph_output():
            return f"{value.name!r} has several readers"
        if node.op_type == "Clip" and (refusal := _why_clip_not(node)):
            return refusal
        (node,) = value.consumers()
        if node.graph is not front.graph:
            return f"{value.name!r} is read inside a control-flow body"
    for held in (*front.inputs[1:], behind.inputs[1]):
        if held is not None and (constant(held) is None or held.is_graph_output()):
            return f"weight or bias {held.name!r} is not constant"
        if held is not None and len(held.uses()) != 1:
            return f"weight or bias {held.name!r} is shared"
    return ""


def _why_clip_not(clip: ir.Node) -> str:
    if any(bound is not None and constant(bound) is None for bound in clip.inputs[1:]):
        return "the bounds of the Clip behind it are computed at run time"
    low, high = clamp_bounds(clip)
    if low not in (0.0, -math.inf) or high not in (0.0, math.inf):
        return f"the Clip behind it has the bounds {low:g} and {high:g}, which do not scale with the channel"
    return ""


def _is_conv(node: ir.Node) -> bool:
    return node.op_type == "Conv" and node.domain in ("", "ai.onnx") and len(node.inputs) > 1


def _by_input(weight: NDArray[np.float64], channels: int, node: ir.Node) -> NDArray[np.float64]:
    """A weight [O, I / groups, ...] as [groups, O / groups, I / groups, positions]."""
    groups = node.attributes.get_int("group", 1)
    return weight.reshape(groups, len(weight) // groups, channels // groups, -1)


def _per_output(weight: NDArray[np.float64], factors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weight * factors.reshape(-1, *[1] * (weight.ndim - 1)))


def _per_input(weight: NDArray[np.float64], factors: NDArray[np.float64], node: ir.Node) -> NDArray[np.float64]:
    apart = _by_input(weight, len(factors), node)
    return np.asarray(apart * factors.reshape(len(apart), 1, -1, 1)).reshape(weight.shape)


def _array(value: ir.Value | None) -> NDArray[np.float64]:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _store(value: ir.Value | None, array: NDArray[np.float64]) -> None:
    assert value is not None
    assert value.const_value is not None
    value.const_value = ir.tensor(array.astype(value.const_value.dtype.numpy()), name=value.name)
