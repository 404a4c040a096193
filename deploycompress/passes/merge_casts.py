"""Cast(Cast(x, double), int64) ==> Cast(x, int64), where the first Cast loses nothing and the second does not notice.

A Cast keeps every value where the second type holds each value of the first. What follows then sees the same number,
with one exception: a floating-point number out of the range of an integer type has no defined result, so Casts from
floating point to integers stay as they are, unless the integer type holds what was an integer before.
Source: ONNX operator Cast (opset 6 and later).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.shapes import Shapes, infer

_T = ir.DataType
_FLOATS = (_T.FLOAT16, _T.BFLOAT16, _T.FLOAT, _T.DOUBLE)
_INTEGERS = (_T.INT8, _T.INT16, _T.INT32, _T.INT64, _T.UINT8, _T.UINT16, _T.UINT32, _T.UINT64)
# Type -> the types that hold each of its values (bool: 0 and 1).
_WIDER: dict[ir.DataType, tuple[ir.DataType, ...]] = {
    _T.BOOL: (*_INTEGERS, *_FLOATS),
    _T.INT8: (_T.INT16, _T.INT32, _T.INT64, _T.FLOAT16, _T.BFLOAT16, _T.FLOAT, _T.DOUBLE),
    _T.UINT8: (_T.UINT16, _T.UINT32, _T.UINT64, _T.INT16, _T.INT32, _T.INT64, *_FLOATS),
    _T.INT16: (_T.INT32, _T.INT64, _T.FLOAT, _T.DOUBLE),
    _T.UINT16: (_T.UINT32, _T.UINT64, _T.INT32, _T.INT64, _T.FLOAT, _T.DOUBLE),
    _T.INT32: (_T.INT64, _T.DOUBLE),
    _T.UINT32: (_T.UINT64, _T.INT64, _T.DOUBLE),
    _T.FLOAT16: (_T.FLOAT, _T.DOUBLE),
    _T.BFLOAT16: (_T.FLOAT, _T.DOUBLE),
    _T.FLOAT: (_T.DOUBLE,),
}


@dataclass(frozen=True)
class MergeCasts:
    """Takes out the first of two Casts where it loses nothing."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not any(_inner(node) for node in g.nodes(model)):
            return found.result(model, model)
        after = model.clone()
        shapes = infer(after)
        for node in g.nodes(after):
            while node.graph is not None and (inner := _inner(node)) is not None:
                reason = _merge(node, inner, shapes, found)
                if reason is not None:
                    found.refused(g.label(node), reason)
                    break
        return found.result(model, after)


def _inner(node: ir.Node) -> ir.Node | None:
    """The Cast whose result the Cast `node` reads."""
    producer = node.inputs[0].producer() if g.is_op(node, "Cast") and node.inputs[0] is not None else None
    return producer if g.is_op(producer, "Cast") else None


def _merge(node: ir.Node, inner: ir.Node, shapes: Shapes, found: Findings) -> str | None:
    """Makes `node` read what `inner` reads, or disappear; or says why not."""
    source, middle = inner.inputs[0], node.inputs[0]
    if source is None or middle is None:
        return "a Cast has no input"
    start, through, end = shapes.dtype(source), _to(inner), _to(node)
    if start is None or (through not in _WIDER.get(start, ()) and start != through):
        return f"Cast to {through.name.lower()} first may lose what {start.name.lower() if start else 'it reads'} holds"
    if start == end:
        name = g.label(node)
        reason = g.bypass(node, source)
        if reason is None:
            g.drop_unread([middle])
            found.changed(name, f"Cast to {through.name.lower()} and back removed")
        return reason
    if (start in _FLOATS or through in _FLOATS) and end in _INTEGERS and end not in _WIDER.get(start, ()):
        return "a number out of the range of the integer type has no defined result"
    if end not in (*_FLOATS, *_INTEGERS, _T.BOOL):
        return f"Cast to {end.name.lower()} is not followed"
    if g.sole_user(middle) is None:
        return f"the Cast to {through.name.lower()} has other readers, so nothing is saved"
    node.replace_input_with(0, source)
    g.drop_unread([middle])
    found.changed(g.label(node), f"Cast to {through.name.lower()} on the way to {end.name.lower()} removed")
    return None


def _to(node: ir.Node) -> ir.DataType:
    return ir.DataType(g.int_attribute(node, "to", 0))
