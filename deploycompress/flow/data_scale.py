"""graph + what the samples give in it -> by what factor the inputs are larger or smaller than the model expects.

A trained layer `y = W x + b` adds a bias of about the size of `W x`, and BatchNormalization brings `W x` to a deviation
of |gamma|. Where the data first meets such a constant, on a path that keeps its scale (convolutions, products with
constants, Relu, pooling and whatever moves values), the ratio

    r = rms over channels of std(y_c)  /  rms over channels of |b_c| (or |gamma_c|)

is about one for the inputs the model was trained on, and about k for inputs k times as large: no training range has to
be known. A constant that is subtracted from the input (normalization inside the model) is such a place too.

Source: measured on every model of the shared set, `bench/doctor.py` (table in docs/calibration.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g

_HOMOGENEOUS = frozenset(
    {
        "Abs",
        "Add",
        "AveragePool",
        "Cast",
        "Concat",
        "Conv",
        "ConvTranspose",
        "DepthToSpace",
        "Div",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "Gemm",
        "GlobalAveragePool",
        "Identity",
        "LeakyRelu",
        "MatMul",
        "MaxPool",
        "Mul",
        "Neg",
        "PRelu",
        "Pad",
        "ReduceMax",
        "ReduceMean",
        "Relu",
        "Reshape",
        "Resize",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Sub",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    }
)
_SMALLEST_CONSTANT = 1e-4  # an epsilon against division by zero says nothing about the data
_MOST_MEETINGS = 8


@dataclass(frozen=True)
class Meeting:
    """A place where an input first meets a constant of the model on a path that keeps its scale.

    Attributes:
        source: The graph input.
        tensor: The value in which both are added up.
        axis: The axis of its channels; None where all of it is one channel.
        expected: Root mean square of the constant, in the units of the tensor.
    """

    source: str
    tensor: str
    axis: int | None
    expected: float


def meetings(model: ir.Model) -> tuple[Meeting, ...]:
    """The first meetings of every input of the main graph, at most eight an input."""
    return tuple(found for value in model.graph.inputs for found in _of(value))


def _of(source: ir.Value) -> list[Meeting]:
    found: list[Meeting] = []
    ahead, seen = [source], {source}
    while ahead and len(found) < _MOST_MEETINGS:
        value = ahead.pop(0)
        for node in dict.fromkeys(value.consumers()):
            output = node.outputs[0]
            if node.graph is not source.graph or output in seen:
                continue
            seen.add(output)
            constant = _constant_met(node, value)
            if constant is not None and output.name:
                values, axis = constant
                found.append(Meeting(str(source.name), output.name, axis, float(np.sqrt(np.mean(values**2)))))
            elif g.is_op(node, *_HOMOGENEOUS) and node.inputs[0] is not None and _keeps_scale(node, value):
                ahead += [each for each in node.outputs if each is not output]
                ahead.append(output)
    return found


def _keeps_scale(node: ir.Node, value: ir.Value) -> bool:
    """Whether the output grows with `value` in proportion: a product does where the other factor is constant."""
    if g.is_op(node, "Mul", "Div", "MatMul", "Conv", "ConvTranspose", "Gemm"):
        others = [each for each in node.inputs[:2] if each is not value]
        return (
            len(others) == 1
            and g.constant(others[0]) is not None
            and not (g.is_op(node, "Div") and node.inputs[0] is not value)
        )
    return node.inputs[0] is value or g.is_op(node, "Concat", "Add", "Sub")


def _constant_met(node: ir.Node, value: ir.Value) -> tuple[NDArray[np.float64], int | None] | None:
    """The constant that `node` adds to what comes from `value` (gamma of a BatchNormalization), and its axis."""
    if g.is_op(node, "BatchNormalization"):
        return _sizable(g.input_at(node, 1), 1)
    if g.is_op(node, "Conv", "ConvTranspose") and node.inputs[0] is value:
        return _sizable(g.input_at(node, 2), 1)
    if g.is_op(node, "Gemm") and node.inputs[0] is value:
        return _sizable(g.input_at(node, 2), -1)
    if g.is_op(node, "Add", "Sub"):
        other = next((each for each in node.inputs if each is not value), None)
        array = g.array(other)
        if array is None:
            return None
        wide = [axis - array.ndim for axis, length in enumerate(array.shape) if length > 1]
        return _sizable(other, wide[0] if len(wide) == 1 else None)
    return None


def _sizable(value: ir.Value | None, axis: int | None) -> tuple[NDArray[np.float64], int | None] | None:
    array = g.array(value)
    if array is None or array.size == 0 or array.dtype.kind != "f":
        return None
    values = np.asarray(array, np.float64)
    return (values, axis) if np.abs(values).max() >= _SMALLEST_CONSTANT else None


@dataclass
class Moments:
    """Count, sum and sum of squares of the channels of one tensor, over samples; state does not grow with them."""

    axis: int | None
    count: int = 0
    sums: NDArray[np.float64] | None = None
    squares: NDArray[np.float64] | None = None

    def add(self, values: NDArray[np.floating]) -> None:
        """Takes in one more array; one whose channels differ in number from the first is left out."""
        whole = self.axis is None or values.ndim < (abs(self.axis) if self.axis < 0 else self.axis + 1)
        rows = values.reshape(-1, 1) if whole else np.moveaxis(values, self.axis or 0, -1)
        rows = rows.reshape(-1, rows.shape[-1]).astype(np.float64)
        sums, squares = rows.sum(axis=0), (rows**2).sum(axis=0)
        if self.sums is None or self.squares is None:
            self.count, self.sums, self.squares = len(rows), sums, squares
        elif self.sums.shape == sums.shape:
            self.count, self.sums, self.squares = self.count + len(rows), self.sums + sums, self.squares + squares

    @property
    def deviation(self) -> float:
        """Root mean square over channels of the standard deviation within a channel."""
        if self.sums is None or self.squares is None or self.count == 0:
            return 0.0
        variance = self.squares / self.count - (self.sums / self.count) ** 2
        return math.sqrt(max(float(variance.mean()), 0.0))


def factors(found: Sequence[Meeting], moments: Mapping[str, Moments]) -> Iterator[tuple[str, float, Meeting]]:
    """Yields (input, its median ratio r, the meeting with that ratio) for every input that was judged."""
    for source in dict.fromkeys(meeting.source for meeting in found):
        ratios = sorted(
            (moments[each.tensor].deviation / each.expected, each.tensor, each)
            for each in found
            if each.source == source
        )
        ratio, _, meeting = ratios[len(ratios) // 2]
        yield source, ratio, meeting
