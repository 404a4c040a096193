"""model, its pruned form -> one graph that runs both on the same inputs and joins what their layers read.

The Gram matrix of a joined tensor holds the products within either model and across both, in one pass over the samples.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from deploycompress.passes import graph as g

_PREFIX = "cut/"


def joined(
    before: ir.Model, after: ir.Model, axes: Mapping[str, int], partners: Mapping[str, str] | None = None
) -> tuple[ir.Model, dict[str, str]]:
    """Both models as one, and the name of the joined tensor for each name in `axes`.

    Args:
        before: The original.
        after: A copy of it that was changed; values keep their names.
        axes: Tensors of the original to join, each along an axis.
        partners: Name of the tensor of `after` that each is joined with, where it is not the same.
    """
    whole, other = before.clone(), after.clone()
    inputs = {value.name: value for value in whole.graph.inputs}
    for value in other.graph.inputs:
        value.replace_all_uses_with(inputs[value.name])
    other.graph.outputs.clear()
    initializers = list(other.graph.initializers.values())
    other.graph.initializers.clear()
    nodes = list(other.graph)
    for value in (*initializers, *(output for node in nodes for output in node.outputs if output.name)):
        value.name = f"{_PREFIX}{value.name}"
    for value in initializers:
        whole.graph.register_initializer(value)
    for node in nodes:
        other.graph.remove(node)
        node.name = f"{_PREFIX}{node.name or g.label(node)}"
        whole.graph.append(node)
    values = {value.name: value for value in g.values(whole)}
    found = {}
    for name, axis in axes.items():
        output = ir.Value(name=f"joined/{name}", type=values[name].type)
        pair = [values[name], values[f"{_PREFIX}{(partners or {}).get(name, name)}"]]
        whole.graph.append(ir.Node("", "Concat", pair, [ir.AttrInt64("axis", axis)], outputs=[output]))
        found[name] = f"joined/{name}"
    return whole, found
