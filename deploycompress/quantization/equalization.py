"""Conv -> Relu -> Conv, channel ranges uneven -> the same function with channel ranges even.

    W2 f(W1 x + b1)  ==  (W2 S) f(S^-1 W1 x + S^-1 b1),   S = diag(s), s > 0, f(x / s) = f(x) / s
    s_c = sqrt(r1_c / r2_c),  r1_c: range of channel c in front, r2_c = max |W2[:, c]|

Relu, LeakyRelu and pools scale with their input, so the rewrite is exact up to float rounding. A Clip does not: its
upper bound is one number for all channels. A channel that reached the bound on the calibration samples keeps s = 1; any
other may move as long as 1.25 times the largest value seen stays below the bound. The new graph then differs from the
old one only where an activation goes beyond the bound, or beyond 1.25 times all that calibration saw of its channel:
static int8, which clips every tensor near the largest value seen, assumes more than that.

Ranges in front are those of W1 (`weights`: for one weight scale a tensor) or of the activations (`activations`: for one
activation scale a tensor, with which weight scales a channel have nothing to do).

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", arXiv:1906.04721,
section 4.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.quantization.candidates import constant, key
from deploycompress.quantization.plan import clamp_bounds

Balance = Literal["weights", "activations"]

_HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool")
_HEADROOM = 1.25
_LARGEST = 1e3  # and 1 / that: beyond, a channel is dead rather than uneven
_SWEEPS = 20  # pairs share layers; three or four sweeps settle a MobileNet
_SETTLED = 1e-3


@dataclass(frozen=True)
class Equalized:
    """What `equalize` did.

    Attributes:
        model: A copy with the new weights.
        scales: Factor of each channel by the output of the convolution in front; what it gives was divided by them.
        refusals: (output of a convolution, why its channels stay) for those that a convolution reads.
    """

    model: ir.Model
    scales: Mapping[str, NDArray[np.float64]]
    refusals: tuple[tuple[str, str], ...]


def equalize(model: ir.Model, statistics: Mapping[str, TensorStatistics], *, balance: Balance = "weights") -> Equalized:
    """A copy of `model` in which neighbouring convolutions have channels of like range.

    Args:
        model: The float graph, BatchNormalization folded.
        statistics: With channel magnitudes of the inputs of convolutions; without, pairs around a Clip are refused
            (and with `activations` all of them).
        balance: What is made even against the weights behind.
    """
    copy = model.clone()
    pairs: list[_Pair] = []
    refusals: list[tuple[str, str]] = []
    for node in copy.graph:
        if node.op_type == "Conv" and node.domain in ("", "ai.onnx"):
            found = _pair(node, statistics, balance)
            if isinstance(found, _Pair):
                pairs.append(found)
            elif found:
                refusals.append((key(node), found))
    weights = {id(node): _array(node.inputs[1]) for pair in pairs for node in (pair.front, pair.behind)}
    scales = {key(pair.front): np.ones(len(weights[id(pair.front)])) for pair in pairs}
    for _ in range(_SWEEPS):
        moved = 0.0
        for pair in pairs:
            total = scales[key(pair.front)]
            step = pair.step(weights, total, balance)
            moved = max(moved, float(np.abs(np.log(step)).max()))
            total *= step
            _divide_outputs(weights, pair.front, step)
            _multiply_inputs(weights, pair.behind, step)
        if moved < _SETTLED:
            break
    for pair in pairs:
        bias = pair.front.inputs[2] if len(pair.front.inputs) > 2 else None
        if bias is not None:
            _store(bias, _array(bias) / scales[key(pair.front)])
    for node in {id(node): node for pair in pairs for node in (pair.front, pair.behind)}.values():
        _store(node.inputs[1], weights[id(node)])
    return Equalized(copy, scales, tuple(refusals))


@dataclass(frozen=True)
class _Pair:
    """Two convolutions with nothing but homogeneous nodes, and at most a Clip, between them.

    Attributes:
        front: The convolution that makes the channels.
        behind: The only one that reads them.
        magnitudes: Largest magnitude of each channel behind the nodes between [C], where it is known.
        bound: Upper bound of the Clip between them; infinity where there is none.
    """

    front: ir.Node
    behind: ir.Node
    magnitudes: NDArray[np.float64] | None
    bound: float

    def step(
        self, weights: Mapping[int, NDArray[np.float64]], total: NDArray[np.float64], balance: Balance
    ) -> NDArray[np.float64]:
        """By what each channel is divided now [C], `total` having been divided out before."""
        front = np.abs(weights[id(self.front)]).reshape(len(total), -1).max(axis=1, initial=0.0)
        if balance == "activations":
            assert self.magnitudes is not None
            front = self.magnitudes / total
        behind = _input_magnitudes(self.behind, weights[id(self.behind)], len(total))
        alive = (front > 0) & (behind > 0)
        step = np.ones(len(total))
        step[alive] = np.sqrt(front[alive] / behind[alive])
        if not np.isfinite(self.bound):
            return np.asarray(np.clip(total * step, 1 / _LARGEST, _LARGEST) / total)
        assert self.magnitudes is not None
        free = alive & (self.magnitudes < self.bound)
        # Channels that cannot move stay where they are, and the others meet them: only ratios matter.
        step /= np.exp(np.log(step[alive]).mean()) if alive.any() else 1.0
        wanted = np.maximum(total * step, self.magnitudes * _HEADROOM / self.bound)
        return np.asarray(np.where(free, np.clip(wanted, 1 / _LARGEST, _LARGEST), total) / total)


def _pair(node: ir.Node, statistics: Mapping[str, TensorStatistics], balance: Balance) -> _Pair | str:
    """The pair that `node` begins, why there is none, or "" where no convolution reads it."""
    value, bound = node.outputs[0], float("inf")
    while True:
        consumers = tuple(value.consumers())
        if len(consumers) != 1 or len(value.uses()) != 1 or value.is_graph_output():
            readers = [consumer for consumer in consumers if consumer.op_type == "Conv"]
            return "its output has several readers" if readers else ""
        (after,) = consumers
        if after.op_type == "Conv":
            break
        if after.graph is not node.graph or after.inputs[0] is not value or len(after.outputs) != 1:
            return ""
        if after.op_type == "Clip":
            if any(bounding is not None and constant(bounding) is None for bounding in after.inputs[1:]):
                return "the bounds of the Clip behind it are computed at run time"
            low, high = clamp_bounds(after)
            if low not in (0.0, -float("inf")) or high <= 0.0:
                return f"the Clip behind it has the lower bound {low:g}, which does not scale with the channel"
            bound = min(bound, high)
        elif after.op_type not in _HOMOGENEOUS:
            return ""
        value = after.outputs[0]
    if after.inputs[0] is not value:
        return "its output is the weight of another convolution"
    for held in (node.inputs[1], after.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None):
        if held is not None and (constant(held) is None or held.is_graph_output()):
            return f"weight or bias {held.name!r} is not constant"
        if held is not None and len(held.uses()) != 1:
            return f"weight or bias {held.name!r} is shared"
    seen = statistics[str(value.name)].channel_absmax if str(value.name) in statistics else None
    if seen is None and (balance == "activations" or np.isfinite(bound)):
        return f"the magnitudes of the channels of {value.name!r} are not known"
    return _Pair(node, after, seen, bound)


def _input_magnitudes(node: ir.Node, weight: NDArray[np.float64], channels: int) -> NDArray[np.float64]:
    """Largest magnitude of the weights that read each input channel [C]."""
    groups = node.attributes.get_int("group", 1)
    by_group = np.abs(weight).reshape(groups, len(weight) // groups, channels // groups, -1)
    found: NDArray[np.float64] = by_group.max(axis=(1, 3), initial=0.0).reshape(channels)
    return found


def _divide_outputs(weights: dict[int, NDArray[np.float64]], node: ir.Node, step: NDArray[np.float64]) -> None:
    weight = weights[id(node)]
    weights[id(node)] = weight / step.reshape(-1, *[1] * (weight.ndim - 1))


def _multiply_inputs(weights: dict[int, NDArray[np.float64]], node: ir.Node, step: NDArray[np.float64]) -> None:
    weight, groups = weights[id(node)], node.attributes.get_int("group", 1)
    by_group = weight.reshape(groups, len(weight) // groups, len(step) // groups, -1)
    weights[id(node)] = (by_group * step.reshape(groups, 1, -1, 1)).reshape(weight.shape)


def _array(value: ir.Value | None) -> NDArray[np.float64]:
    assert value is not None
    assert value.const_value is not None
    return value.const_value.numpy().astype(np.float64)


def _store(value: ir.Value | None, array: NDArray[np.float64]) -> None:
    assert value is not None
    value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
