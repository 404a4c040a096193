"""MatMul, Gemm or Conv -> its kernel [M, C, *kernel] and how it slides, or the reason why it is left whole.

Source: ONNX operators MatMul, Gemm, Conv.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploycompress.factorization.factors import Kernel, Matrix
from deploycompress.passes import graph as g

_NARROWEST = 4  # below, no product of two is smaller than one


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that may be factorized.

    Attributes:
        node: A MatMul, a Gemm or a convolution of one group, the only reader of its weight.
        kernel: [M, C, *kernel]; of a product [M, C].
    """

    node: ir.Node
    kernel: Kernel

    @classmethod
    def of(cls, node: ir.Node) -> Layer | str | None:
        """The layer, the reason in words why it stays, or None where the node multiplies by no weight."""
        if not g.is_op(node, "MatMul", "Gemm", "Conv"):
            return None
        weight = g.input_at(node, 1)
        data = g.array(weight)
        if weight is None or data is None:
            return None if node.op_type == "MatMul" else g.why_not_constant("the weight", weight)
        problem = _problem(node, weight)
        if problem:
            return problem
        kernel = data.astype(np.float64)
        if node.op_type != "Conv" and not g.int_attribute(node, "transB", 0):
            kernel = kernel.T
        if min(kernel.shape[:2]) < _NARROWEST:
            return f"{kernel.shape[1]} to {kernel.shape[0]} channels are too few"
        return cls(node, kernel)

    @property
    def name(self) -> str:
        """Name of its output."""
        return g.label(self.node)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Lengths of the kernel; none for a product."""
        return self.kernel.shape[2:]

    @property
    def matrix(self) -> Matrix:
        """W [K, M], what the rows of `calibration.LayerInput` are multiplied by."""
        return self.kernel.reshape(len(self.kernel), -1).T

    @property
    def is_pointwise(self) -> bool:
        """Whether it has no kernel to speak of."""
        return math.prod(self.lengths) == 1

    @property
    def may_shift(self) -> bool:
        """Whether it has a bias, or room for one, that is a vector added as it is."""
        bias = g.input_at(self.node, 2)
        room = bias is None or (g.array(bias) is not None and len(bias.shape or ()) == 1)
        return self.node.op_type in ("Conv", "Gemm") and room


def _problem(node: ir.Node, weight: ir.Value) -> str:
    rank = len(weight.shape or ())
    if len(weight.uses()) > 1:
        return f"its weight {weight.name!r} is read {len(weight.uses())} times"
    if weight.dtype is None or not weight.dtype.is_floating_point():
        return f"its weight {weight.name!r} is not of floating point"
    if node.op_type == "Conv" and g.int_attribute(node, "group", 1) != 1:
        return "it convolves in groups"
    if node.op_type == "MatMul" and rank != 2:
        return f"its weight {weight.name!r} has {rank} axes"
    if node.op_type == "Gemm":
        if g.int_attribute(node, "transA", 0):
            return "it transposes its input"
        if (g.float_attribute(node, "alpha", 1), g.float_attribute(node, "beta", 1)) != (1, 1):
            return "it scales by alpha or beta"
    return ""
