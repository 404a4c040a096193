"""model -> its signature: the inputs a user must feed, the outputs that come back.

An initializer that is also a graph input (IR 4 and above) is a default that a feed may override; it is left out.

Source: ONNX IR specification, "Graphs" ("initializer ... serve as default values for inputs").
"""

from __future__ import annotations

import onnx_ir as ir

from deploycompress.model.tensors import dtype_name
from deploycompress.records.signature import Signature, TensorSpec


def signature(model: ir.Model) -> Signature:
    """What `model` takes and gives, as the file says it."""
    defaults = model.graph.initializers
    return Signature(
        tuple(_spec(value) for value in model.graph.inputs if value.name not in defaults),
        tuple(_spec(value) for value in model.graph.outputs),
    )


def _spec(value: ir.Value) -> TensorSpec:
    name = value.name or ""
    if not isinstance(value.type, ir.TensorType) or value.type.dtype == ir.DataType.UNDEFINED:
        return TensorSpec(name, "", None)
    shape = None if value.shape is None else tuple(_dimension(dim) for dim in value.shape)
    return TensorSpec(name, dtype_name(value.type.dtype), shape)


def _dimension(dim: int | ir.SymbolicDim) -> int | str | None:
    if isinstance(dim, int):
        return dim if dim >= 0 else None  # old exporters wrote -1 for "any"
    return dim.value or None
