"""operator, opset -> which of its float32 inputs and outputs can be float16 or bfloat16, read from the operator schema.

A parameter of type variable T can change where T allows the half type; one of the fixed type tensor(float), such as the
scales of Resize, stays as it is; an operator with a float32 parameter that can do neither, such as Range, stays whole.

Source: onnx.defs (the operator schemas).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx.defs
import onnx_ir as ir

from deploycompress.passes.shapes import Shapes

FLOAT_TYPE = "tensor(float)"
_TYPE_NAMES = {ir.DataType.FLOAT16: "tensor(float16)", ir.DataType.BFLOAT16: "tensor(bfloat16)"}


@dataclass(frozen=True)
class Halves:
    """What can change about one node.

    Attributes:
        inputs: Positions of inputs that become half.
        outputs: Positions of outputs that become half.
        refusal: Why nothing can, or "".
    """

    inputs: frozenset[int] = frozenset()
    outputs: frozenset[int] = frozenset()
    refusal: str = ""


def halves(
    node: ir.Node, opset: int, half: ir.DataType, is_float: Sequence[bool], gives_float: Sequence[bool]
) -> Halves:
    """Which parameters of a standard node can become `half`.

    Args:
        node: A node of the standard domain.
        opset: The version it is read at.
        half: FLOAT16 or BFLOAT16.
        is_float: Whether each input is float32.
        gives_float: Whether each output is float32.
    """
    if node.domain not in ("", "ai.onnx"):
        return Halves(refusal=f"what {node.domain}.{node.op_type} takes is not known")
    try:
        schema = onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return Halves(refusal=f"what {node.op_type} takes is not known at opset {opset}")
    allowed = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    found: list[frozenset[int]] = []
    for parameters, floats in ((schema.inputs, is_float), (schema.outputs, gives_float)):
        positions = set()
        for position in (place for place, flag in enumerate(floats) if flag):
            kind = parameters[min(position, len(parameters) - 1)].type_str  # the last one may repeat
            if kind == FLOAT_TYPE:
                continue
            if _TYPE_NAMES[half] not in allowed.get(kind, ()):
                return Halves(refusal=f"{node.op_type} has no {half.name.lower()} form at opset {opset}")
            positions.add(position)
        found.append(frozenset(positions))
    return Halves(found[0], found[1])


def is_float32(value: ir.Value | None, types: Shapes) -> bool:
    """Whether a value, or the tensor behind it, is known to be float32."""
    if value is None:
        return False
    tensor = value.const_value
    return (types.dtypes.get(value) or (tensor.dtype if tensor is not None else value.dtype)) == ir.DataType.FLOAT
