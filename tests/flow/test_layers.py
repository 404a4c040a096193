from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from deploycompress import data
from deploycompress import model as models
from deploycompress.flow.layers import layer_errors, layer_times
from deploycompress.runtime.session import SessionConfig
from tests.zoo import model, normal

CONFIG = SessionConfig(threads=1)
TEXT = "g (float[N,8] x) => (float[N,4] y) { h = MatMul(x, a) r = Relu(h) y = MatMul(r, b) }"


def written(path: Path, noise: float) -> Path:
    a, b = normal(8, 8), normal(8, 4)
    path.write_bytes(models.serialize(model(TEXT, a=a, b=(b * (1 + noise)).astype(np.float32))))
    return path


def test_error_of_every_layer_is_its_sqnr(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.onnx", 0.0), written(tmp_path / "b.onnx", 0.01)
    samples = data.open("random:8", models.signature(models.load(first)))
    h, y = layer_errors(first, second, samples, CONFIG)
    assert (h.name, h.op_type, h.sqnr_db) == ("h", "MatMul", math.inf)  # before the change
    # y (1 + 0.01): 20 log10(1 / 0.01) = 40 dB; float32 moves it by 1e-7 / 1e-2.
    assert (y.name, y.op_type) == ("y", "MatMul")
    assert y.sqnr_db == pytest.approx(40.0, abs=0.001)


def test_models_that_share_no_tensor_have_no_errors(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.onnx", 0.0), tmp_path / "b.onnx"
    other = TEXT.replace("h =", "p =").replace("Relu(h)", "Relu(p)").replace("y =", "q =").replace(" y)", " q)")
    second.write_bytes(models.serialize(model(other, a=normal(8, 8), b=normal(8, 4))))
    samples = data.open("random:2", models.signature(models.load(first)))
    assert layer_errors(first, second, samples, CONFIG) == ()


def test_times_come_in_the_order_the_nodes_run(tmp_path: Path) -> None:
    found = layer_times(written(tmp_path / "a.onnx", 0.0), {"x": normal(2, 8)}, CONFIG)
    assert [layer.op_type for layer in found] == ["MatMul", "Relu", "MatMul"]
    assert [layer.kind for layer in found] == ["float"] * 3
    assert [layer.operations for layer in found] == [2 * 2 * 8 * 8, None, 2 * 2 * 4 * 8]
    assert found[1].of_peak is None
    assert found[0].of_peak is not None


def test_a_layer_that_took_in_what_follows_is_compared_where_they_end(tmp_path: Path) -> None:
    a, c = normal(8, 8), normal(8)
    first, second = tmp_path / "a.onnx", tmp_path / "b.onnx"
    plain = "g (float[N,8] x) => (float[N,8] y) { h = MatMul(x, a) p = Add(h, c) y = Relu(p) }"
    folded = "g (float[N,8] x) => (float[N,8] y) { p = Gemm(x, a, c) y = Relu(p) }"
    for path, text in ((first, plain), (second, folded)):
        path.write_bytes(models.serialize(model(text, a=a, c=c)))
    samples = data.open("random:4", models.signature(models.load(first)))
    (found,) = layer_errors(first, second, samples, CONFIG)
    assert (found.name, found.op_type) == ("p", "Gemm")
    assert found.sqnr_db > 100  # equal but for the rounding of float32: 2^-24 of the largest is 144 dB
