"""External-data entries of hostile models are refused before any data file is opened; honest layouts load."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from deploycompress import model
from deploycompress.errors import ModelRejectedError

DATA = np.arange(8, dtype=np.float32)  # two tensors of four float32: 32 bytes
PLACES = ["initializer", "constant", "branch initializer", "branch constant"]


@pytest.fixture
def secret(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file outside the model's folder that must never be read."""
    path = tmp_path_factory.mktemp("outside") / "secret"
    path.write_bytes(b"secret" * 100)
    return path


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"location": "../w.data"}, r"outside the model's folder; '\.\.' is not allowed"),
        ({"location": "a/../../w.data"}, "outside the model's folder"),
        ({"location": "..\\w.data"}, "outside the model's folder"),
        ({"location": "/etc/passwd"}, "absolute path"),
        ({"location": "C:\\w.data"}, "absolute path"),
        ({"location": "C:w.data"}, "absolute path"),
        ({"location": "\\\\host\\share\\w.data"}, "absolute path"),
        ({"location": ""}, "without a location"),
        ({"offset": 0}, "without a location"),
        ({"location": "w.data\0.txt"}, "impossible external-data location"),
        ({"location": "absent.data"}, "which is not beside the model"),
        ({"location": "*/_ORT_MEM_ADDR_/*", "offset": 4096, "length": 16}, "which is not beside the model"),
        ({"location": "."}, "not a regular file"),
        ({"location": "w.data", "offset": -4}, "offset '-4', which is not a natural number"),
        ({"location": "w.data", "offset": "4.0"}, "offset '4.0'"),
        ({"location": "w.data", "offset": "0x4"}, "offset '0x4'"),
        ({"location": "w.data", "offset": "9" * 5000}, "not a natural number"),
        ({"location": "w.data", "offset": 20}, "ends at byte 36 of 'w.data', which has 32"),
        ({"location": "w.data", "offset": 10**18}, "which has 32"),
        ({"location": "w.data", "length": 10**15}, r"says 1000000000000000 bytes.*its shape \[4\] needs 16"),
        ({"location": "w.data", "length": 12}, "says 12 bytes"),
        ({"location": "w.data", "basepath": "/"}, "unknown external-data key 'basepath'"),
        ({"location": "w.data", "__class__": "x"}, "unknown external-data key"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_hostile_entry_is_refused(
    place: str, entries: dict[str, object], what: str, external: Callable, add_model: Callable, write: Callable
) -> None:
    path = write(add_model(external(**entries), place), DATA)
    with pytest.raises(ModelRejectedError, match=what) as caught:
        model.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert len(message) < 1000
    assert "'w'" in message if "initializer" in place else "Constant node 'w'" in message
    assert caught.value.exit_code == 4


def test_same_key_twice_is_refused(external: Callable, add_model: Callable, write: Callable) -> None:
    weight = external(location="w.data")
    weight.external_data.add(key="location", value="other.data")
    with pytest.raises(ModelRejectedError, match="gives the external-data key 'location' twice"):
        model.load(write(add_model(weight), DATA))


def test_shape_larger_than_any_memory_is_refused(external: Callable, add_model: Callable, write: Callable) -> None:
    weight = external(dims=(2**40, 2**40), location="w.data")
    with pytest.raises(ModelRejectedError, match="which has 32"):
        model.load(write(add_model(weight), DATA))


def test_string_tensor_outside_the_file_is_refused(external: Callable, add_model: Callable, write: Callable) -> None:
    weight = external(location="w.data")
    weight.data_type = onnx.TensorProto.STRING
    with pytest.raises(ModelRejectedError, match="holds strings"):
        model.load(write(add_model(weight), DATA))


def test_symlink_leading_outside_is_refused(
    external: Callable, add_model: Callable, write: Callable, secret: Path
) -> None:
    path = write(add_model(external(location="w.data")))
    (path.parent / "w.data").symlink_to(secret)
    with pytest.raises(ModelRejectedError, match="a link that leads outside the model's folder; if you trust it, copy"):
        model.load(path)


def test_symlinked_folder_leading_outside_is_refused(
    external: Callable, add_model: Callable, write: Callable, secret: Path
) -> None:
    path = write(add_model(external(location="sub/secret")))
    (path.parent / "sub").symlink_to(secret.parent)
    with pytest.raises(ModelRejectedError, match="leads outside the model's folder"):
        model.load(path)


def test_dangling_symlink_is_refused(external: Callable, add_model: Callable, write: Callable) -> None:
    path = write(add_model(external(location="w.data")))
    (path.parent / "w.data").symlink_to("nowhere")
    with pytest.raises(ModelRejectedError, match="a link that leads nowhere"):
        model.load(path)


def test_symlink_to_itself_is_refused(external: Callable, add_model: Callable, write: Callable) -> None:
    path = write(add_model(external(location="w.data")))
    (path.parent / "w.data").symlink_to("w.data")
    with pytest.raises(ModelRejectedError, match="a link that leads nowhere"):
        model.load(path)


def test_hard_link_is_refused(external: Callable, add_model: Callable, write: Callable, secret: Path) -> None:
    path = write(add_model(external(location="w.data")))
    os.link(secret, path.parent / "w.data")
    with pytest.raises(ModelRejectedError, match=r"a hard link \(the file has 2 names\); if you trust it, replace it"):
        model.load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_as_data_is_refused_without_opening_it(
    external: Callable, add_model: Callable, write: Callable
) -> None:
    path = write(add_model(external(location="w.data")))
    os.mkfifo(path.parent / "w.data")
    with pytest.raises(ModelRejectedError, match="not a regular file"):
        model.load(path)


@pytest.mark.parametrize("place", PLACES)
def test_external_weights_are_mapped_wherever_they_lie(
    place: str, external: Callable, add_model: Callable, write: Callable, run: Callable
) -> None:
    path = write(add_model(external(location="w.data", offset=16, length=16, checksum="ab"), place), DATA)
    loaded = model.load(path)
    assert model.weights_dir(loaded) == path.parent.resolve()
    zeros = {"x": np.zeros((1, 4), np.float32)}
    (out,) = run(model.serialize(loaded), zeros, model.weights_dir(loaded))
    np.testing.assert_array_equal(out[0], DATA[4:])


def test_missing_offset_and_length_mean_start_and_whole_shape(
    external: Callable, add_model: Callable, write: Callable
) -> None:
    loaded = model.load(write(add_model(external(location="w.data")), DATA))
    np.testing.assert_array_equal(loaded.graph.initializers["w"].const_value.numpy(), DATA[:4])


@pytest.fixture
def hub(tmp_path: Path, external: Callable, add_model: Callable) -> Path:
    """A hub cache: model and data are links from a snapshot into a store of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "rev"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "aaaa").write_bytes(add_model(external(location="w.data")).SerializeToString())
    DATA.tofile(blobs / "bbbb")
    (snapshot / "m.onnx").symlink_to("../../blobs/aaaa")
    (snapshot / "w.data").symlink_to("../../blobs/bbbb")
    return snapshot / "m.onnx"


def test_hub_cache_layout_loads_and_runs(hub: Path, run: Callable) -> None:
    loaded = model.load(hub)
    np.testing.assert_array_equal(loaded.graph.initializers["w"].const_value.numpy(), DATA[:4])
    assert model.weights_dir(loaded) == hub.resolve().parent
    (out,) = run(model.serialize(loaded), {"x": np.zeros((1, 4), np.float32)}, model.weights_dir(loaded))
    np.testing.assert_array_equal(out[0], DATA[:4])


def test_hub_cache_data_linked_outside_the_store_is_refused(hub: Path, secret: Path) -> None:
    (hub.parent / "w.data").unlink()
    (hub.parent / "w.data").symlink_to(secret)
    with pytest.raises(ModelRejectedError, match="leads outside the model's folder"):
        model.load(hub)


def test_link_to_a_model_finds_the_data_beside_the_real_one(
    external: Callable, add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    path = write(add_model(external(location="w.data")), DATA)
    link = tmp_path / "elsewhere" / "link.onnx"
    link.parent.mkdir()
    link.symlink_to(path)
    loaded = model.load(link)
    np.testing.assert_array_equal(loaded.graph.initializers["w"].const_value.numpy(), DATA[:4])


def test_data_in_two_folders_is_refused(
    external: Callable, add_model: Callable, write: Callable, tmp_path: Path
) -> None:
    proto = add_model(external(location="w.data"))
    proto.graph.initializer.append(external(name="v", location="v.data"))
    path = write(proto, DATA)
    link = tmp_path / "elsewhere" / "link.onnx"
    link.parent.mkdir()
    link.symlink_to(path)
    DATA.tofile(link.parent / "v.data")
    with pytest.raises(ModelRejectedError, match="its data files lie in two folders; copy them all next to the model"):
        model.load(link)
