"""Opsets are raised by the converter or refused with the reason; the function stays the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress import model as models
from deploycompress.errors import UnsupportedError
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


def test_external_data_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    models.save(old(1024), path, external_data=True, stamp=False)  # type: ignore[arg-type]
    with pytest.raises(
        UnsupportedError, match="opset 9 must be raised to 13, and the converter cannot follow external"
    ):
        models.raise_opset(models.load(path), 13)
