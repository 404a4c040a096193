"""--exclude patterns on the names of the original model -> the same nodes in the rewritten one.

A pattern is a glob over node names and output tensor names, e.g. `/head/*`. It is checked against the model the user
gave, because rewriting renames and merges nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import onnx_ir as ir

from deploycompress.errors import UnknownNameError, UnsupportedError
from deploycompress.passes.graph import nodes
from deploycompress.quantization.candidates import WEIGHTED, key


def names_matching(model: ir.Model, patterns: Sequence[str]) -> frozenset[str]:
    """Node, output and weight names of every node that a pattern matches.

    Raises:
        UnknownNameError: A pattern matches nothing.
    """
    found: set[str] = set()
    for pattern in patterns:
        matched = [node for node in nodes(model) if any(fnmatchcase(name, pattern) for name in _names(node))]
        if not matched:
            known = [name for node in nodes(model) if node.op_type in WEIGHTED for name in _names(node)]
            raise UnknownNameError("node or tensor", pattern, known, where="--exclude")
        for node in matched:
            found.update(_names(node))
            if node.op_type in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] is not None:
                found.add(str(node.inputs[1].name))
    return frozenset(found)


def nodes_named(original: ir.Model, rewritten: ir.Model, names: frozenset[str]) -> frozenset[str]:
    """First output names of the nodes of `rewritten` that carry one of `names`, as node, output or weight.

    Raises:
        UnsupportedError: A node with weights that was excluded is not to be found after rewriting.
    """
    chosen = {key(node): _marks(node) & names for node in rewritten.graph if _marks(node) & names}
    reached = frozenset(name for marks in chosen.values() for name in marks)
    for node in original.graph:
        if node.op_type in WEIGHTED and _marks(node) & names and not _marks(node) & reached:
            raise UnsupportedError(
                f"{node.name or key(node)!r} was excluded, and rewriting merged it into another node",
                remedy="exclude the node in front of or behind it as well",
            )
    return frozenset(chosen)


def original_names(original: ir.Model, rewritten: ir.Model) -> dict[str, str]:
    """Name by first output, for every node of `rewritten`: that of the original node it came from, where there is one.

    A node that rewriting made is recognized by its output or its weight; one without any trace is called as it is.
    """
    marked: dict[str, str] = {}
    for node in nodes(original):
        for mark in _marks(node):
            marked.setdefault(mark, node.name or key(node))
    found = {}
    for node in rewritten.graph:
        marks = [node.name or "", *(str(value.name) for value in node.outputs), *sorted(_marks(node))]
        found[key(node)] = next((marked[mark] for mark in marks if mark in marked), node.name or key(node))
    return found


def _names(node: ir.Node) -> set[str]:
    return {name for name in (node.name, *(value.name for value in node.outputs)) if name}


def _marks(node: ir.Node) -> set[str]:
    weight = node.inputs[1] if node.op_type in WEIGHTED and len(node.inputs) > 1 else None
    return _names(node) | ({str(weight.name)} if weight is not None else set())
