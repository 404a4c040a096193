"""new nodes before an old one, then the old one and all that it alone needed are gone.

The last new value takes the name of the value it replaces, so that names a user may give (to exclude a layer, to read a
report) stay true.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g


def insert(
    model: ir.Model,
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    name: str,
    **attributes: float | str | list[int],
) -> ir.Value:
    """The output of a new standard node right before another, of no stated type or shape.

    It is called `name`, with a number behind it where a value of the model has that name.
    """
    graph = before.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"node {g.label(before)} is not in a graph")
    name = g.fresh_name(model, name)
    made = [_attribute(key, value) for key, value in attributes.items()]
    node = ir.Node("", op_type, inputs, made, num_outputs=1, name=name)
    node.outputs[0].name = name
    graph.insert_before(before, node)
    return node.outputs[0]


def scalar(model: ir.Model, before: ir.Node, name: str, number: float) -> ir.Value:
    """A float32 constant of rank 0 in the graph of a node."""
    graph = before.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"node {g.label(before)} is not in a graph")
    return g.add_initializer(model, graph, name, np.asarray(number, np.float32))


def replace(node: ir.Node, new: ir.Value) -> str | None:
    """Makes every user of the first output of `node` read `new`, a value of the same type and shape.

    Removes `node` and what only it needed; or says why it cannot, and removes `new` and what only that needed.
    """
    output = node.outputs[0]
    name, sources = output.name, list(node.inputs)
    new.type, new.shape = output.type, output.shape
    reason = g.bypass(node, new)
    if reason is not None:
        g.drop_unread([new])
        return reason
    output.name = None
    new.name = name
    g.drop_unread(sources)
    return None


def _attribute(name: str, value: float | str | list[int]) -> ir.Attr:
    if isinstance(value, str):
        return ir.AttrString(name, value)
    if isinstance(value, list):
        return ir.AttrInt64s(name, value)
    return ir.AttrFloat32(name, value) if isinstance(value, float) else ir.AttrInt64(name, value)
