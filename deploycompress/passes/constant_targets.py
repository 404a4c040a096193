"""Reshape(x, Concat(Shape(x)[0], 24)) ==> Reshape(x, [0, 24]); Expand(x, Concat(Shape(x)[0], 5)) ==> Expand(x, [1, 5]).

The arithmetic that computed the target goes where nothing else reads it. An axis whose length is not known may stand in
the target where it is copied from the same axis of the input, or is the one that takes what is left (see `views`).
Source: ONNX operators Reshape and Expand (a target length of 1 keeps the axis).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes import views
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Length, Shapes, infer
from deploycompress.passes.symbolic import symbolic


@dataclass(frozen=True)
class ConstantTargets:
    """Gives Reshape and Expand a constant target where it is certain.

    Attributes:
        trust_symbols: Whether axes that the model's signature gives one symbol are taken to be equal (see `symbolic`).
    """

    exact: ClassVar[bool] = True
    trust_symbols: bool = False

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < views.MIN_OPSET or not any(map(_is_candidate, g.nodes(model))):
            return found.result(model, model)
        after = model.clone()
        shapes = symbolic(after) if self.trust_symbols else infer(after)
        taken = g.names(after)
        for node in filter(_is_candidate, g.nodes(after)):
            target = _target(node, shapes)
            computed = node.inputs[1]
            if target is None or not isinstance(node.graph, ir.Graph):
                found.refused(g.label(node), f"the target of {node.op_type} depends on lengths that are not its own")
                continue
            constant = g.new_initializer(node.graph, f"{g.label(node)}_target", np.asarray(target, np.int64), taken)
            node.replace_input_with(1, constant)
            node.attributes.pop("allowzero", None)
            g.drop_unread([computed])
            found.changed(g.label(node), f"target of {node.op_type} is {target}")
        return found.result(model, after)


def _is_candidate(node: ir.Node) -> bool:
    value = g.input_at(node, 1)
    return g.is_op(node, "Reshape", "Expand") and value is not None and g.constant(value) is None


def _target(node: ir.Node, shapes: Shapes) -> list[int] | None:
    source, result = shapes.symbolic(node.inputs[0]), shapes.symbolic(node.outputs[0])
    if source is None or result is None:
        return None
    if node.op_type == "Reshape":
        return views.target(source, result, has_rest=_has_rest(node.inputs[1]))
    return _expand_target(source, result)


def _expand_target(source: Sequence[Length], result: Sequence[Length]) -> list[int] | None:
    aligned = [None] * (len(result) - len(source)) + list(source)
    target = []
    for length, before in zip(result, aligned, strict=True):
        if isinstance(length, str) and length == before:
            target.append(1)
        elif isinstance(length, int):
            target.append(length)
        else:
            return None
    return target


def _has_rest(target: ir.Value | None) -> bool:
    """Whether a target put together by Concat holds a -1."""
    producer = None if target is None else target.producer()
    parts = [g.array(value) for value in producer.inputs] if g.is_op(producer, "Concat") and producer else []
    return any(part is not None and bool((part == -1).any()) for part in parts)
