"""clip(x + 3, 0, 6) / 6 ==> HardSigmoid(x), and x * HardSigmoid(x) ==> HardSwish(x), in any order of factors.

ONNX Runtime computes both inside the convolution before them; spelt out they are three or four sweeps over memory.
Source: ONNX operators HardSigmoid (alpha = 1/6, beta = 1/2) and HardSwish (opset 14); Howard et al., "Searching for
MobileNetV3", ICCV 2019, section 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.merge_clamps import clamp
from deploycompress.passes.products import close, product, read_once, shifted
from deploycompress.passes.rewriting import insert, replace

_HARD_SWISH_OPSET = 14


@dataclass(frozen=True)
class RecogniseHardActivations:
    """Writes HardSigmoid and HardSwish as the operators they are."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Clip", "HardSigmoid"):
            return found.result(model, model)
        after = model.clone()
        for node in g.nodes(after):
            if node.graph is None or not g.is_op(node, "Mul", "Div"):
                continue  # gone with the activation that was written in its place, or of another kind
            name = g.label(node)
            new = _write(after, node)
            if new is None:
                continue
            op_type = "" if new.producer() is None else new.producer().op_type  # type: ignore[union-attr]
            reason = replace(node, new)
            if reason is None:
                found.changed(name, f"{op_type} written as one operator")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _write(model: ir.Model, root: ir.Node) -> ir.Value | None:
    """The activation that `root`, its last multiplication or division, computes, as a new node; else None."""
    whole = product(root.outputs[0])
    name = g.label(root)
    if len(whole.factors) == 1:
        x = _shifted_relu6(whole.factors[0])
        if x is None or not close(whole.coefficient, 1 / 6):
            return None
        return insert(model, root, "HardSigmoid", [x], f"{name}_hard", alpha=1 / 6, beta=0.5)
    if len(whole.factors) != 2 or g.opset(model) < _HARD_SWISH_OPSET:
        return None
    for x, gate in (whole.factors, whole.factors[::-1]):
        by_clip = _shifted_relu6(gate) is x and close(whole.coefficient, 1 / 6)
        if by_clip or (_hard_sigmoid_of(gate) is x and whole.coefficient == 1):
            return insert(model, root, "HardSwish", [x], f"{name}_hard")
    return None


def _shifted_relu6(value: ir.Value) -> ir.Value | None:
    """`x` where the value, which nothing else reads, is clip(x + 3, 0, 6)."""
    node = value.producer()
    if node is None or not g.is_op(node, "Clip") or not read_once(value) or node.inputs[0] is None:
        return None
    relu6 = clamp(node)
    term = shifted(node.inputs[0])
    if relu6 is None or (relu6.low, relu6.high) != (0, 6) or term is None or term.constant != 3:
        return None
    return term.rest


def _hard_sigmoid_of(value: ir.Value) -> ir.Value | None:
    """`x` where the value, which nothing else reads, is HardSigmoid(x) with the slope of HardSwish."""
    node = value.producer()
    if node is None or not g.is_op(node, "HardSigmoid") or not read_once(value):
        return None
    alpha, beta = g.float_attribute(node, "alpha", 0.2), g.float_attribute(node, "beta", 0.5)
    return node.inputs[0] if close(alpha, 1 / 6) and beta == 0.5 else None
