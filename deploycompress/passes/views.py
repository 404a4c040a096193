"""Operators that only rename axes, and the Reshape target that says the same: [N, 4, 6] -> [N, 24] is [0, 24].

A view hands on the elements of its first input in their order. Source: ONNX operators Reshape (opset 5: target as an
input; 0 copies the length of the same axis, one -1 takes what is left), Flatten, Squeeze, Unsqueeze, Transpose, Gather.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.shapes import Length, Shapes

MIN_OPSET = 5


def is_view(node: ir.Node, shapes: Shapes) -> bool:
    """Whether the one output of `node` holds the elements of its first input in their order, on every run."""
    if g.is_op(node, "Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return node.inputs[0] is not None
    if not g.is_op(node, "Transpose", "Gather"):
        return False
    lengths = shapes.of(node.inputs[0])
    if lengths is None:
        return False
    if node.op_type == "Transpose":
        order = g.ints_attribute(node, "perm") or list(range(len(lengths)))[::-1]
        moved = [axis for axis in order if lengths[axis] != 1]
        return moved == sorted(moved)
    index = g.constant(g.input_at(node, 1))
    return index is not None and index.size == 1 and lengths[g.int_attribute(node, "axis", 0)] == 1


def target(source: Sequence[Length], result: Sequence[Length], *, has_rest: bool = False) -> list[int] | None:
    """The Reshape target that makes `result` of `source` on every run, or None where there is none.

    Args:
        source: Lengths of the input.
        result: Lengths of the output.
        has_rest: Whether the target that is replaced holds a -1 as well. Beside a copied length one more -1 would fail
            where that length is 0, so it is written only where it failed before.
    """
    found: list[int] = []
    for axis, length in enumerate(result):
        if isinstance(length, int):
            found.append(length)
        else:
            copied = length is not None and axis < len(source) and source[axis] == length
            found.append(0 if copied else -1)
    lengths = [length for length in result if isinstance(length, int)]
    rests = found.count(-1)
    if 0 in lengths or rests > 1 or (rests == 1 and 0 in found and not has_rest):
        return None
    return found


def unchanged(source: Sequence[Length], result: Sequence[Length]) -> bool:
    """Whether views from `source` to `result` change nothing: equal, or one axis open and the others fixed."""
    if same(source, result):
        return True
    differ = [pair for pair in zip(source, result, strict=False) if pair[0] is None or pair[0] != pair[1]]
    fixed = [length for length in result if isinstance(length, int)]
    is_open = len(differ) == 1 and not isinstance(differ[0][1], int)
    return len(source) == len(result) and is_open and len(fixed) == len(result) - 1 and 0 not in fixed


def same(source: Sequence[Length] | None, result: Sequence[Length] | None) -> bool:
    """Whether both shapes are equal on every run."""
    return source is not None and None not in source and source == result
