"""Relu, Clip, Max and Min by constants in a row ==> one Relu or Clip.

All of them are clamp(x; low, high) = min(max(x, low), high), and clamp(clamp(x; a, b); c, d) = clamp(x; l, h) with
l = clamp(a; c, d), h = clamp(b; c, d). No upper bound is Relu where the lower one is 0. ONNX Runtime computes one Relu
or Clip inside the convolution before it, but no Max, Min or second clamp; the int8 quantizer absorbs the same two.
Source: ONNX operators Relu, Clip (opset 6: attributes, 11: inputs), Max, Min.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.products import read_once
from deploycompress.passes.rewriting import insert, replace

_CLIP_WITH_INPUTS_OPSET = 11
_UNBOUNDED = float(np.finfo(np.float32).max)  # what exporters write where there is no bound


@dataclass(frozen=True)
class Clamp:
    """min(max(x, low), high).

    Attributes:
        x: What is clamped.
        low: Lower bound, or minus infinity.
        high: Upper bound, or infinity.
        dtype: Element type, where a constant bound shows it.
    """

    x: ir.Value
    low: float
    high: float
    dtype: np.dtype | None


@dataclass(frozen=True)
class MergeClamps:
    """Clamps once, by the operator that a kernel takes in."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Relu", "Clip", "Max", "Min"):
            return found.result(model, model)
        after = model.clone()
        for node in g.nodes(after):
            outer = clamp(node)
            if outer is None:
                continue
            name, op_type = g.label(node), node.op_type
            producer = outer.x.producer()
            inner = clamp(producer) if producer is not None and read_once(outer.x) else None
            if inner is not None:
                outer = Clamp(
                    inner.x, _bounded(inner.low, outer), _bounded(inner.high, outer), outer.dtype or inner.dtype
                )
            elif op_type == "Relu" or (op_type == "Clip" and (outer.low, outer.high) != (0, math.inf)):
                continue
            new = _write(after, node, outer)
            if isinstance(new, str):
                found.refused(name, new)
                continue
            reason = replace(node, new)
            if reason is None:
                found.changed(name, f"{op_type} {'and the clamp before it ' if inner else ''}written as one operator")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def clamp(node: ir.Node | None) -> Clamp | None:
    """What a Relu, or a Clip, Max or Min with constant bounds in order, clamps to; None for anything else."""
    if node is None or not g.is_op(node, "Relu", "Clip", "Max", "Min") or node.inputs[0] is None:
        return None
    if node.op_type == "Relu":
        return Clamp(node.inputs[0], 0.0, math.inf, None)
    if node.op_type == "Clip":
        return _clip(node, node.inputs[0])
    if len(node.inputs) != 2:
        return None
    for index in (0, 1):
        bound, x = g.array(node.inputs[index]), node.inputs[1 - index]
        if bound is not None and bound.ndim == 0 and bound.dtype.name in ("float32", "float64") and x is not None:
            low, high = (float(bound), math.inf) if node.op_type == "Max" else (-math.inf, float(bound))
            return _ordered(Clamp(x, low, high, bound.dtype))
    return None


def _clip(node: ir.Node, x: ir.Value) -> Clamp | None:
    bounds, dtype = [-math.inf, math.inf], None
    for index, name in enumerate(("min", "max")):
        if name in node.attributes:
            bounds[index] = g.float_attribute(node, name, 0.0)
        elif (value := g.input_at(node, index + 1)) is not None:
            bound = g.array(value)
            if bound is None or bound.size != 1 or bound.dtype.kind != "f":
                return None
            bounds[index], dtype = float(bound.reshape(())), bound.dtype
    low, high = (math.copysign(math.inf, bound) if abs(bound) >= _UNBOUNDED else bound for bound in bounds)
    return _ordered(Clamp(x, low, high, dtype))


def _ordered(found: Clamp) -> Clamp | None:
    """The clamp where its bounds are numbers in order; without an order, operators differ in what they give."""
    return found if found.low <= found.high and found.low < math.inf and found.high > -math.inf else None


def _bounded(bound: float, by: Clamp) -> float:
    return min(max(bound, by.low), by.high)


def _write(model: ir.Model, root: ir.Node, wanted: Clamp) -> ir.Value | str:
    """The clamp as one new node before `root`, or why it cannot be written."""
    name = g.label(root)
    if (wanted.low, wanted.high) == (0, math.inf):
        return insert(model, root, "Relu", [wanted.x], f"{name}_clamped")
    finite = {"min": wanted.low, "max": wanted.high}
    finite = {key: bound for key, bound in finite.items() if math.isfinite(bound)}
    if g.opset(model) < _CLIP_WITH_INPUTS_OPSET:
        if wanted.dtype == np.float64:
            return "before opset 11 the bounds of a Clip are float32"
        return insert(model, root, "Clip", [wanted.x], f"{name}_clamped", **finite)
    if g.opset(model) == _CLIP_WITH_INPUTS_OPSET and wanted.dtype == np.float64:
        return "ONNX Runtime has no Clip of doubles in opset 11"
    graph = root.graph
    if not isinstance(graph, ir.Graph):
        return "the node is not in a graph"
    bounds = [
        g.add_initializer(model, graph, f"{name}_{key}", np.asarray(finite[key], wanted.dtype))
        if key in finite
        else None
        for key in ("min", "max")
    ]
    return insert(model, root, "Clip", [wanted.x, *bounds], f"{name}_clamped")
