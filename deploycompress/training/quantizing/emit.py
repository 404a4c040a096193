"""float ONNX graph with the weights of `layers.plain`, the quantized layers -> graph with the very codes trained.

    input float       MatMul(x, W)        ==>  MatMul(x, DequantizeLinear(codes [K, N] in 8, 4 or 2 bits))
    input quantized   Conv(x, W, b)       ==>  Conv(DQ(Q(x)), DQ(codes int8), DQ(b int32))
                      below 8 bits        ==>  Q(Clip(x, qmin s, qmax s)), codes in 8-bit containers for 8-bit kernels

A layer is found in the graph by its weight, value for value: whatever an exporter calls it, and whether it transposes
it. A weight that is not there as trained (normalisation was folded into it) is refused.

Source: ONNX operators QuantizeLinear-13, DequantizeLinear-13, -21 (int4) and -25 (int2).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress import model as onnx_file
from deploycompress.errors import InvalidOutputError
from deploycompress.quantization.affine import Grid, QuantizedTensor
from deploycompress.quantization.candidates import WEIGHTED, constant, key
from deploycompress.quantization.packing import stored
from deploycompress.quantization.qdq import keep_bias_apart
from deploycompress.quantization.spec import Bits, NodePlan, QuantPlan, WeightSpec
from deploycompress.quantization.weight_only import emit_weight_only, needed_opset
from deploycompress.quantization.writer import Writer, float_weight, prune_initializers
from deploycompress.training.quantizing.layers import Quantized

_OUTPUTS_OF_2_BITS = 4  # with another number ONNX Runtime's 2-bit kernel computes nonsense: those take 4 bits


def emit(model: ir.Model, layers: Mapping[str, Quantized]) -> ir.Model:
    """A copy of the exported float graph with the codes of `layers`.

    Raises:
        InvalidOutputError: The graph does not hold the weight of a layer as it was trained, or holds it for two.
    """
    codes = {name: layer.weight_codes() for name, layer in layers.items()}
    opset = max((needed_opset(WeightSpec(layer.weight_quantizer.grid.bits)) for layer in layers.values()), default=0)
    copy = onnx_file.raise_opset(model, opset).clone()
    found = _nodes(copy, codes)
    writer = Writer(copy.graph)
    packed: dict[str, tuple[NodePlan, QuantizedTensor]] = {}
    for name, nodes in found.items():
        for node in nodes:
            lying = _lying(codes[name], node)
            if layers[name].input_quantizer is not None:
                _quantize(writer, node, layers[name], lying)
            elif node.op_type == "Conv":
                _store(writer, node, lying)
            else:
                spec = WeightSpec(_container(lying))
                form = NodePlan(key(node), node.name or "", node.op_type, "weight-only", "trained so", weight=spec)
                packed[key(node)] = form, _per_channel(lying, spec)
    plan = QuantPlan("", {}, {at: form for at, (form, _) in packed.items()}, False, True, False)
    prune_initializers(copy.graph)
    return emit_weight_only(copy, plan, {at: tensor for at, (_, tensor) in packed.items()})


def _nodes(model: ir.Model, codes: Mapping[str, QuantizedTensor]) -> dict[str, list[ir.Node]]:
    """The nodes of each layer, found by the values of their weights."""
    constants = [
        node for node in model.graph if node.op_type in WEIGHTED and len(node.inputs) > 1 and constant(node.inputs[1])
    ]
    found: dict[str, list[ir.Node]] = {}
    owners: dict[ir.Node, str] = {}
    for name, code in codes.items():
        trained = code.dequantize()
        found[name] = [node for node in constants if _same(trained, node)]
        if not found[name]:
            raise InvalidOutputError(
                f"the exported graph does not hold the weight of {name} as it was trained",
                remedy="fold normalisation before training (qat does), or exclude the layer",
            )
        for node in found[name]:
            if owners.setdefault(node, name) != name:
                raise InvalidOutputError(
                    f"layers {owners[node]} and {name} have the same weights: they cannot be told apart"
                )
    return found


def _same(trained: NDArray[np.float32], node: ir.Node) -> bool:
    weight, _ = float_weight(node)
    return np.array_equal(weight, trained if node.op_type == "Conv" else trained.T)


def _lying(codes: QuantizedTensor, node: ir.Node) -> QuantizedTensor:
    """The codes as the node reads them: [O, I, ...] for a convolution, else [K, N]."""
    if node.op_type == "Conv":
        return codes
    axis = None if codes.axis is None else 1
    return QuantizedTensor(np.ascontiguousarray(codes.codes.T), codes.scale, codes.zero_point, axis, bits=codes.bits)


def _container(codes: QuantizedTensor) -> Bits:
    """Bits in which codes [K, N] are stored."""
    if codes.bits == 2:
        return 4 if codes.codes.shape[1] % _OUTPUTS_OF_2_BITS else 2
    return 4 if codes.bits == 4 else 8


def _per_channel(codes: QuantizedTensor, spec: WeightSpec) -> QuantizedTensor:
    """The same values with a scale for every output channel, as the kernel wants them."""
    channels = codes.codes.shape[1]
    scale = np.broadcast_to(codes.scale, (channels,)).copy()
    return QuantizedTensor(codes.codes, scale, np.zeros(channels, np.int8), 1, bits=spec.bits)


def _quantize(writer: Writer, node: ir.Node, layer: Quantized, codes: QuantizedTensor) -> None:
    """Quantized input, weight and bias, for the 8-bit kernels."""
    source, weight, quantizer = node.inputs[0], node.inputs[1], layer.input_quantizer
    assert source is not None
    assert weight is not None
    assert quantizer is not None
    stem, scale, signed = f"{key(node)}_input", quantizer.scale, quantizer.grid.signed
    producer = source.producer()
    if quantizer.grid.bits < 8:
        low, high = (np.array(np.float32(edge) * np.float32(scale)) for edge in quantizer.grid.codes)
        limits = [writer.constant(f"{stem}_low", low), writer.constant(f"{stem}_high", high)]
        clip = writer.node(
            "Clip", [source, *limits], [f"{stem}_clipped"], before=node, dtype=ir.DataType.FLOAT, shape=source.shape
        )
        source, producer = clip.outputs[0], clip
    _, dequantized = writer.pair(source, Grid(scale, 0, "int8" if signed else "uint8"), stem, after=producer)
    node.replace_input_with(0, dequantized.outputs[0])
    node.replace_input_with(1, writer.dequantized(str(weight.name), codes, node))
    bias = layer.bias_codes()
    if len(node.inputs) > 2 and bias is not None:
        node.replace_input_with(2, writer.dequantized(f"{weight.name}_bias", bias, node))
    if node.op_type == "Gemm":
        node.attributes.pop("transB", None)
    if node.op_type == "MatMul":
        keep_bias_apart(node)


def _store(writer: Writer, node: ir.Node, codes: QuantizedTensor) -> None:
    """The weight of a convolution as codes of its own width, dequantized in front of it."""
    weight = node.inputs[1]
    assert weight is not None
    stem = str(weight.name)
    packed = writer.lazy(
        f"{stem}_quantized",
        stored(codes.codes, codes.bits, name=stem).dtype,
        codes.codes.shape,
        lambda name: stored(codes.codes, codes.bits, name=name),
    )
    scale = writer.constant(f"{stem}_scale", codes.scale)
    made = writer.node(
        "DequantizeLinear",
        [packed, scale],
        [f"{stem}_dequantized"],
        before=node,
        attributes=None if codes.axis is None else {"axis": codes.axis},
        dtype=ir.DataType.FLOAT,
        shape=packed.shape,
    )
    node.replace_input_with(1, made.outputs[0])
