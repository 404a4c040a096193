"""f(a, b, ...) element by element: axes are aligned from the right, tied, and go on as they are.

Removed elements count as zeros that nothing reads any more, so f(0) need not be 0.
Source: ONNX, "Multidirectional Broadcasting"; PRelu and Clip broadcast their parameters alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import onnx_ir as ir

from deploycompress.pruning import axes as ax
from deploycompress.pruning.axes import Layout, Pick
from deploycompress.pruning.labels import Labels
from deploycompress.pruning.ties import tie
from deploycompress.pruning.trace import Rule, Trace

# fmt: off
_STANDARD = (
    "Abs", "Acos", "Acosh", "Add", "And", "Asin", "Asinh", "Atan", "Atanh", "BitShift", "Cast", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "Div", "Dropout", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean",
    "Min", "Mish", "Mod", "Mul", "Neg", "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tan", "Tanh",
    "ThresholdedRelu", "Where", "Xor",
)
_FUSED = ("BiasGelu", "FastGelu", "Gelu", "QuickGelu")
# fmt: on


def meeting(layouts: Sequence[Layout], labels: Labels) -> Layout:
    """Values broadcast against one another, as one."""
    return reduce(lambda a, b: _pair(a, b, labels), layouts)


def _pair(a: Layout, b: Layout, labels: Labels) -> Layout:
    if len(a.axes) < len(b.axes):
        a, b = b, a
    offset = len(a.axes) - len(b.axes)
    a, b = tie(a, b, [(offset + axis, axis) for axis in range(len(b.axes))], labels)
    if all(a.axes[offset + axis] or not b.axes[axis] for axis in range(len(b.axes))):
        return a
    parts = [Pick(a, n) if a.axes[n] or n < offset else Pick(b, n - offset) for n in range(len(a.axes))]
    return ax.assembled(parts, labels)


def elementwise(node: ir.Node, trace: Trace) -> Sequence[Layout] | str:
    """Any number of inputs; Dropout reads one of its own."""
    inputs = node.inputs[:1] if node.op_type in ("Dropout", "Cast") else node.inputs
    return [meeting([trace.of(value) for value in inputs if value is not None], trace.labels)]


RULES: dict[tuple[str, str], Rule] = {
    **{("", op_type): elementwise for op_type in _STANDARD},
    **{("com.microsoft", op_type): elementwise for op_type in _FUSED},
}
