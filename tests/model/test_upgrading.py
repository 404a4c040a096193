"""Opsets are raised by the converter or refused with the reason; the function stays the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.runtime.session import Session
from tests.zoo import model, normal


def old(width: int = 8) -> object:
    return model(
        "g (float[N,K] x) => (float[N,4] y) { h = Gemm(x, w, b) y = Relu(h) }", opset=9, w=normal(width, 4), b=normal(4)
    )


def test_a_raised_model_computes_the_same() -> None:
    before = old()
    after = models.raise_opset(before, 13)  # type: ignore[arg-type]
    assert after.opset_imports[""] == 13
    x = normal(3, 8)
    outputs = [Session(models.serialize(each)).run({"x": x})["y"] for each in (before, after)]  # type: ignore[arg-type]
    np.testing.assert_array_equal(*outputs)  # the same kernels run


def test_a_new_enough_model_comes_back_itself() -> None:
    given = model("g (float[N,8] x) => (float[N,8] y) { y = Relu(x) }", opset=17)
    assert models.raise_opset(given, 13) is given


def test_external_data_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    before = old(1024)
    models.save(before, path, external_data=True, stamp=False)  # type: ignore[arg-type]
    given = models.load(path)
    after = models.raise_opset(given, 13)
    assert [value.name for value in given.graph.inputs] == ["x"]
    assert given.graph.initializers["w"].const_value is after.graph.initializers["w"].const_value
    assert isinstance(after.graph.initializers["w"].const_value, ir.ExternalTensor)
    assert [value.name for value in after.graph.inputs] == ["x"]
    x = normal(3, 1024)
    expected = Session(models.serialize(before)).run({"x": x})["y"]  # type: ignore[arg-type]
    session = Session(models.serialize(after), weights_dir=models.weights_dir(after))
    np.testing.assert_array_equal(session.run({"x": x})["y"], expected)  # the same kernels run
