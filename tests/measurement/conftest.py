"""Small models made on the spot."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

WIDTH = 64

Make = Callable[..., Path]


@pytest.fixture
def mlp(tmp_path: Path) -> Make:
    """Writes a chain of `layers` MatMuls, x [N, 64] -> y [N, 64], and returns its path."""

    def make(layers: int, name: str = "mlp") -> Path:
        weights = np.random.default_rng(0).normal(size=(WIDTH, WIDTH)).astype(np.float32) / 8
        names = ["x", *(f"h{i}" for i in range(1, layers)), "y"]
        graph = helper.make_graph(
            [helper.make_node("MatMul", [a, "w"], [b]) for a, b in itertools.pairwise(names)],
            "mlp",
            [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", WIDTH])],
            [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", WIDTH])],
            [numpy_helper.from_array(weights, "w")],
        )
        path = tmp_path / f"{name}.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return path

    return make


@pytest.fixture
def feed() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(1).normal(size=(16, WIDTH)).astype(np.float32)}
