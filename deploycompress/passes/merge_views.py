"""Squeeze -> Transpose -> Reshape (any chain of views) ==> one Reshape, or nothing where the shape comes back.

    view -> Sigmoid -> view ==> Sigmoid -> view

A Transpose that only moves axes of length 1, and a Gather of the one slice of such an axis, are views too. Elementwise
operators between two views do not care about axes, so the first view moves behind them. Only lengths that are certain
count: integers, and symbols of which inference proves that they are equal (see `shapes`).
Source: ONNX operator Reshape; see `views`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes import views
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer

# One tensor in, one of the same shape out, each element by itself.
ELEMENTWISE = (
    *("Abs", "Cast", "Ceil", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu"),
    *("Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign"),
    *("Sqrt", "Tanh", "ThresholdedRelu"),
)
_WITH_SCALAR = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max")


@dataclass(frozen=True)
class MergeViews:
    """Makes one Reshape of a chain of views."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < views.MIN_OPSET or not any(_may_end_chain(node) for node in g.nodes(model)):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        taken = g.names(after)
        seen = -1
        while seen < len(found.changes):  # a view that goes may leave another with one reader
            seen = len(found.changes)
            for node in g.nodes(after):
                if node.graph is not None and views.is_view(node, shapes):
                    _merge(node, shapes, taken, found)
        return found.result(model, after)


def _may_end_chain(node: ir.Node) -> bool:
    return g.is_op(node, "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Gather")


def _merge(last: ir.Node, shapes: Shapes, taken: set[str], found: Findings) -> None:
    """Merges `last` with the longest chain before it whose shapes allow it."""
    result = shapes.symbolic(last.outputs[0])
    chain = _chain(last, shapes)
    for place in (place for place in reversed(range(len(chain))) if chain[place].is_view):
        source = chain[place].node.inputs[0]
        lengths = shapes.symbolic(source)
        if source is None or result is None or lengths is None:
            continue
        if views.unchanged(lengths, result):
            target = None
        elif (target := views.target(lengths, result)) is None:
            continue
        name = g.label(last)
        merged = [*(link.node.op_type for link in reversed(chain[: place + 1]) if link.is_view), last.op_type]
        _take_out(chain[: place + 1], source, shapes)
        kept = last.inputs[0]
        if target is None and kept is not None and g.bypass(last, kept) is None:
            found.changed(name, f"{', '.join(merged)} removed: the shape comes back")
            return
        _reshape(last, target or list(map(_copied, result)), taken)
        found.changed(name, f"{', '.join(merged)} merged into one Reshape")
        return


def _copied(length: int | str | None) -> int:
    return length if isinstance(length, int) else 0


@dataclass(frozen=True)
class _Link:
    """A node of a chain: a view, or an elementwise operator."""

    node: ir.Node
    is_view: bool


def _chain(last: ir.Node, shapes: Shapes) -> list[_Link]:
    """Views and elementwise operators before `last`, nearest first, whose results nothing else reads."""
    chain: list[_Link] = []
    value = last.inputs[0]
    while value is not None and g.sole_user(value) is not None:
        producer = value.producer()
        if producer is None or producer.graph is not last.graph:
            break
        link = _Link(producer, views.is_view(producer, shapes))
        value = producer.inputs[0] if link.is_view else _elementwise_input(producer, shapes)
        if value is not None:
            chain.append(link)
    return chain


def _elementwise_input(node: ir.Node, shapes: Shapes) -> ir.Value | None:
    """The input whose shape the output of an elementwise `node` has, or None."""
    if g.is_op(node, *ELEMENTWISE):
        return node.inputs[0]
    if not g.is_op(node, *_WITH_SCALAR) or len(node.inputs) != 2:
        return None
    for value, other in (node.inputs, reversed(node.inputs)):
        tensor = g.constant(other)
        if tensor is not None and not tensor.shape.dims and shapes.rank(value) is not None:
            return value
    return None


def _take_out(chain: list[_Link], source: ir.Value, shapes: Shapes) -> None:
    """Removes the views of `chain`, which starts at `source`; what stands between them gets the shape of `source`."""
    for link in reversed(chain):
        node, output = link.node, link.node.outputs[0]
        if link.is_view and node.graph is not None:
            others = node.inputs[1:]
            output.replace_all_uses_with(source)
            node.graph.remove(node, safe=True)
            g.drop_unread(others)
        else:
            output.shape = None  # it was that of the view
            shapes.lengths[output] = shapes.lengths[source]
            source = output


def _reshape(node: ir.Node, target: list[int], taken: set[str]) -> None:
    """Turns `node` into a Reshape of its first input."""
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"{g.label(node)} is not in a graph")
    data = np.asarray(target, np.int64)
    old = g.array(g.input_at(node, 1)) if node.op_type == "Reshape" else None
    if old is None or old.tolist() != target:
        shape = g.new_initializer(graph, f"{g.label(node)}_shape", data, taken)
        others = node.inputs[1:]
        node.resize_inputs(2)
        node.replace_input_with(1, shape)
        g.drop_unread(others)
    node.op_type, node.domain = "Reshape", ""
    node.attributes.clear()
