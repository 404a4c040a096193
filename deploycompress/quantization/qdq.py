"""float graph + static plan -> standard ONNX QDQ graph.

    x -> Conv(W, b) -> Relu -> y   ==>   DQ(Q(x)) -> Conv(DQ(W8), DQ(b32)) -> Q -> DQ -> y
    x -> Gemm(W, b) -> y           ==>   DQ(Q(x)) -> Gemm(DQ(W8), DQ(b32)) -> y
    lookups in tables              ==>   see `embeddings`

W8 is symmetric int8 per output channel, b32 is int32 on the accumulator's grid, a Relu whose bound is the edge of the
output grid disappears into saturation. ONNX Runtime fuses the two forms to QLinearConv and QGemm.

Source: ONNX operators QuantizeLinear-13 and DequantizeLinear-13; ONNX Runtime QDQ selectors.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration.gram import LayerInput
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.affine import (
    Grid,
    QuantizedTensor,
    min_weight_scale,
    quantize_bias,
)
from deploycompress.quantization.bias_correction import convolution_shift, product_shift
from deploycompress.quantization.candidates import WEIGHTED, constant, is_depthwise, key
from deploycompress.quantization.embeddings import write_tables
from deploycompress.quantization.gptq_int8 import rounded_int8
from deploycompress.quantization.spec import NodePlan, QuantPlan
from deploycompress.quantization.wide import MIN_OPSET_WIDE, WIDE
from deploycompress.quantization.writer import Writer, bias_vector, float_weight, prune_initializers, weight_codes

MIN_OPSET = 13  # the first with a channel axis on DequantizeLinear


def emit_qdq(model: ir.Model, plan: QuantPlan) -> ir.Model:
    """A quantized copy of `model`.

    Raises:
        UnsupportedError: The model's opset is older than 13, or than 21 where activations have 16 bits.
    """
    require_opset(model, min_opset(plan))
    copy = model.clone()
    writer = Writer(copy.graph)
    nodes = {key(node): node for node in copy.graph}
    for name, node_plan in plan.nodes.items():
        if node_plan.form == "int8" and node_plan.op_type in WEIGHTED:
            _quantize_constants(writer, nodes[name], plan)
            if node_plan.op_type == "MatMul" and name not in plan.activations:
                keep_bias_apart(nodes[name])
    values = {str(value.name): value for value in (*copy.graph.inputs, *(v for n in copy.graph for v in n.outputs))}
    for node_plan in plan.nodes.values():
        if node_plan.absorbs is not None:
            _absorb(nodes[node_plan.node], nodes[node_plan.absorbs], values)
    for name, spec in plan.activations.items():
        if spec.placement == "output":
            _quantize_output(writer, values[name], spec.grid)
        else:
            _quantize_input(writer, values[name], spec.grid, plan)
    for name, node_plan in plan.nodes.items():
        if node_plan.form == "float" and node_plan.op_type in ("Conv", "Gemm") and name in nodes:
            _keep_float(writer, nodes[name])
    write_tables(writer, plan)
    prune_initializers(copy.graph)
    return copy


def min_opset(plan: QuantPlan) -> int:
    """The oldest opset that can hold what a static plan says."""
    return MIN_OPSET_WIDE if any(spec.grid.dtype in WIDE for spec in plan.activations.values()) else MIN_OPSET


def require_opset(model: ir.Model, minimum: int) -> None:
    """Refuses a model whose default opset is older than `minimum`.

    Raises:
        UnsupportedError: Names both versions.
    """
    version = model.graph.opset_imports.get("", 0)
    if version < minimum:
        raise UnsupportedError(
            f"the model has opset {version} and the quantized form needs {minimum}",
            remedy="raise it first; `deploycompress quantize` does so by itself",
        )


def _quantize_constants(writer: Writer, node: ir.Node, plan: QuantPlan) -> None:
    """Replaces the weight and bias of a Conv, Gemm or MatMul by dequantized codes."""
    source, weight_value = node.inputs[0], node.inputs[1]
    assert source is not None
    assert weight_value is not None
    weight, axis = float_weight(node)
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    input_scale = plan.activations[str(source.name)].grid.scale
    bias: NDArray[np.float32] | None = None
    floor: NDArray[np.float64] | float = 0.0
    if bias_value is not None:
        assert bias_value.const_value is not None
        bias = bias_vector(bias_value.const_value.numpy(), weight.shape[axis])
        floor = min_weight_scale(bias, input_scale) if plan.quantize_bias else 0.0
    depthwise = is_depthwise(node, weight.shape)
    codes = weight_codes(weight, axis, plan, floor=floor, depthwise=depthwise)
    layer = LayerInput.of(node)
    gram = None if layer is None else plan.grams.get(layer)
    if gram is not None:
        codes = rounded_int8(weight, codes, axis, gram.products, pair_safe=plan.pair_safe, depthwise=depthwise)
    node.replace_input_with(1, writer.dequantized(str(weight_value.name), codes, node))
    shift = _shift(node, weight, codes, plan.input_means.get(str(source.name)))
    if shift is not None:
        bias = (shift if bias is None else bias + shift).astype(np.float32)
    if bias is not None and (plan.quantize_bias or shift is not None):
        stem = str(bias_value.name) if bias_value is not None else f"{key(node)}_bias"
        _replace_bias(writer, node, stem, bias, input_scale, codes, plan)
    if node.op_type == "Gemm":
        for attribute in ("transA", "transB", "alpha", "beta"):
            node.attributes.pop(attribute, None)


def keep_bias_apart(node: ir.Node) -> None:
    """Writes the Add of a constant behind a MatMul as Sum, which ONNX Runtime leaves alone.

    It would make MatMul and Add a Gemm wherever it knows the shapes, and then miss the int32 bias of its 8-bit Gemm:
    the product would run in float, its weight turned back from codes on every run.

    Source: ONNX Runtime, `matmul_add_fusion.cc` (level 1, before the QDQ selectors of level 2).
    """
    for consumer in tuple(node.outputs[0].consumers()):
        if consumer.op_type == "Add" and any(constant(value) is not None for value in consumer.inputs):
            consumer.op_type = "Sum"


def _shift(
    node: ir.Node, weight: NDArray[np.float32], codes: QuantizedTensor, mean: NDArray[np.float64] | None
) -> NDArray[np.float64] | None:
    """What rounding the weight moved the mean of each output by; None where the mean input is not known."""
    if mean is None or node.op_type == "MatMul":  # which has no bias to correct
        return None
    if node.op_type == "Conv":
        return convolution_shift(weight, codes.dequantize(), mean)
    return product_shift(weight, codes.dequantize(), mean)


def _replace_bias(
    writer: Writer,
    node: ir.Node,
    stem: str,
    bias: NDArray[np.float32],
    input_scale: float,
    codes: QuantizedTensor,
    plan: QuantPlan,
) -> None:
    """Gives the node this bias, as int32 codes or as float."""
    if not plan.quantize_bias:
        value = writer.constant(f"{stem}_corrected", bias)
    else:
        codes32 = quantize_bias(bias, input_scale, codes.scale)
        if not plan.per_channel:  # one scale for the whole bias too
            codes32 = QuantizedTensor(
                codes32.codes, codes32.scale[:1].reshape(()), codes32.zero_point[:1].reshape(()), None
            )
        value = writer.dequantized(stem, codes32, node)
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, value)


def _absorb(node: ir.Node, clamp: ir.Node, values: dict[str, ir.Value]) -> None:
    """Removes a Relu or Clip; the node in front takes over its output name."""
    result, raw = clamp.outputs[0], node.outputs[0]
    name = str(result.name)
    raw.type, raw.shape = raw.type or result.type, raw.shape or result.shape
    result.replace_all_uses_with(raw, replace_graph_outputs=True)
    assert clamp.graph is not None
    clamp.graph.remove(clamp, safe=True)
    raw.name = name
    values[name] = raw


def _quantize_output(writer: Writer, value: ir.Value, to: Grid) -> None:
    """Writes value -> Q -> DQ; every consumer, graph output and subgraph reads the dequantized value."""
    producer = value.producer()
    assert producer is not None
    name = str(value.name)
    q, dq = writer.pair(value, to, name, after=producer)
    result = dq.outputs[0]
    uses = [use for use in value.uses() if use.node is not q]
    for use in uses:
        use.node.replace_input_with(use.idx, result)
    if value.is_graph_output():
        for position, output in enumerate(writer.graph.outputs):
            if output is value:
                writer.graph.outputs[position] = result
        value.name = writer.name(f"{name}_float")
        result.name = name


def _quantize_input(writer: Writer, value: ir.Value, to: Grid, plan: QuantPlan) -> None:
    """Writes value -> Q -> DQ for its 8-bit consumers alone, once for all or once for each; others read on in float."""
    consumers = [use for use in value.uses() if _reads_int8(use.node, use.idx, plan)]
    producer = value.producer()
    for readers in [[use] for use in consumers] if plan.dedicated_pairs else [consumers]:
        _, dq = writer.pair(value, to, str(value.name), after=producer)
        for use in readers:
            use.node.replace_input_with(use.idx, dq.outputs[0])


def _keep_float(writer: Writer, node: ir.Node) -> None:
    """Puts a Sum of one between a float Conv or Gemm and the Q behind it, where its input is dequantized.

    ONNX Runtime would quantize its weight on its own, with one scale for all channels (measured: the outputs of a
    depthwise net become noise). A Sum of one copies; no transformer looks through it.

    Source: ONNX Runtime, `weight_bias_quantization.cc`: DequantizeLinear -> node [-> Relu or Clip] -> QuantizeLinear.
    """
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    if source is None or source.op_type != "DequantizeLinear":
        return
    value = node.outputs[0]
    while len(value.uses()) == 1 and not value.is_graph_output():
        (use,) = value.uses()
        if use.node.op_type == "QuantizeLinear":
            name = f"{value.name}_kept_float"
            shape = value.shape
            kept = writer.node("Sum", [value], [name], before=use.node, dtype=ir.DataType.FLOAT, shape=shape)
            use.node.replace_input_with(use.idx, kept.outputs[0])
            return
        if use.node.op_type not in ("Relu", "Clip"):
            return
        value = use.node.outputs[0]


def _reads_int8(node: ir.Node, position: int, plan: QuantPlan) -> bool:
    planned: NodePlan | None = plan.nodes.get(key(node)) or _by_absorbed(plan, key(node))
    return planned is not None and planned.form == "int8" and (position == 0 or planned.op_type not in WEIGHTED)


def _by_absorbed(plan: QuantPlan, name: str) -> NodePlan | None:
    """The plan of a node that took over the output name of the clamp it absorbed."""
    return next((planned for planned in plan.nodes.values() if planned.absorbs == name), None)
