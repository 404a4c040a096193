"""The sentence of the executed graph, and what becomes of a file that does not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress import model as models
from deploycompress.errors import InvalidOutputError
from deploycompress.flow.executed import execute
from deploycompress.flow.making import Dynamic
from deploycompress.flow.self_check import kernels, self_check
from deploycompress.quantization.spec import QuantPlan
from deploycompress.runtime.session import Session, SessionConfig
from tests.quantization.nets import TARGET, quantized, residual_net
from tests.zoo import model, normal

CONFIG = SessionConfig(threads=1)


def test_every_layer_of_a_static_net_is_counted_with_its_kernel() -> None:
    plan, net = quantized(residual_net())
    ran = execute(net, {"x": normal(1, 3, 8, 8)}, CONFIG, runs=1).model
    assert kernels(plan, ran, 0) == (
        "2 of 2 Conv run as QLinearConv, 1 of 1 Gemm run as QGemm; 0 weights dequantized per run"
    )


def test_layers_that_did_not_fuse_are_missing() -> None:
    plan, net = quantized(residual_net())
    unfused = SessionConfig(threads=1, optimization="none")
    ran = execute(net, {"x": normal(1, 3, 8, 8)}, unfused, runs=1).model
    assert kernels(plan, ran, 1).startswith("0 of 2 Conv run as QLinearConv, 0 of 1 Gemm run as QGemm; 1 weight deq")


def test_dynamic_layers_of_two_operators_share_a_kernel() -> None:
    net = model(
        "g (float[N,8] x) => (float[N,4] y) { a = Gemm(x, w0, b) y = MatMul(a, w1) }",
        w0=normal(8, 8),
        b=normal(8),
        w1=normal(8, 4),
    )
    made = Dynamic(net, TARGET)({})
    ran = execute(made.model, {"x": normal(1, 8)}, CONFIG, runs=1).model
    assert kernels(made.plan, ran, 0).startswith("2 of 2 Gemm and MatMul run as DynamicQuantizeMatMul; 0 weights")


def test_a_file_that_does_not_run_is_removed(tmp_path: Path) -> None:
    original = model("g (float[N,8] x) => (float[N,4] y) { y = MatMul(x, w) }", w=normal(8, 4))
    broken = model("g (float[N,8] x) => (float[N,4] y) { y = Reshape(x, s) }", s=np.array([3, 5]))
    path = tmp_path / "broken.onnx"
    models.save(broken, path)
    feed = {"x": normal(2, 8)}
    plan = QuantPlan("t", {}, {}, pair_safe=False, per_channel=True, quantize_bias=True)
    with pytest.raises(InvalidOutputError, match=r"broken\.onnx: the quantized model does not run: ONNX Runtime"):
        self_check(path, plan, Session(models.serialize(original), CONFIG), [feed], feed, timed=False)
    assert not path.exists()
