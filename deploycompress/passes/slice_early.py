"""Gather(f(x), 0) ==> f(Gather(x, 0)): where only one token of a layer is read, the layer runs for that token alone.

A classification head reads the first token of the last hidden state. Its feed-forward, its normalizations, its output
projection and its query are then needed for that token only; keys and values stay whole. Exact: no sum is changed.

From the outputs back, every value is asked which position of which axis its readers want (`slice_rules` says what a
node needs for it); a node whose readers agree is narrowed, and a Gather is written where it reads a whole value.
Source: ONNX operator Gather; the idea is dead-code elimination along an axis.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes
from deploycompress.passes.slice_rules import Position, Sources, sources
from deploycompress.passes.symbolic import symbolic

_WORTH_IT = ("MatMul", "Gemm", "Attention")


@dataclass(frozen=True)
class SliceEarly:
    """Moves the choice of the first or last position of an axis in front of the matrix products."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`; says where the way up ends."""
        found = Findings()
        if g.opset(model) < 11 or not any(_read(node) for node in model.graph):
            return found.result(model, model)  # before opset 11 Gather took no negative index
        after = model.clone()
        shapes = symbolic(after)
        plan = _plan(after, shapes)
        heavy = [node for node in plan.narrowed if g.is_op(node, *_WORTH_IT)]
        if not heavy:
            for where, stop in plan.stops:
                found.refused(where, f"one position is read, but {stop} needs more")
            return found.result(model, model)
        _apply(after, plan)
        for node in heavy:
            found.changed(g.label(node), f"{node.op_type} works on one position instead of all")
        return found.result(model, after)


@dataclass
class _Plan:
    """Nodes to narrow with what each output is asked for, and what they ask of their inputs."""

    narrowed: dict[ir.Node, Position] = field(default_factory=dict)
    asked: dict[tuple[ir.Node, int], Position] = field(default_factory=dict)
    stops: list[tuple[str, str]] = field(default_factory=list)


def _plan(model: ir.Model, shapes: Shapes) -> _Plan:
    plan = _Plan()
    for node in reversed(list(model.graph)):
        read = _read(node)
        if read is not None:
            dims = shapes.symbolic(node.inputs[0])
            if dims is not None and len(dims) > 1 and dims[read.axis % len(dims)] != 1:
                plan.asked[node, 0] = Position(read.axis % len(dims), read.index)
            continue
        wanted = _agreed(node, plan)
        if wanted is None:
            continue
        needs: Sources | None = sources(node, wanted, shapes)
        if needs is None:
            plan.stops.append((g.label(node), node.op_type))
            continue
        plan.narrowed[node] = wanted
        plan.asked.update({(node, index): position for index, position in needs.items()})
    return plan


def _agreed(node: ir.Node, plan: _Plan) -> Position | None:
    """The one position that every reader of the node's first output wants, where they all want the same."""
    output = node.outputs[0]
    if output.is_graph_output() or not output.uses():
        return None
    wanted = {plan.asked.get((use.node, use.idx)) for use in output.uses()}
    return wanted.pop() if len(wanted) == 1 else None


def _read(node: ir.Node) -> Position | None:
    """The position a Gather by a constant 0 or -1 reads."""
    index = g.array(g.input_at(node, 1)) if g.is_op(node, "Gather") else None
    if index is None or index.size != 1 or int(index.ravel()[0]) not in (0, -1):
        return None
    return Position(g.int_attribute(node, "axis", 0), int(index.ravel()[0]))


def _apply(model: ir.Model, plan: _Plan) -> None:
    picked: dict[tuple[ir.Value, Position], ir.Value] = {}
    for node in reversed(plan.narrowed):  # producers first
        for index, value in enumerate(node.inputs):
            position = plan.asked.get((node, index))
            if value is not None and position is not None and value.producer() not in plan.narrowed:
                if (value, position) not in picked:
                    picked[value, position] = _pick(model, node, value, position)
                node.replace_input_with(index, picked[value, position])
        wanted = plan.narrowed[node]
        _narrow(model, node, wanted)
        output = node.outputs[0]
        if output.shape is not None:
            output.shape = ir.Shape([1 if axis == wanted.axis else d for axis, d in enumerate(output.shape)])


def _narrow(model: ir.Model, node: ir.Node, wanted: Position) -> None:
    """A Reshape names the length of the axis."""
    target = g.array(node.inputs[1]) if g.is_op(node, "Reshape") else None
    if target is not None and target[wanted.axis] > 1:
        changed = target.copy()
        changed[wanted.axis] = 1
        g.set_weight(model, node, 1, "shape", changed)


def _pick(model: ir.Model, before: ir.Node, value: ir.Value, position: Position) -> ir.Value:
    """One position of `value`, its axis kept, written in front of `before`."""
    index = g.add_initializer(model, model.graph, "position", np.asarray([position.index], np.int64))
    name = g.fresh_name(model, f"{value.name}_one")
    node = ir.Node("", "Gather", [value, index], [ir.AttrInt64("axis", position.axis)], num_outputs=1, name=name)
    node.outputs[0].name, node.outputs[0].type = name, value.type
    model.graph.insert_before(before, node)
    return node.outputs[0]
