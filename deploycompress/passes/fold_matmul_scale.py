"""MatMul(x, W) [+ b] -> Mul | Div by a constant per column ==> MatMul(x, s W) [+ s b].

The layer scale of ConvNeXt and CaiT, the 1 / sqrt(d) of an attention written behind its projection. What Conv, Gemm and
ConvTranspose take in is the work of `fold_affine`; a MatMul has no bias of its own, so its Add is scaled with it.
Source: ONNX operator MatMul (numpy.matmul): the last axis of the result is the last axis of W.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.products import read_once


@dataclass(frozen=True)
class FoldMatMulScale:
    """Folds multiplication and division by constants into the weight of the MatMul before them."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not g.contains(model, "MatMul"):
            return found.result(model, model)  # before opset 7 broadcasting followed an attribute
        after = model.clone()
        for node in g.nodes(after):
            matched = _match(node)
            if matched is None:
                continue
            name, op_type = g.label(node), node.op_type
            reason = _fold(after, node, matched)
            if reason is None:
                found.changed(name, f"{op_type} by a constant folded into the MatMul before it")
            else:
                found.refused(name, reason)
        return found.result(model, after)


@dataclass(frozen=True)
class _Scaled:
    """Mul or Div of (MatMul [+ bias]) by constants.

    Attributes:
        matmul: The MatMul.
        add: The Add of its bias, or None.
        bias_index: Which input of `add` is the bias.
        factors: The constants.
    """

    matmul: ir.Node
    add: ir.Node | None
    bias_index: int
    factors: np.ndarray


def _match(node: ir.Node) -> _Scaled | None:
    """What `node` multiplies or divides, where that is a MatMul that nothing else reads, with or without a bias."""
    if not g.is_op(node, "Mul", "Div"):
        return None
    for index in (0, 1) if node.op_type == "Mul" else (0,):
        value, factors = node.inputs[index], g.array(node.inputs[1 - index])
        producer = None if value is None or factors is None else value.producer()
        if value is None or factors is None or producer is None or not read_once(value):
            continue
        if g.is_op(producer, "MatMul"):
            return _Scaled(producer, None, 0, factors)
        for place, term in enumerate(producer.inputs if g.is_op(producer, "Add") else ()):
            matmul = None if term is None or not read_once(term) else term.producer()
            if matmul is not None and g.is_op(matmul, "MatMul"):
                return _Scaled(matmul, producer, 1 - place, factors)
    return None


def _fold(model: ir.Model, node: ir.Node, found: _Scaled) -> str | None:
    """Folds the factors of `node`, or says why not."""
    matmul, add = found.matmul, found.add
    weight = g.array(matmul.inputs[1])
    if weight is None:
        return g.why_not_constant("weight", matmul.inputs[1])
    bias = None if add is None else g.array(add.inputs[found.bias_index])
    if add is not None and bias is None:
        return g.why_not_constant("bias", add.inputs[found.bias_index])
    reason = _obstacle(matmul, weight, bias, found.factors)
    if reason is not None:
        return reason
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        scale = found.factors.astype(np.float64)
        scale = scale if node.op_type == "Mul" else 1 / scale
        exact = weight * scale
        new_weight = exact.astype(weight.dtype)
        new_bias = np.zeros(1) if bias is None else (bias * scale).astype(bias.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return f"the folded weights overflow {weight.dtype.name}"
    largest = np.abs(exact).max(axis=0, initial=0)
    if (largest[largest > 0] < np.finfo(weight.dtype).smallest_normal).any():
        return f"the folded weights of a column are too small for {weight.dtype.name}"
    reason = g.bypass(node, (add or matmul).outputs[0])
    if reason is not None:
        return reason
    name = g.label(matmul)
    g.set_weight(model, matmul, 1, f"{name}_scaled", new_weight)
    if add is not None:
        g.set_weight(model, add, found.bias_index, f"{name}_bias_scaled", new_bias)
    return None


def _obstacle(matmul: ir.Node, weight: np.ndarray, bias: np.ndarray | None, factors: np.ndarray) -> str | None:
    value = matmul.inputs[1]
    if value is None or weight.ndim != 2 or weight.dtype.name not in ("float16", "float32", "float64"):
        return f"the weight is {weight.dtype.name}{list(weight.shape)}, not a matrix of floats"
    if g.shared(value):
        return f"weight {value.name!r} is shared with {g.shared(value)} other uses"
    if factors.ndim > 1 or factors.size not in (1, weight.shape[1]):
        return f"the constant of shape {factors.shape} is not one value per column"
    if bias is not None and bias.ndim > 1:
        return f"the bias of shape {bias.shape} is not one value per column"
    return None
