"""Transpose(p) -> elementwise operators -> Transpose(p inverse) ==> elementwise operators, on the axes as they were.

Converters of channels-last graphs put every operator between two transposes. An elementwise operator does not care
about the order of axes, and a Concat only changes its axis, so a whole region of them can work on the values before the
transposes. It is done where fewer transposes are left: those into the region that nothing else reads and the inverse
ones out of it go; what leaves it for another reader is transposed there.
Source: ONNX operator Transpose: output axis i is input axis perm[i].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.merge_views import ELEMENTWISE

BROADCASTING = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Sum", "Clip", "PRelu")
_Perm = tuple[int, ...]


@dataclass(frozen=True)
class CancelTransposes:
    """Removes transposes that undo each other, directly or around elementwise operators."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not g.contains(model, "Transpose"):
            return found.result(model, model)  # before opset 7 broadcasting followed an attribute
        after = model.clone()
        while True:
            changes = len(found.changes)
            for node in g.nodes(after):
                if node.graph is not None and permutation(node) is not None:
                    _merge_pair(node, found)
            for graph in tuple(after.graphs()):
                for perm in dict.fromkeys(perm for node in graph if (perm := permutation(node)) is not None):
                    _move_regions(after, graph, perm, found)
            if len(found.changes) == changes:
                return found.result(model, after)


@dataclass(frozen=True)
class _Region:
    """Nodes that can work on the values before transposes of one permutation.

    Attributes:
        perm: The permutation.
        nodes: Elementwise nodes and Concats, producers first.
        into: Transposes by `perm` that make its inputs.
        out_of: Transposes back, of its results.
        left: Results that something else reads.
    """

    perm: _Perm
    nodes: tuple[ir.Node, ...]
    into: tuple[ir.Node, ...]
    out_of: tuple[ir.Node, ...]
    left: tuple[ir.Value, ...]

    @property
    def gain(self) -> int:
        """How many transposes fewer there are without it."""
        members = {*self.nodes, *self.out_of}
        gone = [node for node in self.into if all(use.node in members for use in node.outputs[0].uses())]
        return len(gone) + len(self.out_of) - len(self.left)


def permutation(node: ir.Node | None) -> _Perm | None:
    """The permutation of a Transpose that states one and moves something."""
    if node is None or not g.is_op(node, "Transpose") or node.inputs[0] is None:
        return None
    order = g.ints_attribute(node, "perm")
    return tuple(order) if order is not None and order != sorted(order) else None


def _inverse(perm: _Perm) -> _Perm:
    return tuple(int(axis) for axis in np.argsort(perm))


def _merge_pair(second: ir.Node, found: Findings) -> None:
    """Transpose(q) of Transpose(p) is Transpose of p[q[i]], or nothing."""
    middle, outer = second.inputs[0], permutation(second)
    first = None if middle is None else middle.producer()
    inner = permutation(first)
    source = first.inputs[0] if first is not None else None
    if first is None or inner is None or outer is None or source is None or first.graph is not second.graph:
        return
    name, merged = g.label(second), tuple(inner[axis] for axis in outer)
    if merged == tuple(range(len(merged))):
        reason = g.bypass(second, source)
        if reason is not None:
            found.refused(name, reason)
            return
    elif g.sole_user(first.outputs[0]) is second:
        second.replace_input_with(0, source)
        second.attributes["perm"] = ir.AttrInt64s("perm", merged)
    else:
        return
    g.drop_unread([first.outputs[0]])
    found.changed(name, "two transposes in a row merged")


def _move_regions(model: ir.Model, graph: ir.Graph, perm: _Perm, found: Findings) -> None:
    """Moves the region that saves most, as long as one saves any."""
    while regions := [region for region in _regions(graph, perm) if region.out_of]:
        best = max(regions, key=lambda region: region.gain)
        if best.gain <= 0:
            for region in regions:
                found.refused(g.label(region.out_of[0]), "as many transposes would be needed elsewhere")
            return
        _move(model, best, found)


def _regions(graph: ir.Graph, perm: _Perm) -> list[_Region]:
    """The connected regions behind the transposes of one permutation."""
    owner: dict[ir.Value, set[ir.Node]] = {}  # value in the order of `perm` -> the nodes of its region, shared
    for node in graph:
        if permutation(node) == perm:
            owner[node.outputs[0]] = {node}
            continue
        sources = [value for value in node.inputs if value is not None and value in owner]
        if not sources or not _can_join(node, owner, len(perm)):
            continue
        joined = {node}.union(*(owner[value] for value in sources))
        if any(not joined.isdisjoint(owner.get(value, ())) for value in _read_by_transposes(joined, perm)):
            continue  # a transpose of a value of the region makes an operand of it: the two are not in one order
        for value, members in owner.items():
            if members & joined:
                owner[value] = joined
        owner[node.outputs[0]] = joined
    distinct = {id(members): members for members in owner.values()}
    return [_region(graph, members, perm) for members in distinct.values()]


def _read_by_transposes(members: set[ir.Node], perm: _Perm) -> list[ir.Value]:
    """What those of `members` read that transpose by `perm`."""
    return [value for node in members if permutation(node) == perm for value in node.inputs if value is not None]


def _region(graph: ir.Graph, members: set[ir.Node], perm: _Perm) -> _Region:
    """The part of `members` from which a transpose back is reached."""
    inverse = _inverse(perm)
    kept: list[ir.Node] = []
    out_of: list[ir.Node] = []
    for node in reversed([node for node in graph if node in members and permutation(node) is None]):
        readers = [use.node for use in node.outputs[0].uses()]
        back = [reader for reader in readers if permutation(reader) == inverse and reader.graph is graph]
        if back or any(reader in kept for reader in readers):
            kept.append(node)
            out_of += back
    nodes = tuple(reversed(kept))
    inputs = {value for node in nodes for value in node.inputs if value is not None}
    into = tuple(
        node for node in graph if node in members and permutation(node) is not None and node.outputs[0] in inputs
    )
    inside = {*nodes, *out_of}
    left = tuple(n.outputs[0] for n in nodes if any(use.node not in inside for use in n.outputs[0].uses()))
    return _Region(perm, nodes, into, tuple(out_of), left)


def _can_join(node: ir.Node, owner: dict[ir.Value, set[ir.Node]], rank: int) -> bool:
    """Whether every operand is transposed in the same way, or a constant that can be."""
    if len(node.outputs) != 1 or node.outputs[0].is_graph_output():
        return False
    operands = [value for value in node.inputs if value is not None]
    if g.is_op(node, *ELEMENTWISE):
        return True
    if g.is_op(node, "Concat"):
        return all(value in owner for value in operands)
    constants = [g.constant(value) for value in operands if value not in owner]
    return g.is_op(node, *BROADCASTING) and all(c is not None and len(c.shape) <= rank for c in constants)


def _move(model: ir.Model, region: _Region, found: Findings) -> None:
    """Makes the region work on the values before its transposes."""
    before = {node.outputs[0]: node.inputs[0] for node in region.into}
    inverse = _inverse(region.perm)
    for node in region.nodes:
        for index, value in enumerate(node.inputs):
            if value in before:
                node.replace_input_with(index, before[value])
        transpose_constants(model, node, inverse)
        if node.op_type == "Concat":
            axis = region.perm[g.int_attribute(node, "axis", 0)]
            node.attributes["axis"] = ir.AttrInt64("axis", axis)
        node.outputs[0].shape = None  # inferred again by whoever needs it
    for value in region.left:
        _transpose_for_others(model, value, region)
    for node in region.out_of:
        name, source = g.label(node), node.inputs[0]
        reason = "its input is absent" if source is None else g.bypass(node, source)
        if reason is not None:
            found.refused(name, reason)
            node.attributes["perm"] = ir.AttrInt64s("perm", list(range(len(inverse))))  # correct, and one no-op more
    g.drop_unread([node.outputs[0] for node in region.into])
    ops = ", ".join(dict.fromkeys(node.op_type for node in region.nodes))
    found.changed(g.label(region.nodes[-1]), f"{region.gain} transposes fewer around {ops}")


def transpose_constants(model: ir.Model, node: ir.Node, perm: _Perm) -> None:
    """Brings the constants that `node` broadcasts into the order of axes `perm`."""
    for index, value in enumerate(node.inputs):
        constant = g.array(value)
        if value is not None and constant is not None and constant.size > 1:
            axes = constant.reshape((1,) * (len(perm) - constant.ndim) + constant.shape)
            g.set_weight(model, node, index, f"{value.name}_transposed", axes.transpose(perm))


def _transpose_for_others(model: ir.Model, value: ir.Value, region: _Region) -> None:
    """Gives the readers of `value` outside the region a transposed copy."""
    inside = {*region.nodes, *region.out_of}
    producer = value.producer()
    graph = None if producer is None else producer.graph
    if producer is None or not isinstance(graph, ir.Graph):
        raise TypeError(f"value {value.name} is not made in a graph")
    uses = [use for use in value.uses() if use.node not in inside]
    perm = ir.AttrInt64s("perm", list(region.perm))
    copy = ir.Node("", "Transpose", [value], [perm], num_outputs=1)
    copy.outputs[0].name, copy.outputs[0].type = g.fresh_name(model, f"{value.name}_transposed"), value.type
    graph.insert_after(producer, copy)
    for use in uses:
        use.node.replace_input_with(use.idx, copy.outputs[0])
