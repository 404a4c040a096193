"""The model that the flows go on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import ModelRejectedError
from deploycompress.flow.source import mended, open_source
from deploycompress.runtime.session import Session, SessionConfig
from tests import zoo
from tests.passes.running import proto

CONFIG = SessionConfig(threads=1)


def test_a_file_whose_kernels_do_not_broadcast_is_run_in_a_form_that_does(tmp_path: Path) -> None:
    path = tmp_path / "attention.onnx"
    path.write_bytes(
        proto(
            zoo.model(
                "g (float[B,2,S,4] q, float[B,1,1,S] m) => (float[B,2,S,4] y) { y = Attention(q, q, q, m) }",
                ir_version=10,
                opset=23,
            )
        )
    )
    feed = {"q": zoo.normal(3, 2, 5, 4), "m": np.zeros((3, 1, 1, 5), np.float32)}
    as_it_is = Session(path, CONFIG)
    with pytest.raises(ModelRejectedError):
        as_it_is.run(feed)
    _, session = mended(open_source(path), as_it_is)
    assert session.run(feed)["y"].shape == (3, 2, 5, 4)


def test_any_other_file_is_run_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(proto(zoo.matmul_add()))
    model, session = open_source(path), Session(path, CONFIG)
    assert mended(model, session) == (model, session)
