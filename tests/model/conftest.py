"""Models for these tests: ONNX protobufs of a few nodes, and the shared corpus where it is at hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

WEIGHT_COUNT = 4
Build = Callable[..., onnx.ModelProto]


@pytest.fixture
def external() -> Callable[..., TensorProto]:
    """Builds a float32 tensor of four elements whose external-data entries are the keyword arguments."""

    def build(name: str = "w", dims: tuple[int, ...] = (WEIGHT_COUNT,), **entries: object) -> TensorProto:
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    return build


@pytest.fixture
def add_model() -> Build:
    """Builds `y = x + w`, with `w` an initializer, a Constant node, or either of them in the branches of an If."""

    def build(weight: TensorProto | None = None, place: str = "initializer", ir_version: int = 8) -> onnx.ModelProto:
        if weight is None:
            weight = numpy_helper.from_array(np.arange(WEIGHT_COUNT, dtype=np.float32), "w")
        x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WEIGHT_COUNT])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", WEIGHT_COUNT])
        constant = helper.make_node("Constant", [], [weight.name], value=weight)
        if place.startswith("branch"):
            in_node = place == "branch constant"
            z = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
            nodes = [constant] * in_node + [helper.make_node("Add", ["x", weight.name], ["z"])]
            body = helper.make_graph(nodes, "body", [], [z], [] if in_node else [weight])
            condition = helper.make_tensor("c", TensorProto.BOOL, [], [True])
            branch = helper.make_node("If", ["c"], ["y"], then_branch=body, else_branch=body)
            graph = helper.make_graph([branch], "g", [x], [y], [condition])
        else:
            in_node = place == "constant"
            nodes = [constant] * in_node + [helper.make_node("Add", ["x", weight.name], ["y"], name="sum")]
            graph = helper.make_graph(nodes, "g", [x], [y], [] if in_node else [weight])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir_version)

    return build


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a protobuf and, where given, a data file of float32 numbers beside it; returns the path of the model."""

    def writer(proto: onnx.ModelProto, data: np.ndarray | None = None, name: str = "m.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(proto.SerializeToString())
        if data is not None:
            data.astype(np.float32).tofile(tmp_path / "w.data")
        return path

    return writer


@pytest.fixture
def run() -> Callable[..., list[np.ndarray]]:
    """Runs a model in ONNX Runtime without its optimizer, on one thread."""

    def runner(model: Path | bytes, feed: dict[str, np.ndarray], weights: Path | None = None) -> list[np.ndarray]:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if weights is not None:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
        source = model if isinstance(model, bytes) else str(model)
        return list(onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"]).run(None, feed))

    return runner
