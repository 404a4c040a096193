"""QDQ graph -> the same arithmetic in operators that take and give codes.

    DQ(x), DQ(W), DQ(b) -> Conv -> Q              ==>  QLinearConv
    DQ(x), DQ(W) -> MatMul -> Q                   ==>  QLinearMatMul
    DQ(x), DQ(W)[, DQ(b)] -> MatMul or Gemm       ==>  Cast(MatMulInteger [+ b]) * (s_x s_W)
    DQ(x) -> an operator that moves values -> Q   ==>  the operator on codes

ONNX has no 8-bit Add, Concat or average pool: these stay in QDQ form, or become `com.microsoft` operators (QLinearAdd,
QLinearConcat, QLinearAveragePool, QLinearGlobalAveragePool, and QGemm for Gemm) where the caller allows them.

Source: ONNX operators QLinearConv-10, QLinearMatMul-10, MatMulInteger-10; ONNX Runtime ContribOperators.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from deploycompress.errors import UnsupportedError
from deploycompress.quantization.candidates import MOVERS, WEIGHTED, constant, key
from deploycompress.quantization.writer import Writer, prune_initializers

CONTRIB = "com.microsoft"
_POOLS = {"AveragePool": "QLinearAveragePool", "GlobalAveragePool": "QLinearGlobalAveragePool"}
_Triple = tuple[ir.Value, ir.Value, ir.Value]  # codes, scale, zero point


def to_qoperator(model: ir.Model, *, contrib: bool = False) -> ir.Model:
    """A copy of a QDQ graph in operator form; outputs are the same numbers.

    Args:
        model: What `emit_qdq` wrote.
        contrib: Whether operators of the domain `com.microsoft` may be used, which only ONNX Runtime runs.

    Raises:
        UnsupportedError: A layer has a form that the operators cannot hold: float bias or output, 16-bit codes.
    """
    copy = model.clone()
    writer = Writer(copy.graph)
    for node in list(copy.graph):
        if node.op_type in WEIGHTED and node.domain in ("", "ai.onnx"):
            _layer(writer, node, contrib)
        elif node.op_type in MOVERS:
            _mover(writer, node)
        elif contrib and node.op_type in ("Add", "Concat", *_POOLS):
            _joiner(writer, node)
    for node in reversed(list(copy.graph)):
        if node.op_type == "DequantizeLinear" and not node.outputs[0].uses() and not node.outputs[0].is_graph_output():
            copy.graph.remove(node, safe=True)
    prune_initializers(copy.graph)
    if any(node.domain == CONTRIB for node in copy.graph):
        copy.graph.opset_imports.setdefault(CONTRIB, 1)
    return copy


def _layer(writer: Writer, node: ir.Node, contrib: bool) -> None:
    """A Conv, Gemm or MatMul whose input and weight are codes; any other is left alone."""
    x, w = _codes(node.inputs[0]), _codes(node.inputs[1])
    if x is None or w is None or constant(w[0]) is None:
        return
    if any(_array(zero_point).dtype.itemsize > 1 for *_, zero_point in (x, w)):
        raise UnsupportedError(
            f"{node.op_type} {key(node)!r} has 16-bit codes; its operator form takes 8-bit ones", remedy="use QDQ"
        )
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = _bias_codes(bias_value)
    if bias_value is not None and bias is None:
        raise UnsupportedError(
            f"{node.op_type} {key(node)!r} has a float bias; its operator form takes int32", remedy="use QDQ"
        )
    requantized = _requantized(node.outputs[0])
    if node.op_type == "Conv":
        if requantized is None:
            raise UnsupportedError(
                f"Conv {key(node)!r} has a float output; QLinearConv gives codes", remedy="use QDQ for this target"
            )
        b = [] if bias is None else [bias]
        _replace(writer, node, requantized, "QLinearConv", [*x, *w, *_grid(requantized), *b])
    elif node.op_type == "MatMul" and requantized is not None:
        _replace(writer, node, requantized, "QLinearMatMul", [*x, *w, *_grid(requantized)])
    elif node.op_type == "Gemm" and contrib:
        inputs = [*x, *w, bias]
        made = writer.node("QGemm", inputs, [f"{key(node)}_gemm"], before=node, domain=CONTRIB)
        _take_over(writer, node, made)
    else:
        _integer_product(writer, node, x, w, bias)


def _integer_product(writer: Writer, node: ir.Node, x: _Triple, w: _Triple, bias: ir.Value | None) -> None:
    """MatMulInteger, the bias added to its int32 sums, one multiplication back to float."""
    name = key(node)
    zero = writer.constant(f"{w[2].name}_scalar", np.zeros((), np.int8))  # all zero points of a symmetric weight are 0
    made = writer.node("MatMulInteger", [x[0], w[0], x[2], zero], [f"{name}_int32"], before=node)
    if bias is not None:
        made = writer.node("Add", [made.outputs[0], bias], [f"{name}_biased"], before=node)
    made = writer.node("Cast", [made.outputs[0]], [f"{name}_float"], before=node, attributes={"to": ir.DataType.FLOAT})
    scale = writer.constant(f"{name}_scale", _array(x[1]) * _array(w[1]))
    _take_over(writer, node, writer.node("Mul", [made.outputs[0], scale], [f"{name}_scaled"], before=node))


def _mover(writer: Writer, node: ir.Node) -> None:
    """Lets a node that only moves values move the codes, where it takes and gives the same grid."""
    x, requantized = _codes(node.inputs[0]), _requantized(node.outputs[0])
    if x is None or requantized is None or len(node.outputs) != 1:
        return
    if not all(np.array_equal(_array(a), _array(b)) for a, b in zip(x[1:], _grid(requantized), strict=True)):
        return
    inputs = [x[0], *node.inputs[1:]]
    if node.op_type == "Pad":  # what is zero in float is the zero point in codes
        inputs = [x[0], node.inputs[1], x[2], *node.inputs[3:]]
    _replace(writer, node, requantized, node.op_type, inputs)


def _joiner(writer: Writer, node: ir.Node) -> None:
    """An Add, Concat or average pool of codes."""
    sources, requantized = [_codes(value) for value in node.inputs], _requantized(node.outputs[0])
    triples = [source for source in sources if source is not None]
    if requantized is None or len(triples) < len(sources):
        return
    flat = [value for triple in triples for value in triple]
    y = _grid(requantized)
    if node.op_type == "Add":
        _replace(writer, node, requantized, "QLinearAdd", [*flat, *y], domain=CONTRIB)
    elif node.op_type == "Concat":
        _replace(writer, node, requantized, "QLinearConcat", [*y, *flat], domain=CONTRIB)
    else:
        _replace(writer, node, requantized, _POOLS[node.op_type], [*flat, *y], domain=CONTRIB)


def _replace(
    writer: Writer, node: ir.Node, q: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], domain: str = ""
) -> None:
    """Puts one node on codes in the place of `node` and the QuantizeLinear `q` behind it."""
    attributes = dict(node.attributes)
    made = writer.node(op_type, inputs, [f"{q.outputs[0].name}_codes"], before=q, domain=domain)
    made.attributes.update(attributes)
    _take_over(writer, q, made)
    writer.graph.remove(node, safe=True)


def _take_over(writer: Writer, node: ir.Node, made: ir.Node) -> None:
    """`made` gives what `node` gave, under its name."""
    old, new = node.outputs[0], made.outputs[0]
    name, new.type, new.shape = old.name, old.type, old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    writer.graph.remove(node, safe=True)
    new.name = name


def _codes(value: ir.Value | None) -> _Triple | None:
    """(codes, scale, zero point) behind a DequantizeLinear."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or len(node.inputs) < 3:
        return None
    codes, scale, zero = node.inputs[:3]
    return None if codes is None or scale is None or zero is None else (codes, scale, zero)


def _bias_codes(value: ir.Value | None) -> ir.Value | None:
    """The int32 codes behind a DequantizeLinear; their zero point is 0 and not written."""
    node = None if value is None else value.producer()
    return node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else None


def _requantized(value: ir.Value) -> ir.Node | None:
    """The QuantizeLinear that alone reads a value."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.op_type != "QuantizeLinear":
        return None
    return uses[0].node


def _grid(q: ir.Node) -> tuple[ir.Value, ir.Value]:
    scale, zero = q.inputs[1], q.inputs[2]
    assert scale is not None
    assert zero is not None
    return scale, zero


def _array(value: ir.Value) -> np.ndarray:
    tensor = constant(value)
    assert tensor is not None
    return np.asarray(tensor.numpy())
