"""Small helpers that every emitter shares: unique names, constants, nodes before a consumer, quantized weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.quantization.affine import Grid, QuantizedTensor, pair_safe_scale, symmetric_codes, symmetric_scale
from deploycompress.quantization.spec import QuantPlan


@dataclass
class Writer:
    """Adds nodes and initializers to one graph under names that are not taken.

    Attributes:
        graph: The graph being written.
        taken: Every value name in the model, subgraphs included.
    """

    graph: ir.Graph
    taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for node in self.graph.all_nodes():
            self.taken.update(str(value.name) for value in node.outputs)
        for graph in (self.graph, *self.graph.subgraphs()):
            self.taken.update(str(value.name) for value in graph.inputs)
            self.taken.update(graph.initializers)

    def name(self, wanted: str) -> str:
        """`wanted`, or `wanted_1`, `wanted_2` ... where it is taken; the name is taken from now on."""
        free, number = wanted, 0
        while free in self.taken:
            number += 1
            free = f"{wanted}_{number}"
        self.taken.add(free)
        return free

    def constant(self, wanted: str, array: NDArray[np.generic]) -> ir.Value:
        """A new initializer."""
        name = self.name(wanted)
        value = ir.val(name, const_value=ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name))
        self.graph.register_initializer(value)
        return value

    def lazy(
        self,
        wanted: str,
        dtype: ir.DataType,
        shape: tuple[int, ...],
        made: Callable[[str], ir.TensorProtocol],
        *,
        kept: bool = False,
    ) -> ir.Value:
        """A new initializer whose tensor `made(name)` computes when the file is written.

        Args:
            wanted: Name, unless it is taken.
            dtype: Element type of the tensor.
            shape: Its shape.
            made: Makes it, of the name given.
            kept: Whether it is kept once made: for small ones that others are computed from.
        """
        name = self.name(wanted)
        tensor = ir.LazyTensor(lambda: made(name), dtype, ir.Shape(shape), cache=kept, name=name)
        value = ir.val(name, dtype=dtype, shape=ir.Shape(shape), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        outputs: Sequence[str],
        *,
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        attributes: Mapping[str, Any] | None = None,
        dtype: ir.DataType | None = None,
        shape: ir.Shape | None = None,
        domain: str = "",
    ) -> ir.Node:
        """A new node in front of `before`, behind `after`, or at the start of the graph."""
        name = self.name(f"{outputs[0]}/{op_type}")
        made = ir.node(op_type, inputs, attributes, domain=domain, num_outputs=len(outputs), name=name)
        for value, wanted in zip(made.outputs, outputs, strict=True):
            value.name = self.name(wanted)
        if dtype is not None:
            made.outputs[0].dtype = dtype
            made.outputs[0].shape = shape
        if before is not None:
            self.graph.insert_before(before, made)
        elif after is not None:
            self.graph.insert_after(after, made)
        else:
            first = next(iter(self.graph), None)
            self.graph.append(made) if first is None else self.graph.insert_before(first, made)
        return made

    def dequantized(self, stem: str, tensor: QuantizedTensor, before: ir.Node) -> ir.Value:
        """`DequantizeLinear` over constant codes, in front of their consumer."""
        inputs = [
            self.constant(f"{stem}_quantized", tensor.codes),
            self.constant(f"{stem}_scale", tensor.scale),
        ]
        if tensor.codes.dtype != np.int32:  # a bias, whose zero point is 0 and is 4 bytes an element to say so
            inputs.append(self.constant(f"{stem}_zero_point", tensor.zero_point))
        attributes = None if tensor.axis is None or tensor.scale.ndim == 0 else {"axis": tensor.axis}
        shape = ir.Shape(tensor.codes.shape)
        return self.node(
            "DequantizeLinear",
            inputs,
            [f"{stem}_dequantized"],
            before=before,
            attributes=attributes,
            dtype=ir.DataType.FLOAT,
            shape=shape,
        ).outputs[0]

    def pair(self, value: ir.Value, to: Grid, stem: str, *, after: ir.Node | None) -> tuple[ir.Node, ir.Node]:
        """QuantizeLinear of `value` and the DequantizeLinear behind it; nobody reads them yet."""
        scale = self.constant(f"{stem}_scale", np.array(to.scale, np.float32))
        zero = self.constant(f"{stem}_zero_point", np.array(to.zero_point, to.dtype))
        codes = ir.DataType[to.dtype.upper()]
        q = self.node(
            "QuantizeLinear", [value, scale, zero], [f"{stem}_quantized"], after=after, dtype=codes, shape=value.shape
        )
        dq = self.node(
            "DequantizeLinear",
            [q.outputs[0], scale, zero],
            [f"{stem}_dequantized"],
            after=q,
            dtype=ir.DataType.FLOAT,
            shape=value.shape,
        )
        return q, dq


def prune_initializers(graph: ir.Graph) -> None:
    """Drops initializers that nothing reads any more, so that float weights do not stay in the file."""
    outputs = {value.name for value in graph.outputs}
    for name, value in list(graph.initializers.items()):
        if not value.uses() and name not in outputs and not value.is_graph_input():
            del graph.initializers[name]


def float_weight(node: ir.Node) -> tuple[NDArray[np.floating], int]:
    """The weight of a Conv [O, I, ...], or of a Gemm or MatMul as [K, N], with its output-channel axis."""
    value = node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    return matrix(value.const_value, transposed=is_transposed(node)), 0 if node.op_type == "Conv" else 1


def is_transposed(node: ir.Node) -> bool:
    """Whether the weight of a MatMul or Gemm lies as [N, K]."""
    return node.op_type == "Gemm" and bool(node.attributes.get_int("transB", 0))


def matrix(tensor: ir.TensorProtocol, *, transposed: bool) -> NDArray[np.floating]:
    """The weight, a transposed one as [K, N]; one on disk is mapped anew, so that its pages go when the array does."""
    if isinstance(tensor, ir.ExternalTensor):
        tensor = ir.ExternalTensor(
            tensor.location,
            tensor.offset,
            tensor.length,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=tensor.name or "",
            base_dir=tensor.base_dir,
        )
    array: NDArray[np.floating] = tensor.numpy()
    return np.ascontiguousarray(array.T) if transposed else array


def bias_vector(array: NDArray[np.floating], channels: int) -> NDArray[np.float32]:
    """A bias of any broadcastable shape ([N], [1, N], scalar) as [channels]."""
    return np.broadcast_to(np.asarray(array, np.float32).reshape(-1), (channels,)).copy()


def weight_codes(
    weight: NDArray[np.floating],
    axis: int,
    plan: QuantPlan,
    *,
    floor: NDArray[np.floating] | float = 0.0,
    depthwise: bool = False,
) -> QuantizedTensor:
    """Codes of a Conv weight [O, I, ...] (axis 0) or a Gemm or MatMul weight [K, N] (axis 1), as the plan asks.

    Args:
        weight: The float weight.
        axis: Its output-channel axis.
        plan: Says whether scales are per channel and whether pairs must not saturate.
        floor: Further lower bound of the scales, [channels] or scalar.
        depthwise: Whether it is the weight of a depthwise convolution.
    """
    scale = weight_scale(weight, axis, plan, floor=floor, depthwise=depthwise)
    channels = axis if plan.per_channel else None
    codes = symmetric_codes(weight, scale, channels)
    return QuantizedTensor(codes, scale, np.zeros(scale.shape, np.int8), channels)


def weight_scale(
    weight: NDArray[np.floating],
    axis: int,
    plan: QuantPlan,
    *,
    floor: NDArray[np.floating] | float = 0.0,
    depthwise: bool = False,
) -> NDArray[np.float32]:
    """Scale of `weight_codes`, [channels] or, where the plan has one for the whole weight, scalar."""
    least = np.broadcast_to(np.asarray(floor, np.float64), (weight.shape[axis],))
    if plan.pair_safe:
        least = np.maximum(least, pair_safe_scale(np.moveaxis(weight, axis, 0), depthwise=depthwise))
    if not plan.per_channel:
        return symmetric_scale(weight, None, min_scale=float(least.max(initial=0.0)))
    return symmetric_scale(weight, axis, min_scale=least)
