from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress.flow.contents import contents
from tests.zoo import model, normal


def written(path: Path, net: ir.Model) -> Path:
    path.write_bytes(models.serialize(net))
    return path


def test_bytes_are_told_by_type_and_by_the_node_that_reads_them(tmp_path: Path) -> None:
    net = model(
        "g (float[N,8] x) => (float[N,4] y) { h = MatMul(x, a) i = Reshape(h, shape) y = MatMul(i, b) }",
        a=normal(8, 8),
        b=normal(8, 4) + 1,
        shape=np.array([-1, 8]),
    )
    found = contents(written(tmp_path / "m.onnx", net))
    assert found.bytes_by_dtype == {"float32": 4 * (64 + 32), "int64": 16}
    assert [(layer.op_type, layer.size_bytes) for layer in found.layers] == [
        ("MatMul", 256),
        ("MatMul", 128),
        ("Reshape", 16),
    ]
    assert (found.duplicated_bytes, found.orphaned_bytes) == (0, 0)


def test_equal_tensors_are_duplicates_and_unread_ones_orphans(tmp_path: Path) -> None:
    weight = normal(8, 8)
    net = model(
        "g (float[N,8] x) => (float[N,8] y) { h = MatMul(x, a) y = MatMul(h, b) }",
        a=weight,
        b=weight.copy(),
        unread=normal(5, 5),
    )
    found = contents(written(tmp_path / "m.onnx", net))
    assert found.duplicated_bytes == 256
    assert found.orphaned_bytes == 100


def test_equal_bytes_of_another_shape_or_type_are_no_duplicates(tmp_path: Path) -> None:
    zeros = np.zeros((8, 8), np.float32)
    net = model(
        "g (float[N,8] x, int32[8,8] z) => (float[N,8] y, int32[8,8] t) { y = MatMul(x, a) t = Add(z, b) }",
        a=zeros,
        b=zeros.view(np.int32),
    )
    assert contents(written(tmp_path / "m.onnx", net)).duplicated_bytes == 0


def test_external_data_that_nothing_refers_to_is_orphaned(tmp_path: Path) -> None:
    net = model("g (float[N,64] x) => (float[N,64] y) { y = MatMul(x, w) }", w=normal(64, 64))
    path = tmp_path / "m.onnx"
    ir.save(net, path, external_data="m.data", size_threshold_bytes=0)
    assert contents(path).orphaned_bytes == 0
    with (tmp_path / "m.data").open("ab") as stream:
        stream.write(bytes(200_000))
    assert contents(path).orphaned_bytes == pytest.approx(200_000, abs=65_536)  # a page of alignment may lie before it
