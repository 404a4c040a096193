"""float graph + dynamic plan -> graph whose activation scales are found at run time; no calibration.

    MatMul(x, W)  ==>  q, s, z = DynamicQuantizeLinear(x)
                       Cast(MatMulInteger(q, W8, z)) * (s * s_W)   [+ bias]

Gemm becomes the same with its bias added. ONNX Runtime fuses the chain to DynamicQuantizeMatMul. One
DynamicQuantizeLinear serves all consumers of a tensor. Codes are computed when the file is written, one weight at a
time.

Source: ONNX operators DynamicQuantizeLinear-11 and MatMulInteger-10.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.quantization.affine import symmetric_codes
from deploycompress.quantization.candidates import key
from deploycompress.quantization.embeddings import write_tables
from deploycompress.quantization.qdq import require_opset
from deploycompress.quantization.spec import QuantPlan
from deploycompress.quantization.writer import (
    Writer,
    bias_vector,
    is_transposed,
    matrix,
    prune_initializers,
    weight_scale,
)

MIN_OPSET = 11  # DynamicQuantizeLinear


def emit_dynamic(model: ir.Model, plan: QuantPlan) -> ir.Model:
    """A copy of `model` with its planned MatMul and Gemm nodes in dynamic int8.

    Raises:
        UnsupportedError: The model's opset is older than 11.
    """
    require_opset(model, MIN_OPSET)
    copy = model.clone()
    writer = Writer(copy.graph)
    quantized: dict[ir.Value, ir.Node] = {}
    for node in list(copy.graph):
        planned = plan.nodes.get(key(node))
        if planned is not None and planned.form == "dynamic int8":
            _rewrite(writer, node, plan, quantized)
    write_tables(writer, plan)
    prune_initializers(copy.graph)
    return copy


def _rewrite(writer: Writer, node: ir.Node, plan: QuantPlan, quantized: dict[ir.Value, ir.Node]) -> None:
    source, weight_value = node.inputs[0], node.inputs[1]
    assert source is not None
    assert weight_value is not None
    w, w_scale = _stored(writer, weight_value, is_transposed(node), plan)
    w_zero = writer.constant(f"{weight_value.name}_zero_point", np.array(0, np.int8))
    if source not in quantized:
        names = [f"{source.name}_{part}" for part in ("quantized", "scale", "zero_point")]
        quantized[source] = writer.node("DynamicQuantizeLinear", [source], names, after=source.producer())
    q, scale, zero = quantized[source].outputs
    out = node.outputs[0]
    product = writer.node("MatMulInteger", [q, w, zero, w_zero], [f"{out.name}_int32"], before=node)
    cast = writer.node(
        "Cast", [product.outputs[0]], [f"{out.name}_float"], before=node, attributes={"to": ir.DataType.FLOAT}
    )
    scales = writer.node("Mul", [scale, w_scale], [f"{out.name}_scale"], before=node)
    result = writer.node("Mul", [cast.outputs[0], scales.outputs[0]], [f"{out.name}_scaled"], before=node)
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    if bias_value is not None:
        assert bias_value.const_value is not None
        assert w.const_value is not None
        vector = bias_vector(bias_value.const_value.numpy(), w.const_value.shape.numpy()[1])
        bias = writer.constant(f"{bias_value.name}_vector", vector)
        result = writer.node("Add", [result.outputs[0], bias], [f"{out.name}_biased"], before=node)
    final = result.outputs[0]
    final.dtype, final.shape = ir.DataType.FLOAT, out.shape
    name = out.name
    out.replace_all_uses_with(final, replace_graph_outputs=True)
    writer.graph.remove(node, safe=True)
    final.name = name


def _stored(writer: Writer, weight: ir.Value, transposed: bool, plan: QuantPlan) -> tuple[ir.Value, ir.Value]:
    """Initializers for the codes [K, N] and the scale of one weight."""
    tensor = weight.const_value
    assert tensor is not None
    dims = tensor.shape.numpy()
    shape = (dims[1], dims[0]) if transposed else (dims[0], dims[1])

    def scale(name: str) -> ir.TensorProtocol:
        return ir.tensor(weight_scale(matrix(tensor, transposed=transposed), 1, plan), name=name)

    def codes(name: str) -> ir.TensorProtocol:
        assert scales.const_value is not None
        channels = 1 if plan.per_channel else None
        values = matrix(tensor, transposed=transposed)
        return ir.tensor(symmetric_codes(values, scales.const_value.numpy(), channels), name=name)

    stored = writer.lazy(f"{weight.name}_quantized", ir.DataType.INT8, shape, codes)
    channels = (shape[1],) if plan.per_channel else ()
    scales = writer.lazy(f"{weight.name}_scale", ir.DataType.FLOAT, channels, scale, kept=True)
    return stored, scales
