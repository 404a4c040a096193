"""x + types[k, k, ...] for one constant k ==> x + row k;   (x + row) + positions[i] ==> x + (positions + row)[i].

An encoder that is exported without token types looks up type 0 for every token. What is looked up is then one row,
whatever the length, and a table that is read by position alone takes it in.
Source: ONNX operator Gather; Devlin et al., "BERT", NAACL 2019, figure 2 (the sum of three embeddings).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes import views
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes
from deploycompress.passes.symbolic import symbolic

# Operators whose output holds elements of their first input and no others.
_CHOOSING = ("Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze")


@dataclass(frozen=True)
class FoldEmbeddings:
    """Replaces lookups of one row by the row, and adds it to the table of positions."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if g.opset(model) < 7 or not any(_row(node) is not None for node in g.nodes(model)):
            return found.result(model, model)  # before opset 7 broadcasting followed an attribute
        after = model.clone()
        shapes = symbolic(after)
        for node in g.nodes(after):
            row = _row(node)
            add = g.sole_user(node.outputs[0])
            if row is not None and add is not None and g.is_op(add, "Add"):
                _fold(after, node, add, row, shapes, found)
        return found.result(model, after)


def _row(node: ir.Node) -> np.ndarray | None:
    """The row of a constant table that `node` looks up for every index; None where it is not one."""
    if not g.is_op(node, "Gather") or g.int_attribute(node, "axis", 0) != 0 or g.constant(node.inputs[1]) is not None:
        return None
    index = _only_element(node.inputs[1])
    tensor = g.constant(node.inputs[0])
    if index is None or tensor is None or len(tensor.shape) != 2:
        return None
    table = tensor.numpy()
    return table[index] if table.dtype.kind == "f" and -len(table) <= index < len(table) else None


def _only_element(value: ir.Value | None) -> int | None:
    """What every element of `value` is, followed to the constant that its elements are chosen from."""
    while value is not None:
        known = g.array(value)
        producer = value.producer()
        if known is None and producer is not None and g.is_op(producer, "ConstantOfShape"):
            attribute = producer.attributes.get("value")
            known = None if attribute is None or attribute.is_ref() else attribute.as_tensor().numpy()
        if known is not None:
            whole = known.dtype.kind == "i" and known.size > 0 and (known == known.flat[0]).all()
            return int(known.flat[0]) if whole else None
        value = producer.inputs[0] if producer is not None and g.is_op(producer, *_CHOOSING) else None
    return None


def _fold(model: ir.Model, lookup: ir.Node, add: ir.Node, row: np.ndarray, shapes: Shapes, found: Findings) -> None:
    index = 0 if add.inputs[0] is lookup.outputs[0] else 1
    other, name = add.inputs[1 - index], g.label(lookup)
    if other is None or not views.same(shapes.symbolic(other), shapes.symbolic(add.outputs[0])):
        found.refused(name, "the sum is not known to have the shape of its other term")
        return
    positions = _table_beside(add, other, row)
    if positions is None:
        graph = add.graph
        if not isinstance(graph, ir.Graph):
            raise TypeError(f"{g.label(add)} is not in a graph")
        add.replace_input_with(index, g.add_initializer(model, graph, f"{name}_row", row))
        found.changed(name, "the one row that is looked up is added")
    else:
        reason = g.bypass(add, other)
        if reason is not None:
            found.refused(name, reason)
            return
        table = g.array(positions.inputs[0])
        assert table is not None
        g.set_weight(model, positions, 0, f"{g.label(positions)}_table", table + row)
        found.changed(name, f"the one row that is looked up is added to the table of {g.label(positions)}")
    g.drop_unread([lookup.outputs[0]])


def _table_beside(add: ir.Node, other: ir.Value, row: np.ndarray) -> ir.Node | None:
    """The lookup in the same sum, before or behind `add`, with the smallest table that can take `row` in."""
    beside = [other] if g.sole_user(other) is add else []
    for place in (g.sole_user(add.outputs[0]), other.producer() if beside else None):
        if place is not None and g.is_op(place, "Add"):
            beside += [value for value in place.inputs if value is not None and g.sole_user(value) is place]
    lookups = [node for node in (value.producer() for value in beside) if node is not None and _takes(node, row)]
    return min(lookups, key=_size, default=None)


def _size(lookup: ir.Node) -> int:
    table = g.constant(lookup.inputs[0])
    return 0 if table is None else table.size


def _takes(lookup: ir.Node, row: np.ndarray) -> bool:
    """Whether `lookup` gathers whole rows of a table of its own, as wide as `row`, that has room for the sum."""
    table = g.constant(lookup.inputs[0]) if g.is_op(lookup, "Gather") else None
    value = lookup.inputs[0]
    if table is None or value is None or g.shared(value) or g.int_attribute(lookup, "axis", 0) != 0:
        return False
    data = table.numpy()
    if data.ndim != 2 or data.shape[1] != row.size:
        return False
    with np.errstate(over="ignore"):
        return bool(np.isfinite(data + row).all())
