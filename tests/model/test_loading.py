"""Loading takes what is sound, refuses what is not in one line, and gives the signature that users feed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deploycompress import model
from deploycompress.errors import ModelRejectedError
from deploycompress.model.loading import load


def test_truncated_file_is_refused(add_model: Callable, write: Callable) -> None:
    path = write(add_model())
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelRejectedError, match="not a complete ONNX protobuf"):
        load(path)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(np.random.default_rng(0).bytes(4096))
    with pytest.raises(ModelRejectedError, match="not a complete ONNX protobuf"):
        load(path)


def test_protobuf_without_a_graph_is_refused(write: Callable) -> None:
    proto = onnx.ModelProto(ir_version=8, producer_name="nobody")
    with pytest.raises(ModelRejectedError, match="holds no graph"):
        load(write(proto))


def test_model_without_an_opset_is_refused(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.ClearField("opset_import")
    with pytest.raises(ModelRejectedError, match="names no opset"):
        load(write(proto))


def test_input_that_nothing_produces_is_named(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.graph.node[0].input[0] = "typo"
    with pytest.raises(ModelRejectedError, match="Add node 'sum' reads 'typo', which nothing produces"):
        load(write(proto))


def test_output_that_nothing_produces_is_named(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.graph.output[0].name = "typo"
    with pytest.raises(ModelRejectedError, match="nothing produces the graph output 'typo'"):
        load(write(proto))


def test_value_produced_twice_is_refused(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.graph.node.append(proto.graph.node[0])
    with pytest.raises(ModelRejectedError, match=r"its graph is invalid: .*'y' is redeclared") as caught:
        load(write(proto))
    assert "\n" not in str(caught.value)


def test_sparse_initializer_is_refused_not_dropped(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    values = helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0])
    indices = helper.make_tensor("i", TensorProto.INT64, [1], [0])
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    with pytest.raises(ModelRejectedError, match="initializer 's' is sparse; store it as a dense tensor"):
        load(write(proto))


@pytest.mark.parametrize(
    ("attribute", "what"),
    [
        (onnx.AttributeProto(name="a", type=onnx.AttributeProto.TENSOR), "has no element type"),
        (onnx.AttributeProto(name="a", i=1), "has no type, so its value would be lost"),
    ],
)
def test_attribute_that_lacks_its_type_or_value_is_refused(
    add_model: Callable, write: Callable, attribute: onnx.AttributeProto, what: str
) -> None:
    proto = add_model()
    proto.graph.node[0].attribute.append(attribute)
    with pytest.raises(ModelRejectedError, match=f"attribute 'a' of Add node 'sum' {what}"):
        load(write(proto))


def test_training_graph_is_refused_not_dropped(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.training_info.add()
    with pytest.raises(ModelRejectedError, match="carries a training graph"):
        load(write(proto))


def test_map_output_is_refused_with_the_way_out(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.graph.output[0].type.map_type.key_type = TensorProto.INT64
    with pytest.raises(ModelRejectedError, match=r"'y' is a map, not a tensor; export it without ZipMap"):
        load(write(proto))


@pytest.mark.parametrize(("ir_version", "names"), [(3, ("x",)), (8, ("x",))])
def test_initializer_listed_as_input_is_not_in_the_signature(
    add_model: Callable, write: Callable, ir_version: int, names: tuple[str, ...]
) -> None:
    proto = add_model(ir_version=ir_version)
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    loaded = load(write(proto))
    assert model.signature(loaded).input_names == names


def test_old_ir_initializer_becomes_a_constant_and_newer_stays_overridable(
    add_model: Callable, write: Callable, run: Callable
) -> None:
    feed = {"x": np.zeros((1, 4), np.float32)}
    override = feed | {"w": np.full(4, 9, np.float32)}
    for ir_version, graph_inputs in ((3, ["x"]), (8, ["x", "w"])):
        proto = add_model(ir_version=ir_version)
        proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
        loaded = load(write(proto))
        assert [value.name for value in loaded.graph.inputs] == graph_inputs
        np.testing.assert_array_equal(run(model.serialize(loaded), feed)[0][0], [0, 1, 2, 3])
    np.testing.assert_array_equal(run(model.serialize(loaded), override)[0][0], [9, 9, 9, 9])


def test_both_spellings_of_the_standard_domain_are_one(add_model: Callable, write: Callable) -> None:
    proto = add_model()
    proto.opset_import[0].domain = "ai.onnx"
    assert dict(load(write(proto)).opset_imports) == {"": 17}


# One file for all examples: each example overwrites it, so that the fixture's reuse does no harm.
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_model_loads_or_is_refused_and_nothing_else(
    add_model: Callable, write: Callable, data: st.DataObject
) -> None:
    content = bytearray(add_model(place="branch constant").SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(add_model())
    path.write_bytes(bytes(content))
    with contextlib.suppress(ModelRejectedError):  # any other exception fails the test
        loaded = load(path)
        model.signature(loaded)
        model.weight_bytes(loaded)


def test_weights_of_every_element_type_are_counted_in_subgraphs_too(add_model: Callable, write: Callable) -> None:
    proto = add_model(place="branch initializer")
    proto.graph.initializer.append(numpy_helper.from_array(np.zeros((3, 5), np.int8), "q"))
    proto.graph.initializer.append(helper.make_tensor("h", TensorProto.INT4, [5], [0] * 5))
    # two branches with 4 float32 each, one bool condition, 15 int8, and 5 int4 packed in 3 bytes
    assert model.weight_bytes(load(write(proto))) == {"float32": 32, "int8": 15, "int4": 3, "bool": 1}


@pytest.mark.shared
def test_every_model_of_the_corpus_loads_or_is_refused_in_a_line(shared: Path) -> None:
    refused = {}
    for path in sorted(shared.glob("onnx_corpus/*/model.onnx")):
        try:
            model.signature(load(path))
        except ModelRejectedError as error:
            refused[path.parent.name] = str(error)
    assert not any("\n" in message for message in refused.values())
    assert set(refused) == {"corrupt-model_ort", "densenet-12_nncf", "mul_1_noopset_ort", "zipmap_stringfloat_ort"}
    assert "git-LFS pointer" in refused["densenet-12_nncf"]
