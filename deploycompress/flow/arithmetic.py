"""executed node -> multiply-adds it must do, and how fast this machine's kernels do them at best.

    limit = 2 x multiply-adds / measured peak        a roofline without its memory side

The peak is that of a large square product through the same runtime, with the same threads: what a layer could reach if
its shape were as kind. A layer far from it waits for memory, or its shape does not suit the kernel. Operations are
those that run: a layout that fills channels up to its block multiplies the zeros too.

Source: Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009; ONNX operators Conv, Gemm, MatMul and ONNX
Runtime's contrib operators (the weight of QLinearConv is its fourth input).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.runtime.session import NodeTime, Session, SessionConfig

_CONVOLUTIONS = {"Conv": 1, "FusedConv": 1, "NhwcFusedConv": 1, "ConvInteger": 1, "QLinearConv": 3}
_PRODUCTS = frozenset(
    {"MatMul", "FusedMatMul", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul"}
    | {"Gemm", "FusedGemm", "QGemm"}
)
_SIZES = (256, 512)
_REPEATS = 20


@dataclass(frozen=True)
class Peaks:
    """The best rate of this machine's kernels, in 1e9 operations a second (a multiply-add is two)."""

    float_gops: float
    int8_gops: float

    def limit_us(self, operations: int, *, int8: bool) -> float:
        """Least time for so many operations, in microseconds."""
        return operations / (self.int8_gops if int8 else self.float_gops) / 1e3


def operations(timed: NodeTime, node: ir.Node) -> int | None:
    """Twice the multiply-adds of a convolution or product; None for every other node.

    Args:
        timed: It in the profile, which has the shapes of activations, but no longer those of weights that were packed.
        node: It in the executed graph, which has those.
    """
    each = _each(timed, node)
    return None if each is None else 2 * math.prod(timed.outputs[0]) * each


def _each(timed: NodeTime, node: ir.Node) -> int | None:
    """Multiply-adds behind one element of the output."""
    if not timed.inputs or not timed.outputs:
        return None
    if timed.op_type in _CONVOLUTIONS:
        index = _CONVOLUTIONS[timed.op_type]
        weight = node.inputs[index] if len(node.inputs) > index else None
        if weight is not None and weight.const_value is not None:
            return math.prod(weight.const_value.shape.numpy()[1:])
        return math.prod(timed.inputs[index][1:]) if len(timed.inputs) == len(node.inputs) else None
    if timed.op_type not in _PRODUCTS:
        return None
    a, y = timed.inputs[0], timed.outputs[0]
    # [M, K] -> [M, N]: K is the axis that the output does not keep; a Gemm may read it transposed.
    transposed = timed.op_type in ("Gemm", "FusedGemm", "QGemm") and len(a) == 2 and a[0] != y[0]
    return a[0] if transposed else a[-1] if a else None


def peaks(config: SessionConfig) -> Peaks:
    """Measures both rates with the threads and provider of `config`; a fraction of a second."""
    return Peaks(
        max(_rate(size, config, int8=False) for size in _SIZES), max(_rate(size, config, int8=True) for size in _SIZES)
    )


def _rate(size: int, config: SessionConfig, *, int8: bool) -> float:
    """1e9 operations a second of a product of two square matrices, from the fastest of many runs."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-64, 64, (size, size)).astype(np.int8)
    weight = ir.tensor(codes if int8 else codes.astype(np.float32), name="b")
    given = ir.val("a", ir.DataType.UINT8 if int8 else ir.DataType.FLOAT, [size, size])
    held = ir.Value(name="b", const_value=weight, shape=ir.Shape([size, size]), type=ir.TensorType(weight.dtype))
    node = ir.node("MatMulInteger" if int8 else "MatMul", [given, held])
    made = node.outputs[0]
    made.name, made.type = "y", ir.TensorType(ir.DataType.INT32 if int8 else ir.DataType.FLOAT)
    graph = ir.Graph([given], [made], nodes=[node], initializers=[held], opset_imports={"": 13}, name="peak")
    session = Session(models.serialize(ir.Model(graph, ir_version=8)), config)
    feed = {"a": rng.integers(0, 128, (size, size)).astype(np.uint8 if int8 else np.float32)}
    run = session.runner(feed)
    run()
    times = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times) / 1e9
