"""A small post-norm encoder block with an outlier channel behind its normalization and one behind its GELU."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tests.zoo import model, normal, positive

WIDTH, INNER = 64, 96
NORM_OUTLIER, GELU_OUTLIER = 5, 7


def block(*, norm_outlier: float = 50.0, gelu_outlier: float = 1.0) -> ir.Model:
    """x -> LN -> Gemm -> Relu -> Gemm -> + LN -> LN -> Gemm, with one gain and one inner column this much larger."""
    gain, bias = positive(WIDTH, seed=1), normal(WIDTH, seed=2) / 4
    gain[NORM_OUTLIER] *= norm_outlier
    bias[NORM_OUTLIER] *= norm_outlier
    inner = normal(WIDTH, INNER) / 8
    inner[:, GELU_OUTLIER] *= gelu_outlier
    return model(
        f"""g (float[N,{WIDTH}] x) => (float[N,{WIDTH}] y, float[N,9] z) {{
            n = LayerNormalization(x, g0, b0)
            h = Gemm(n, w0, c0)
            a = Relu(h)
            o = Gemm(a, w1, c1)
            r = Add(o, n)
            y = LayerNormalization(r, g1, b1)
            z = Gemm(y, w2, c2)
        }}""",
        g0=gain,
        b0=bias,
        w0=inner,
        c0=normal(INNER, seed=3) / 4,
        w1=normal(INNER, WIDTH, seed=4) / 10,
        c1=normal(WIDTH, seed=5) / 4,
        g1=positive(WIDTH, seed=6),
        b1=normal(WIDTH, seed=7),
        w2=normal(WIDTH, 9, seed=8) / 8,
        c2=normal(9, seed=9),
    )


def inputs(count: int = 24, rows: int = 8) -> list[dict[str, np.ndarray]]:
    """Feeds of the block."""
    return [{"x": normal(rows, WIDTH, seed=100 + seed)} for seed in range(count)]
