"""GELU in any exporter's order ==> Gelu (opset 20), or the order that ONNX Runtime fuses into its own kernel (before).

x/2 (1 + erf(x / sqrt 2)), or x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))). ONNX Runtime 1.31 finds neither of them in
x * (1/2 * (1 + ...)), which is what torch.export writes, nor where x / sqrt 2 is a Mul or x^3 is not a Pow: up to opset
19 this pass writes (x * 1/2) * (1 + ...), with Div or Pow.

Source: ONNX operator Gelu (opset 20); Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016; ONNX Runtime,
`gelu_fusion.cc`, `fast_gelu_fusion.cc`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.products import Product, close, product, read_once, scalar, shifted
from deploycompress.passes.rewriting import insert, replace
from deploycompress.passes.rewriting import scalar as constant

_CUBIC, _SLOPE = 0.044715, math.sqrt(2 / math.pi)
_GELU_OPSET = 20


@dataclass(frozen=True)
class RewriteGelu:
    """Writes every GELU in the form with the fastest kernel."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "Erf", "Tanh"):
            return found.result(model, model)
        after = model.clone()
        for node in g.nodes(after):
            matched = _match(node) if g.is_op(node, "Mul") else None
            if matched is None or (g.opset(after) < _GELU_OPSET and _is_fused(node, matched)):
                continue
            name = g.label(node)
            if node.outputs[0].is_graph_output() and g.opset(after) < _GELU_OPSET:
                found.refused(name, "ONNX Runtime does not fuse a GELU that is a graph output")
                continue
            reason = replace(node, _write(after, node, matched))
            if reason is None:
                found.changed(name, f"GELU by {matched.kind} written in the form that has a kernel")
            else:
                found.refused(name, reason)
        return found.result(model, after)


@dataclass(frozen=True)
class _Gelu:
    x: ir.Value
    gate: ir.Value  # 1 + erf(...) or 1 + tanh(...)
    kind: str
    gate_is_fused: bool  # whether ONNX Runtime knows this way to write the gate


def _match(root: ir.Node) -> _Gelu | None:
    """The GELU that `root`, the last multiplication of it, computes."""
    whole = product(root.outputs[0])
    if len(whole.factors) != 2 or not close(whole.coefficient, 0.5):
        return None
    for x, gate in (whole.factors, whole.factors[::-1]):
        term = shifted(gate)
        inner = None if term is None or term.constant != 1 or not read_once(term.rest) else term.rest.producer()
        if inner is None or not g.is_op(inner, "Erf", "Tanh") or inner.inputs[0] is None:
            continue
        argument = product(inner.inputs[0], root=False)
        if inner.op_type == "Erf":
            if argument.factors == (x,) and close(argument.coefficient, math.sqrt(0.5)):
                return _Gelu(x, gate, "erf", g.is_op(inner.inputs[0].producer(), "Div"))
        elif close(argument.coefficient, _SLOPE) and _is_cubic(argument.factors, x):
            return _Gelu(x, gate, "tanh", any(g.is_op(use.node, "Pow") for use in x.uses()))
    return None


def _is_cubic(factors: tuple[ir.Value, ...], x: ir.Value) -> bool:
    """Whether the factors are x + 0.044715 x^3 alone, or x and 1 + 0.044715 x^2."""
    if len(factors) == 2 and x in factors:
        term = shifted(factors[1] if factors[0] is x else factors[0])
        return term is not None and term.constant == 1 and _is_power(term.rest, x, 2)
    node = factors[0].producer() if len(factors) == 1 and read_once(factors[0]) else None
    if node is None or not g.is_op(node, "Add") or x not in node.inputs:
        return False
    other = node.inputs[1] if node.inputs[0] is x else node.inputs[0]
    return other is not None and _is_power(other, x, 3)


def _is_power(value: ir.Value, x: ir.Value, power: int) -> bool:
    found = product(value, root=False)
    return found.factors == (x,) * power and close(found.coefficient, _CUBIC)


def _is_fused(root: ir.Node, gelu: _Gelu) -> bool:
    """Whether ONNX Runtime fuses the form as it stands."""
    halved = any(value is not None and product(value, root=False) == _half(gelu.x) for value in root.inputs)
    halved_last = gelu.kind == "erf" and any(scalar(value) == 0.5 for value in root.inputs)
    return gelu.gate_is_fused and (halved or halved_last)


def _half(x: ir.Value) -> Product:
    return Product(0.5, (x,))


def _write(model: ir.Model, root: ir.Node, gelu: _Gelu) -> ir.Value:
    """The best form of the GELU, before `root`."""
    name, x = g.label(root), gelu.x
    if g.opset(model) >= _GELU_OPSET:
        return insert(model, root, "Gelu", [x], f"{name}_gelu", approximate="none" if gelu.kind == "erf" else "tanh")
    gate = gelu.gate if gelu.gate_is_fused else _gate(model, root, gelu)
    halved = insert(model, root, "Mul", [x, constant(model, root, f"{name}_half", 0.5)], f"{name}_halved")
    return insert(model, root, "Mul", [halved, gate], f"{name}_gelu")


def _gate(model: ir.Model, root: ir.Node, gelu: _Gelu) -> ir.Value:
    """1 + erf(x / sqrt 2), or 1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)), as ONNX Runtime looks for them."""
    name, x = g.label(root), gelu.x
    if gelu.kind == "erf":
        argument = insert(
            model, root, "Div", [x, constant(model, root, f"{name}_root", math.sqrt(2))], f"{name}_scaled"
        )
    else:
        cube = insert(model, root, "Pow", [x, constant(model, root, f"{name}_three", 3)], f"{name}_cube")
        cubic = insert(model, root, "Mul", [cube, constant(model, root, f"{name}_cubic", _CUBIC)], f"{name}_cubed")
        total = insert(model, root, "Add", [x, cubic], f"{name}_sum")
        argument = insert(model, root, "Mul", [total, constant(model, root, f"{name}_slope", _SLOPE)], f"{name}_scaled")
    curve = insert(model, root, gelu.kind.capitalize(), [argument], f"{name}_{gelu.kind}")
    return insert(model, root, "Add", [curve, constant(model, root, f"{name}_one", 1)], f"{name}_gate")
