"""Conv | ConvTranspose | Gemm -> Mul | Div | Add | Sub by a constant per channel ==> Conv | ConvTranspose | Gemm.

s (W x + b) + t = (s W) x + (s b + t), with s and t one value for each output channel, or one for all.
Source: ONNX broadcasting rules; the formula is that of `output_channels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.output_channels import Linear, rescale


@dataclass(frozen=True)
class FoldAffine:
    """Folds multiplication and addition by constants into the linear node before them."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not g.contains(model, "Conv", "ConvTranspose", "Gemm"):
            return found.result(model, model)  # before opset 7 broadcasting followed an attribute
        after = model.clone()
        for node in g.nodes(after):
            if not g.is_op(node, "Mul", "Div", "Add", "Sub"):
                continue
            operands = _operands(node)
            if operands is None:
                continue
            value, constant, reversed_ = operands
            name, op_type = g.label(node), node.op_type
            reason = _fold(after, node, value, constant, reversed_)
            if reason is None:
                found.changed(name, f"{op_type} by a constant folded into the node before it")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _operands(node: ir.Node) -> tuple[ir.Value, np.ndarray, bool] | None:
    """(computed input, constant input, whether the constant comes first), where a linear node makes the former."""
    for index in (0, 1):
        value, other = node.inputs[index], node.inputs[1 - index]
        constant = g.array(other)
        if value is None or constant is None:
            continue
        if g.is_op(value.producer(), "Conv", "ConvTranspose", "Gemm"):
            return value, constant, index == 1
    return None


def _fold(model: ir.Model, node: ir.Node, value: ir.Value, constant: np.ndarray, reversed_: bool) -> str | None:
    if node.op_type == "Div" and reversed_:
        return "it divides by the result"
    linear = Linear.before(node, value)
    if isinstance(linear, str):
        return linear
    factors = _per_channel(constant, linear)
    if factors is None:
        return f"the constant of shape {constant.shape} is not one value per output channel"
    ones, zeros = np.ones(linear.channels), np.zeros(linear.channels)
    match node.op_type:
        case "Mul":
            scale, shift = factors, zeros
        case "Div":
            if not factors.all():
                return "it divides by zero"
            scale, shift = ones / factors, zeros
        case "Add":
            scale, shift = ones, factors
        case _:
            scale, shift = (-ones, factors) if reversed_ else (ones, -factors)
    return rescale(model, linear, scale, shift) or g.bypass(node, linear.node.outputs[0])


def _per_channel(constant: np.ndarray, linear: Linear) -> np.ndarray | None:
    """The constant as float64 [channels], where it broadcasts along the channel axis (axis 1) alone."""
    rank = linear.weight.ndim
    if constant.ndim > rank:
        return None
    shape = (1,) * (rank - constant.ndim) + constant.shape
    if any(length != 1 for axis, length in enumerate(shape) if axis != 1) or shape[1] not in (1, linear.channels):
        return None
    return np.broadcast_to(constant.reshape(-1), (linear.channels,)).astype(np.float64)
