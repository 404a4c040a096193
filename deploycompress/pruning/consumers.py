"""group -> the layers that read its units: each a product X W, in which a unit is some columns of X and rows of W.

The columns of X are those of `calibration.LayerInput`: of a MatMul or Gemm the features, of a convolution the channels
times the places of its kernel. Depthwise and grouped convolutions read no unit apart from writing it, and are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration import LayerInput
from deploycompress.passes import graph as g
from deploycompress.pruning.groups import Group
from deploycompress.pruning.labels import Array

Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Consumer:
    """A layer that reads units of a group.

    Attributes:
        node: A MatMul, a Gemm or a convolution of one group, the only reader of its weight.
        weight: Its weight, an initializer.
        rows: What it multiplies.
        units: The unit of each row of W, or -1.
    """

    node: ir.Node
    weight: ir.Value
    rows: LayerInput
    units: Array

    @property
    def matrix(self) -> Matrix:
        """W [features, outputs]."""
        return as_matrix(self.node, g.array(self.weight))


def as_matrix(node: ir.Node, weight: NDArray[np.generic] | None) -> Matrix:
    """The weight of a layer as [features, outputs]."""
    assert weight is not None
    data = weight.astype(np.float64)
    if node.op_type == "Conv":
        return data.reshape(len(data), -1).T
    return data.T if feature_axis(node) else data


def as_weight(node: ir.Node, matrix: Matrix, like: NDArray[np.generic]) -> NDArray[np.generic]:
    """`matrix` [features, outputs] in the shape and element type of the weight it replaces."""
    data = matrix.T if node.op_type == "Conv" or feature_axis(node) else matrix
    return np.ascontiguousarray(data.reshape(like.shape).astype(like.dtype))


def feature_axis(node: ir.Node) -> int | None:
    """Axis of the weight whose indices are features of the input; None where the node is no such layer."""
    weight = g.input_at(node, 1)
    if weight is None or not weight.is_initializer() or g.constant(weight) is None or len(weight.uses()) != 1:
        return None
    rank = len(weight.shape or ())
    if g.is_op(node, "Conv") and g.int_attribute(node, "group", 1) == 1:
        return 1
    if g.is_op(node, "MatMul") and rank == 2:
        return 0
    if g.is_op(node, "Gemm") and not g.int_attribute(node, "transA", 0):
        return g.int_attribute(node, "transB", 0)
    return None


def consumers(group: Group) -> tuple[Consumer, ...]:
    """The layers that read the units of `group`."""
    found = []
    for member in group.members:
        for node, index in member.weight.uses():
            if index != 1 or feature_axis(node) != member.axis:
                continue
            rows = LayerInput.of(node)
            if rows is not None:
                places = rows.features // len(member.units)
                found.append(Consumer(node, member.weight, rows, np.repeat(member.units, places)))
    return tuple(found)
