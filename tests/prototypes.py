"""A classifier whose right scale is known: nearest prototype, `score_k = x . p_k - |p_k|^2 / 2`, x in 0..1.

The bias is as large as what it is added to, as in a trained network, and prototypes of different lengths make a wrong
scale visible: inputs k times as large are decided by the lengths alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from tests.zoo import model

CLASSES = 8
SHAPE = (3, 8, 10)


def prototypes() -> NDArray[np.float32]:
    """[CLASSES, *SHAPE] in 0..1; contrasts from 0.3 to 1."""
    uniform = np.random.default_rng(5).random((CLASSES, *SHAPE))
    return (uniform * np.linspace(0.3, 1, CLASSES)[:, None, None, None]).astype(np.float32)


def classifier(batch: str = "N") -> ir.Model:
    """The classifier, float32 [N, 3, 8, 10] -> [N, 8]."""
    points = prototypes().reshape(CLASSES, -1)
    return model(
        f"g (float[{batch},3,8,10] x) => (float[{batch},{CLASSES}] y) {{ f = Flatten(x) y = Gemm(f, w, b) }}",
        w=np.ascontiguousarray(points.T),
        b=-(points**2).sum(axis=1) / 2,
    )


def pictures(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Noisy prototypes [count, *SHAPE] in 0..1, and their classes in turn."""
    labels = np.arange(count) % CLASSES
    noise = np.random.default_rng(seed).normal(0, 0.05, (count, *SHAPE))
    return np.clip(prototypes()[labels] + noise, 0, 1).astype(np.float32), labels
