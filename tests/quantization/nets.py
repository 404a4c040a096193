"""Small float nets to quantize, and how ONNX Runtime sees the result."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress import targets
from deploycompress.calibration import Statistics, collect
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.spec import QuantPlan
from deploycompress.runtime.session import Session, SessionConfig
from tests.zoo import model, normal

# The form whose kernels neither saturate nor depend on the instruction set of the machine that runs the tests.
TARGET = targets.load("server-cpu-avx2")


def residual_net(clamp: str = "Relu(c0)") -> ir.Model:
    """Two convolutions, a residual Add, pooling and a classifier."""
    return model(
        f"""g (float[N,3,8,8] x) => (float[N,5] y) {{
            c0 = Conv<pads=[1,1,1,1]>(x, w0, b0)
            r0 = {clamp}
            c1 = Conv<pads=[1,1,1,1]>(r0, w1, b1)
            s = Add(c1, r0)
            r1 = Relu(s)
            p = GlobalAveragePool(r1)
            f = Flatten(p)
            y = Gemm<transB=1>(f, w2, b2)
        }}""",
        w0=normal(8, 3, 3, 3) / 3,
        b0=normal(8),
        w1=normal(8, 8, 3, 3, seed=1) / 6,
        b1=normal(8, seed=1),
        w2=normal(5, 8),
        b2=normal(5),
    )


def feeds(net: ir.Model, count: int = 16) -> list[dict[str, np.ndarray]]:
    """Standard normal inputs; symbolic dimensions get length 2."""
    shapes = {
        str(value.name): tuple(d if isinstance(d, int) else 2 for d in value.shape or ()) for value in net.graph.inputs
    }
    return [{name: normal(*shape, seed=seed) for name, shape in shapes.items()} for seed in range(count)]


def statistics(net: ir.Model, target: targets.Target = TARGET) -> Statistics:
    """Over `feeds`."""
    return collect(net, required_tensors(net, target), feeds(net), config=SessionConfig(threads=1))


def quantized(net: ir.Model, target: targets.Target = TARGET) -> tuple[QuantPlan, ir.Model]:
    """Plan and QDQ form."""
    made = plan(net, target, statistics(net, target))
    return made, emit_qdq(net, made)


def run(net: ir.Model, feed: dict[str, np.ndarray], optimization: str = "all") -> dict[str, np.ndarray]:
    """Outputs by name."""
    config = SessionConfig(threads=1, optimization=optimization)  # type: ignore[arg-type]
    return Session(models.serialize(net), config).run(feed)


def fused(net: ir.Model, folder: Path) -> Counter[str]:
    """Operators of the graph that ONNX Runtime really executes."""
    path = folder / "fused.onnx"
    Session(models.serialize(net), SessionConfig(threads=1), optimized_path=path)
    return Counter(node.op_type for node in ir.load(path).graph)


def sqnr_db(reference: np.ndarray, output: np.ndarray) -> float:
    """Signal to quantization noise, in decibels."""
    error = reference.astype(np.float64) - output
    noise = float(np.sum(error**2))
    return math.inf if noise == 0 else 10 * math.log10(float(np.sum(reference.astype(np.float64) ** 2)) / noise)
