"""Where time and bytes go."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress import targets
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.explain import explain
from tests import zoo
from tests.passes.running import proto

TARGET = targets.load("server-cpu").model_copy(update={"threads": 1})


def write(name: str, folder: Path) -> Path:
    path = folder / f"{name}.onnx"
    path.write_bytes(proto(zoo.MODELS[name]()))
    return path


def test_shares_add_up_and_the_dearest_operator_comes_first(tmp_path: Path) -> None:
    result = explain(write("conv_batchnorm", tmp_path), target=TARGET, runs=3)
    assert (result.nodes, result.data, result.feed) == (3, "random", {"x": [1, 4, 5, 5]})
    assert sum(row.share for row in result.ops) == pytest.approx(1)
    assert sum(row.count for row in result.ops) == result.executed_nodes
    assert result.time_us == pytest.approx(sum(row.time_us for row in result.ops))
    assert [row.time_us for row in result.ops] == sorted((row.time_us for row in result.ops), reverse=True)
    assert result.placement.effective == "CPU"
    assert result.int8_share == 0


def test_bytes_are_those_of_the_file_by_element_type(tmp_path: Path) -> None:
    result = explain(write("quantized", tmp_path), target=TARGET, runs=1)
    assert result.bytes_by_dtype == {"int8": 13, "float32": 8, "uint8": 1}


def test_constants_in_nodes_count_as_bytes(tmp_path: Path) -> None:
    result = explain(write("shape_arithmetic", tmp_path), target=TARGET, runs=1)
    assert result.bytes_by_dtype == {"int64": 24}


def test_quantized_matmul_is_found_in_int8(tmp_path: Path) -> None:
    result = explain(write("quantized", tmp_path), target=TARGET, runs=3)
    assert "int8" in [row.kind for row in result.ops]
    assert result.int8_share > 0
    assert result.conversion_share > 0
    assert result.stayed_float == ()


def test_top_limits_the_list_of_nodes(tmp_path: Path) -> None:
    result = explain(write("conv_transpose_batchnorm", tmp_path), target=TARGET, runs=1, top=1)
    assert len(result.slowest) == 1
    assert result.slowest[0].op_type == result.ops[0].op_type


def test_model_that_executes_nothing_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(proto(zoo.model("g (float[4] x) => (float[4] y) { y = Identity(w) }", w=zoo.normal(4))))
    assert explain(path, target=TARGET, runs=1).verdict == "0 nodes, nothing to time"


def test_model_no_feed_fits_names_the_option(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    model = zoo.model("g (float[4] x) => (float[3] y) { y = Reshape(x, three) }", three=np.asarray([3], np.int64))
    path.write_bytes(proto(model))
    with pytest.raises(ModelRejectedError, match="--data"):
        explain(path, target=TARGET)
