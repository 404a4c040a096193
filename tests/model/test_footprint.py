"""The files a model consists of, and their bytes."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from tests.zoo import model, normal


def saved(folder: Path, *, external: bool) -> Path:
    path = folder / "m.onnx"
    net: ir.Model = model("g (float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }", w=normal(64, 64))
    models.save(net, path, external_data=external)
    return path


def test_a_self_contained_model_is_one_file(tmp_path: Path) -> None:
    path = saved(tmp_path, external=False)
    assert models.data_files(path) == ()
    assert models.size_bytes(path) == path.stat().st_size


def test_external_data_counts(tmp_path: Path) -> None:
    path = saved(tmp_path, external=True)
    (data,) = models.data_files(path)
    assert data.stat().st_size >= 64 * 64 * 4
    assert models.size_bytes(path) == sum(file.stat().st_size for file in tmp_path.iterdir())
