"""Files written field by field are the same messages that protobuf itself would have written."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from deploycompress.errors import InvalidOutputError
from deploycompress.model import wire

# 127/128 and 16383/16384 are where a varint grows by a byte
sizes = st.sampled_from([0, 1, 31, 32, 127, 128, 4095, 4096, 16383, 16384])


def build(counts: list[int]) -> tuple[onnx.ModelProto, onnx.ModelProto, dict[str, bytes]]:
    """The whole model, the same one with empty initializers, and the data that was taken out."""
    arrays = {f"w{i}": np.random.default_rng(i).bytes(count) for i, count in enumerate(counts)}
    tensors = [numpy_helper.from_array(np.frombuffer(raw, np.uint8), name) for name, raw in arrays.items()]
    small = helper.make_tensor("typed", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    node = helper.make_node("Identity", ["typed"], ["y"], doc_string="d" * 200)
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = helper.make_graph([node], "g", [], [output], [*tensors, small], doc_string="graph")
    whole = helper.make_model(graph, producer_name="p", ir_version=8)
    helper.set_model_props(whole, {"key": "value"})
    hollow = onnx.ModelProto()
    hollow.CopyFrom(whole)
    for tensor in hollow.graph.initializer:
        if tensor.name in arrays:
            tensor.ClearField("raw_data")
    return whole, hollow, arrays


def spliced(hollow: onnx.ModelProto, arrays: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    wire.write(sink, hollow, {name: len(raw) for name, raw in arrays.items()}, lambda name: sink.write(arrays[name]))
    return sink.getvalue()


@given(st.lists(sizes, max_size=4))
def test_written_file_parses_to_the_whole_model(counts: list[int]) -> None:
    whole, hollow, arrays = build(counts)
    assert onnx.ModelProto.FromString(spliced(hollow, arrays)) == whole


@given(st.lists(sizes, max_size=4))
def test_frame_is_the_model_without_raw_data(tmp_path_factory: pytest.TempPathFactory, counts: list[int]) -> None:
    whole, hollow, arrays = build(counts)
    path = tmp_path_factory.mktemp("wire") / "m.onnx"
    for content in (whole.SerializeToString(), spliced(hollow, arrays)):  # two orders of the same fields
        path.write_bytes(content)
        frame, found = wire.read_frame(path)
        assert frame == hollow
        assert found == {name: len(raw) for name, raw in arrays.items()}


def test_truncation_inside_the_graph_is_noticed(tmp_path: Path) -> None:
    _, hollow, arrays = build([300])
    content = spliced(hollow, arrays)
    path = tmp_path / "m.onnx"
    for missing in range(1, 400, 7):  # the graph is the last field, and holds 300 bytes of data and the node
        path.write_bytes(content[:-missing])
        with pytest.raises(InvalidOutputError, match="not a complete protobuf"):
            wire.read_frame(path)
