"""model -> the layout of every value: which indices of which axes of which tensors must go together.

Nodes are walked in order; the rule of an operator (see `rules`) ties the axes of its inputs and says how its outputs
are laid out. An operator without a rule freezes all it reads, with the reason. What a graph input or output promises
to the caller stays.

Source: the operator specifications; the idea of groups tied by operators: Fang et al., "DepGraph: Towards Any
Structural Pruning", CVPR 2023 (arXiv:2301.12900).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Layout
from deploycompress.pruning.labels import Array, Labels

_RECURRENT = ("LSTM", "GRU", "RNN")
# Operators whose further inputs are numbers, not tensors that run along: their shapes need not be known.
_ONE_TENSOR = ("Expand", "Gather", "Pad", "Reshape", "Resize", "Slice", "Split", "Squeeze", "Unsqueeze")


@dataclass
class Trace:
    """What a walk over the graph has found so far.

    Attributes:
        shapes: Integer shapes (see `lengths`).
        opset: Version of the standard operator set.
        labels: Labels, ties and frozen labels.
        layouts: Of every value reached; weights have them as the first reader finds them.
        averaged: Labels of axes over which something is averaged (LayerNorm and its kin), where the mean is afterwards
            one over what is left.
    """

    shapes: Mapping[ir.Value, tuple[int, ...]]
    opset: int
    labels: Labels = field(default_factory=Labels)
    layouts: dict[ir.Value, Layout] = field(default_factory=dict)
    averaged: list[Array] = field(default_factory=list)

    def of(self, value: ir.Value | None) -> Layout:
        """The layout of a value whose shape is known; that of a weight is made when it is first read."""
        assert value is not None
        if value not in self.layouts:
            self.layouts[value] = self._first(value)
        return self.layouts[value]

    def _first(self, value: ir.Value) -> Layout:
        shape = self.shapes[value]
        if value.is_graph_input():
            return ax.fixed(shape, f"it is fed by the graph input {value.name!r}")
        if g.constant(value) is None:
            return ax.fixed(shape, f"{value.name!r} is computed by something not understood")
        if value.dtype is None or not value.dtype.is_floating_point():
            return ax.fixed(shape, f"it meets the integers of {value.name!r}")
        return ax.labelled(shape, self.labels)

    def averages(self, layout: Layout, axis: int) -> None:
        """Notes that something is averaged over this axis."""
        for name in ax.names(layout.axes[axis]):
            self.averaged.append(layout.block(name).labels.ravel())

    def freeze(self, layout: Layout, why: str) -> None:
        """Makes all of a value stay."""
        for block in layout.blocks:
            self.labels.freeze(block.labels, why)

    def refuse(self, node: ir.Node, why: str) -> None:
        """Makes all that `node` reads stay, in its bodies too, and all that it gives."""
        inner = (value for body in g.bodies(node) for part in body.all_nodes() for value in part.inputs)
        for value in (*node.inputs, *inner):
            if value is not None and value in self.shapes and (value in self.layouts or g.constant(value) is not None):
                self.freeze(self.of(value), why)
        for output in node.outputs:
            if output in self.shapes:
                self.layouts[output] = ax.fixed(self.shapes[output], why)


Rule = Callable[[ir.Node, Trace], Sequence[Layout] | str]
"""Ties the inputs of a node and gives the layouts of its outputs, or says in words why it cannot."""


def walk(model: ir.Model, shapes: Mapping[ir.Value, tuple[int, ...]], rules: Mapping[tuple[str, str], Rule]) -> Trace:
    """Lays out every value of the main graph.

    Args:
        model: Producers before users.
        shapes: Integer shapes.
        rules: By domain ("" for the standard one) and operator.
    """
    trace = Trace(shapes, g.opset(model))
    for node in model.graph:
        domain = "" if node.domain in g.STANDARD_DOMAINS else node.domain
        why = _unknown(node, trace, rules.get((domain, node.op_type)))
        if why:
            trace.refuse(node, why)
    for output in model.graph.outputs:
        if output in shapes:
            trace.freeze(trace.of(output), f"it is the graph output {output.name!r}")
    return trace


def _unknown(node: ir.Node, trace: Trace, rule: Rule | None) -> str:
    """Applies `rule`; why nothing is known of `node`, or ""."""
    where = f"{node.op_type} {g.label(node)!r}"
    if g.has_subgraph(node):
        return f"{where} is control flow, which is left alone"
    if node.op_type in _RECURRENT:
        return f"{where} is recurrent, which is left alone"
    if rule is None:
        return f"it is read by {where}, for which there is no rule"
    used = [value for value in node.inputs if value is not None]
    if g.is_op(node, *_ONE_TENSOR):
        used = used[:1]
    outputs = [value for value in node.outputs if value.name]
    if any(value not in trace.shapes for value in (*used, *outputs)):
        return f"a shape of {where} is not known before it runs"
    found = rule(node, trace)
    if isinstance(found, str):
        return f"{where} {found}"
    for output, layout in zip(node.outputs, found, strict=False):
        if output.name and layout.shape != trace.shapes[output]:
            return f"{where} gives another shape than its inputs say"
        trace.layouts[output] = layout
    for output in node.outputs[len(found) :]:
        if output.uses() or output.is_graph_output():
            return f"an optional output of {where} is in use"
    return ""
