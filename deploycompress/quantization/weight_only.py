"""float graph + how weights are stored -> plan and graph with packed weights; activations stay float.

    MatMul(x, W)  ==>  MatMul(x, DequantizeLinear(codes [K, N], scales [K / block, N], axis 0))
    Gemm(x, W, b) ==>  the same, with a transposed W stored as [K, N]

Standard operators alone. ONNX Runtime fuses the pair to MatMulNBits where the weight lies as [K, N] and blocks of 16,
32, 64, 128 or 256 run along K (or there is one scale a channel), also where the last block is shorter, with
codes of their own for each node and in the surroundings that `fusable` sees to. In any other form the weight would be
dequantized on every run. The kernel quantizes its input to int8 unless the session sets
`session.qdq_matmulnbits_accuracy_level` to 0.

Codes are computed when the file is written, one weight at a time, so a model of any size passes through.

Source: ONNX operator DequantizeLinear-21 (blocks, int4) and -25 (int2); ONNX Runtime, `DQMatMulToMatMulNBitsAction`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import onnx_ir as ir

from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.quantization.affine import QuantizedTensor
from deploycompress.quantization.blocks import assembled, grids, is_signed, quantize_blocks
from deploycompress.quantization.candidates import WEIGHTED, constant, key
from deploycompress.quantization.embeddings import plan_tables, write_tables
from deploycompress.quantization.fusable import free
from deploycompress.quantization.packing import code_dtype, stored
from deploycompress.quantization.qdq import require_opset
from deploycompress.quantization.spec import Bits, Levels, NodePlan, QuantPlan, Rounding, WeightSpec
from deploycompress.quantization.writer import Writer, is_transposed, matrix, prune_initializers
from deploycompress.targets import Target

BLOCKS = (16, 32, 64, 128, 256)  # others are not fused (8, 48 and 512 were tried)
_WORTH_BYTES = 1 << 10
_NONE: Mapping[str, WeightSpec] = MappingProxyType({})
_OUTPUTS_OF_2_BITS = 4  # measured: with any other number the fused kernel of ONNX Runtime 1.31 computes nonsense


def weight_spec(
    bits: Bits = 4, block: int | None = 32, levels: Levels = "uniform", rounding: Rounding = "nearest"
) -> WeightSpec:
    """How weights of so many bits are stored best: below 8 bits a fitted zero point is worth its bytes.

    Source: measured, docs/results.md, "Weights in few bits".
    """
    return WeightSpec(bits, block, symmetric=bits == 8 or levels != "uniform", levels=levels, rounding=rounding)


def needed_opset(spec: WeightSpec) -> int:
    """The first standard opset that holds such a weight."""
    if spec.bits == 2:
        return 25
    return 21 if spec.bits == 4 or spec.block is not None else 13


def require_supported(spec: WeightSpec, target: Target) -> None:
    """Refuses what cannot be stored, or not on this target.

    Raises:
        UsageError: The parts of `spec` contradict each other, or the kernel has no such block.
        UnsupportedError: The target reads no opset that holds it.
    """
    if spec.block is not None and spec.block not in BLOCKS:
        raise UsageError(
            f"blocks of {spec.block} are not fused to a kernel, the weights would be dequantized on every run",
            remedy=f"--block {', '.join(map(str, BLOCKS))}",
        )
    if spec.levels == "binary" and spec.rounding != "nearest":
        raise UsageError(f"binary weights have a sign and nothing to round, so {spec.rounding} does not apply")
    if needed_opset(spec) > target.max_opset:
        raise UnsupportedError(
            f"{spec.bits}-bit weights need opset {needed_opset(spec)}, {target.name} reads {target.max_opset}",
            remedy="--bits 4 holds the same levels at twice the size"
            if target.max_opset >= 21
            else "--bits 8 --block 0 holds one scale a channel",
        )


def plan_weight_only(
    model: ir.Model,
    target: Target,
    spec: WeightSpec,
    exclude: frozenset[str] = frozenset(),
    promoted: Mapping[str, WeightSpec] = _NONE,
) -> QuantPlan:
    """Which MatMul, Gemm and lookup tables of the main graph are stored in few bits.

    Args:
        model: The float graph.
        target: Its opset limit decides what can be stored.
        spec: How weights are stored; lookup tables always take 8 bits a row.
        exclude: First output names of nodes to keep float.
        promoted: How the weights of single nodes are stored instead, by first output name.

    Raises:
        UsageError: `spec` contradicts itself.
        UnsupportedError: The target cannot hold it.
    """
    require_supported(spec, target)
    nodes = {}
    for node in model.graph:
        if node.op_type in WEIGHTED and node.domain in ("", "ai.onnx"):
            own = promoted.get(key(node), spec)
            refusal = "excluded by the user" if key(node) in exclude else _why_float(node, own)
            nodes[key(node)] = NodePlan(
                key(node),
                node.name or "",
                node.op_type,
                "float" if refusal else "weight-only",
                refusal or _described(own),
                weight=None if refusal else own,
            )
    readers = {key(node): node for node in model.graph}
    for name, planned in nodes.items():  # a weight that somebody reads in float stays in the file
        weight = readers[name].inputs[1]
        if planned.form == "weight-only" and weight is not None:
            others = [use.node for use in weight.uses() if use.idx != 1 or nodes.get(key(use.node)) is None]
            others += [
                use.node for use in weight.uses() if key(use.node) in nodes and nodes[key(use.node)].form == "float"
            ]
            if others or weight.is_graph_output():
                reader = f"{others[0].op_type} {key(others[0])!r}" if others else "the caller"
                reason = f"{reader} reads its weight in float, so codes would only add to the file"
                nodes[name] = replace(planned, form="float", reason=reason, weight=None)
    return QuantPlan(
        target.name, {}, nodes | plan_tables(model, exclude), pair_safe=False, per_channel=True, quantize_bias=False
    )


def emit_weight_only(model: ir.Model, plan: QuantPlan, codes: Mapping[str, QuantizedTensor] | None = None) -> ir.Model:
    """A copy of `model` with the weights of `plan` packed.

    Args:
        model: The float graph, of an opset that holds the codes.
        plan: Says which, and how.
        codes: Codes [K, N] chosen beforehand, by first output name; the rest are rounded to nearest when written.

    Raises:
        UnsupportedError: The opset is too old.
    """
    specs = [p.weight for p in plan.nodes.values() if p.form == "weight-only" and p.op_type != "Gather" and p.weight]
    require_opset(model, max(map(needed_opset, specs), default=0))
    copy = model.clone()
    writer = Writer(copy.graph)
    for node in list(copy.graph):
        planned = plan.nodes.get(key(node))
        if planned is None or planned.weight is None or planned.form != "weight-only" or node.op_type == "Gather":
            continue
        weight = node.inputs[1]
        assert weight is not None
        constants = _stored(writer, weight, is_transposed(node), planned.weight, (codes or {}).get(key(node)))
        _rewrite(writer, node, constants, planned.weight)
    write_tables(writer, plan)
    prune_initializers(copy.graph)
    return copy


def _described(spec: WeightSpec) -> str:
    width = f"one scale a {'channel' if spec.block is None else f'block of {spec.block}'}"
    levels = f"{spec.bits}-bit" if spec.levels == "uniform" else f"{spec.levels} ({spec.bits}-bit codes)"
    return f"{levels} weights, {width}, dequantized inside the kernel"


def _why_float(node: ir.Node, spec: WeightSpec) -> str:
    """Why the weight of a node stays float, or "" where it can be packed."""
    if node.op_type == "Conv":
        return "no convolution reads packed weights: they would be dequantized on every run"
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    tensor = constant(weight)
    if weight is None or tensor is None:
        return "both its inputs are computed" if node.op_type == "MatMul" else "its weight is not constant"
    if len(tensor.shape) != 2:
        return f"its weight has {len(tensor.shape)} axes; the kernel takes two"
    if tensor.dtype != ir.DataType.FLOAT:
        return f"its weight is {tensor.dtype.name}, not FLOAT"
    if node.op_type == "Gemm" and (
        node.attributes.get_int("transA", 0) != 0
        or node.attributes.get_float("alpha", 1.0) != 1.0
        or node.attributes.get_float("beta", 1.0) != 1.0
    ):
        return "it has transA, alpha or beta, which the kernel does not take"
    outputs = tensor.size // _features(node, tensor)
    if spec.bits == 2 and outputs % _OUTPUTS_OF_2_BITS:
        return f"ONNX Runtime misreads 2-bit codes of {outputs} outputs, which is no multiple of {_OUTPUTS_OF_2_BITS}"
    blocks = -(-_features(node, tensor) // spec.block) if spec.block else 1
    scales = 4 * blocks * outputs
    saved = tensor.nbytes - (tensor.size * spec.bits // 8 + scales) * len(weight.uses())
    if saved < _WORTH_BYTES:
        return f"packed codes would save {max(0, saved):,} bytes"
    return ""


def _features(node: ir.Node, tensor: ir.TensorProtocol) -> int:
    rows, columns = tensor.shape.numpy()
    return int(columns if is_transposed(node) else rows)


def _stored(
    writer: Writer, weight: ir.Value, transposed: bool, spec: WeightSpec, codes: QuantizedTensor | None
) -> list[ir.Value]:
    """Initializers for the codes, the scales and, where it is not 0, the zero points of one weight."""
    tensor = weight.const_value
    assert tensor is not None
    dims = tensor.shape.numpy()
    shape = (dims[1], dims[0]) if transposed else (dims[0], dims[1])
    groups = (shape[1],) if spec.block is None else (-(-shape[0] // spec.block), shape[1])
    kind = code_dtype(spec.bits, signed=is_signed(spec))

    def parts() -> QuantizedTensor:
        return quantize_blocks(matrix(tensor, transposed=transposed), spec) if codes is None else codes

    def only_grids() -> QuantizedTensor:
        if codes is not None:
            return codes
        return assembled(np.empty((0, 0), np.int8), *grids(matrix(tensor, transposed=transposed), spec), spec)

    found = [
        writer.lazy(f"{weight.name}_quantized", kind, shape, lambda n: stored(parts().codes, spec.bits, name=n)),
        writer.lazy(f"{weight.name}_scale", ir.DataType.FLOAT, groups, lambda n: ir.tensor(only_grids().scale, name=n)),
    ]
    if not is_signed(spec):  # the zero point of signed codes is 0, which is what its absence means

        def zero_point(name: str) -> ir.TensorProtocol:
            return stored(only_grids().zero_point, spec.bits, name=name)

        found.append(writer.lazy(f"{weight.name}_zero_point", kind, groups, zero_point))
    return found


def _rewrite(writer: Writer, node: ir.Node, constants: list[ir.Value], spec: WeightSpec) -> None:
    """Puts a DequantizeLinear of its own in front of the node: the fusion takes none that two nodes read."""
    weight = node.inputs[1]
    assert weight is not None
    attributes = {"axis": 1} if spec.block is None else {"axis": 0, "block_size": spec.block}
    made = writer.node(
        "DequantizeLinear",
        constants,
        [f"{weight.name}_dequantized"],
        before=node,
        attributes=attributes,
        dtype=ir.DataType.FLOAT,
        shape=constants[0].shape,
    )
    node.replace_input_with(1, made.outputs[0])
    node.attributes.pop("transB", None)
    free(writer, node)
