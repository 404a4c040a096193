"""What is saved reads back the same, is written whole or not at all, and takes memory for one weight at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deploycompress import model
from deploycompress.errors import EnvironmentLacksError, InvalidOutputError, UsageError
from deploycompress.model import saving


def big(value: float, count: int = 1024) -> TensorProto:
    return numpy_helper.from_array(np.full(count, value, np.float32), "w")


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@st.composite
def chains(draw: st.DrawFn) -> onnx.ModelProto:
    """`x -> (MatMul | Add | Relu | Constant + Add | If) ... -> y` with weights of 4 to 4,096 bytes."""
    width = draw(st.sampled_from([1, 8, 32]))
    nodes, weights, last = [], [], "x"
    seed = np.random.default_rng(draw(st.integers(0, 99)))
    for index, op in enumerate(
        draw(st.lists(st.sampled_from(["MatMul", "Add", "Relu", "Constant", "If"]), max_size=6))
    ):
        out, name = f"v{index}", f"w{index}"
        array = seed.normal(size=(width, width) if op == "MatMul" else width).astype(np.float32)
        weight = numpy_helper.from_array(array, name)
        if op == "Relu":
            nodes.append(helper.make_node("Relu", [last], [out]))
        elif op == "Constant":
            nodes += [
                helper.make_node("Constant", [], [name], value=weight),
                helper.make_node("Add", [last, name], [out]),
            ]
        elif op == "If":
            z = helper.make_tensor_value_info(f"z{index}", TensorProto.FLOAT, None)
            body = helper.make_graph([helper.make_node("Add", [last, name], [z.name])], "b", [], [z], [weight])
            weights.append(helper.make_tensor(f"c{index}", TensorProto.BOOL, [], [True]))
            nodes.append(helper.make_node("If", [f"c{index}"], [out], then_branch=body, else_branch=body))
        else:
            weights.append(weight)
            nodes.append(helper.make_node(op, [last, name], [out]))
        last = out
    nodes.append(helper.make_node("Identity", [last], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", width])
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(proto=chains(), external_data=st.booleans())
def test_saved_graph_gives_the_same_numbers(
    proto: onnx.ModelProto, external_data: bool, tmp_path_factory: pytest.TempPathFactory, run: Callable
) -> None:
    folder = tmp_path_factory.mktemp("saved")
    (folder / "in.onnx").write_bytes(proto.SerializeToString())
    feed = {
        "x": np.random.default_rng(0).normal(size=(2, proto.graph.input[0].type.tensor_type.shape.dim[1].dim_value))
    }
    feed = {"x": feed["x"].astype(np.float32)}
    loaded = model.load(folder / "in.onnx")
    model.save(loaded, folder / "out.onnx", external_data=external_data)
    onnx.checker.check_model(str(folder / "out.onnx"), full_check=True)
    # The same kernels on the same numbers: nothing may differ, not even the last bit.
    np.testing.assert_array_equal(run(folder / "out.onnx", feed)[0], run(folder / "in.onnx", feed)[0])
    again = model.load(folder / "out.onnx")
    weights = model.weights_dir(again)
    np.testing.assert_array_equal(run(model.serialize(again), feed, weights)[0], run(folder / "in.onnx", feed)[0])
    assert model.weight_bytes(again) == model.weight_bytes(loaded)


def test_weights_go_to_a_data_file_above_the_limit_alone(add_model: Callable, write: Callable, tmp_path: Path) -> None:
    loaded = model.load(write(add_model(big(1.0))))
    folder = tmp_path / "out"
    folder.mkdir()
    model.save(loaded, folder / "m.onnx", inline_limit_bytes=4096)
    assert names(folder) == ["m.onnx"]
    model.save(loaded, folder / "m.onnx", inline_limit_bytes=4095)
    graph, data = names(folder)
    assert (graph, data[:7], data[-5:]) == ("m.onnx", "m.onnx.", ".data")
    assert (folder / data).stat().st_size == 4096
    model.save(loaded, folder / "m.onnx")
    assert names(folder) == ["m.onnx"]


def test_saving_three_times_neither_appends_nor_leaves_files(
    add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    loaded = model.load(write(add_model(big(1.0))))
    folder = tmp_path / "out"
    folder.mkdir()
    for value in (1.0, 2.0, 2.0):
        weight = ir.tensor(np.full(1024, value, np.float32), name="w")
        loaded.graph.initializers["w"].const_value = weight
        model.save(loaded, folder / "m.onnx", external_data=True)
        assert len(names(folder)) == 2
        assert sum((folder / name).stat().st_size for name in names(folder) if name.endswith(".data")) == 4096
        found = model.load(folder / "m.onnx").graph.initializers["w"].const_value.numpy()
        np.testing.assert_array_equal(found, np.full(1024, value, np.float32))


@pytest.mark.parametrize("external_data", [True, False])
def test_model_mapped_from_the_files_it_replaces_is_saved_and_stays_usable(
    add_model: Callable, write: Callable, tmp_path: Path, external_data: bool, run: Callable
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    proto = add_model(numpy_helper.from_array(np.full(4, 2, np.float32), "w"))
    proto.graph.initializer.append(numpy_helper.from_array(np.arange(1024, dtype=np.float32), "v"))
    model.save(model.load(write(proto)), folder / "m.onnx", external_data=True)
    loaded = model.load(folder / "m.onnx")
    loaded.graph.initializers["w"].const_value = ir.tensor(np.full(4, 5, np.float32), name="w")
    loaded.graph.register_initializer(
        ir.Value(name="u", const_value=ir.tensor(np.zeros(300, np.float32), name="u"))  # the data file must change
    )
    model.save(loaded, folder / "m.onnx", external_data=external_data)
    assert len(names(folder)) == 1 + external_data
    for subject in (loaded, model.load(folder / "m.onnx")):
        np.testing.assert_array_equal(subject.graph.initializers["v"].const_value.numpy(), np.arange(1024))
        feed = {"x": np.zeros((1, 4), np.float32)}
        (out,) = run(model.serialize(subject), feed, model.weights_dir(subject))
        np.testing.assert_array_equal(out[0], [5, 5, 5, 5])
        model.save(subject, tmp_path / "copy.onnx")
        np.testing.assert_array_equal(
            model.load(tmp_path / "copy.onnx").graph.initializers["v"].const_value.numpy(), np.arange(1024)
        )


def test_data_file_that_a_copy_of_the_model_uses_is_not_removed(
    add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    model.save(model.load(write(add_model(big(1.0)))), folder / "m.onnx", external_data=True)
    (folder / "copy.onnx").write_bytes((folder / "m.onnx").read_bytes())
    model.save(model.load(write(add_model(big(2.0)))), folder / "m.onnx", external_data=True)
    assert model.load(folder / "copy.onnx").graph.initializers["w"].const_value.numpy()[0] == 1.0
    (folder / "copy.onnx").unlink()
    model.save(model.load(write(add_model(big(2.0)))), folder / "m.onnx", external_data=True)
    assert len(names(folder)) == 2


def test_tensor_held_in_two_places_is_stored_once(add_model: Callable, write: Callable, tmp_path: Path) -> None:
    loaded = model.load(write(add_model(big(1.0))))
    shared_tensor = loaded.graph.initializers["w"].const_value
    loaded.graph.register_initializer(ir.Value(name="tied", const_value=shared_tensor))
    model.save(loaded, tmp_path / "out.onnx", external_data=True)
    (data,) = tmp_path.glob("*.data")
    assert data.stat().st_size == 4096
    again = model.load(tmp_path / "out.onnx").graph.initializers
    np.testing.assert_array_equal(again["tied"].const_value.numpy(), again["w"].const_value.numpy())


def test_data_file_of_another_tool_is_left_alone(add_model: Callable, external: Callable, write: Callable) -> None:
    path = write(add_model(external(location="w.data")), np.arange(4))
    model.save(model.load(path), path)
    assert (path.parent / "w.data").exists()
    assert model.load(path).graph.initializers["w"].const_value.numpy().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("external_data", [True, False])
def test_progress_is_shown(add_model: Callable, write: Callable, tmp_path: Path, external_data: bool) -> None:
    shown: list[tuple[str, int | None]] = []

    def track(items: Iterable, description: str, total: int | None = None) -> Iterator:
        for item in items:
            shown.append((description, total))
            yield item

    model.save(model.load(write(add_model(big(1.0)))), tmp_path / "out.onnx", external_data=external_data, track=track)
    assert shown == [("writing weights", 1)]


def test_symlink_at_the_destination_is_replaced_not_followed(
    add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    link = tmp_path / "link.onnx"
    link.symlink_to(target)
    model.save(model.load(write(add_model())), link)
    assert target.read_bytes() == b"precious"
    assert not link.is_symlink()


@pytest.mark.parametrize("external_data", [True, False])
def test_missing_folder_is_told_and_nothing_made(
    add_model: Callable, write: Callable, tmp_path: Path, external_data: bool
) -> None:
    target = tmp_path / "absent" / "m.onnx"
    with pytest.raises(EnvironmentLacksError, match=r"m\.onnx: it cannot be written: No such file") as caught:
        model.save(model.load(write(add_model())), target, external_data=external_data)
    assert caught.value.exit_code == 5
    assert not target.parent.exists()


def test_folder_as_destination_is_a_usage_error(add_model: Callable, write: Callable, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"it is a folder; name an .onnx file in it"):
        model.save(model.load(write(add_model())), tmp_path)


def test_weight_that_gives_fewer_bytes_than_its_shape_is_noticed(
    add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    loaded = model.load(write(add_model(big(1.0))))
    short = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1024], raw_data=bytes(4000))
    loaded.graph.initializers["w"].const_value = ir.serde.TensorProtoTensor(short)
    for external_data in (True, False):
        with pytest.raises(InvalidOutputError, match="tensor 'w' gave 4000 bytes, its shape needs 4096"):
            model.save(loaded, tmp_path / "out.onnx", external_data=external_data)
    assert names(tmp_path) == ["m.onnx"]


def test_damage_between_writing_and_reading_back_is_noticed(
    add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    model.save(model.load(write(add_model(big(1.0)))), tmp_path / "pair.onnx", external_data=True)
    (data,) = tmp_path.glob("*.data")
    saving._verify_pair(tmp_path / "pair.onnx", data, 4096, tmp_path / "pair.onnx")
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(InvalidOutputError, match="does not read back: initializer 'w' ends at byte 4096"):
        saving._verify_pair(tmp_path / "pair.onnx", data, 4096, tmp_path / "pair.onnx")
    single = tmp_path / "single.onnx"
    model.save(model.load(write(add_model(big(1.0)))), single)
    size = single.stat().st_size
    saving._verify_single(single, size, {"w": 4096}, single)
    with pytest.raises(InvalidOutputError, match="lacks data 'w'"):
        saving._verify_single(single, size, {"w": 4097}, single)
    single.write_bytes(single.read_bytes()[:-1])
    with pytest.raises(InvalidOutputError, match="does not read back"):
        saving._verify_single(single, size, {"w": 4096}, single)


@pytest.mark.parametrize("external_data", [False, True])
def test_types_of_initializers_are_not_written_a_second_time_and_those_of_other_values_stay(
    tmp_path: Path, external_data: bool
) -> None:
    made = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        "g (float[4] x, bool c) => (float[4] y) <float[4] w = {1, 2, 3, 4}, float[4] h> { h = Add(x, w)"
        " y = If(c) <then_branch = t () => (float[4] a) <float[4] v = {1, 2, 3, 4}> { a = Add(h, v) },"
        " else_branch = e () => (float[4] b) { b = Neg(h) }> }"
    )
    body = next(node for node in made.graph if node.op_type == "If").attributes["then_branch"].as_graph()
    for value in (*made.graph.initializers.values(), *body.initializers.values()):
        value.shape, value.type = ir.Shape([4]), ir.TensorType(ir.DataType.FLOAT)
    model.save(made, tmp_path / "a.onnx", external_data=external_data)
    written = onnx.load(tmp_path / "a.onnx").graph
    branch = next(a.g for node in written.node for a in node.attribute if a.name == "then_branch")
    assert ([info.name for info in written.value_info], [t.name for t in written.initializer]) == (["h"], ["w"])
    assert ([info.name for info in branch.value_info], [t.name for t in branch.initializer]) == ([], ["v"])
