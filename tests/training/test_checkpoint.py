"""Checkpoints come back bit for bit; what would run code or is damaged is refused, and the message says why."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import CheckpointRejectedError, UsageError
from deploycompress.training import checkpoint


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


class Payload:
    """Pickles to a call of os.system, as a hostile checkpoint does."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def assert_same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_saved_state_comes_back_exactly(tmp_path: Path) -> None:
    state = network().state_dict()
    checkpoint.save(state, tmp_path / "c.safetensors")
    assert_same(checkpoint.load(tmp_path / "c.safetensors"), state)
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_checkpoint_can_be_read_by_whom_any_new_file_can(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    checkpoint.save(network().state_dict(), tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tied_weights_are_saved_under_both_names(tmp_path: Path) -> None:
    shared = torch.ones(2, 2)
    checkpoint.save({"a": shared, "b": shared}, tmp_path / "c.safetensors")
    assert_same(checkpoint.load(tmp_path / "c.safetensors"), {"a": shared, "b": shared})


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_torch_files_are_unwrapped(tmp_path: Path, suffix: str, wrapper: str | None, prefix: str) -> None:
    state = network().state_dict()
    named = {prefix + name: tensor for name, tensor in state.items()}
    torch.save(named if wrapper is None else {wrapper: named, "epoch": 3}, tmp_path / f"c{suffix}")
    assert_same(checkpoint.load(tmp_path / f"c{suffix}"), state)


def test_prefix_that_only_some_names_share_stays(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "c.pt")
    assert set(checkpoint.load(tmp_path / "c.pt")) == {"module.a", "b"}


def test_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"state_dict": Payload(canary)}, tmp_path / "c.pt")
    with pytest.raises(
        CheckpointRejectedError, match=r"c\.pt: reading it would execute (posix|nt)\.system; .*--trust"
    ) as info:
        checkpoint.load(tmp_path / "c.pt")
    assert info.value.exit_code == 4
    assert not canary.exists()


def test_plain_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (tmp_path / "c.pth").write_bytes(pickle.dumps(Payload(canary)))
    with pytest.raises(CheckpointRejectedError, match=r"would execute (posix|nt)\.system"):
        checkpoint.load(tmp_path / "c.pth")
    assert not canary.exists()


def test_pickled_module_needs_trust(tmp_path: Path) -> None:
    model = network()
    torch.save(model, tmp_path / "c.pt")
    with pytest.raises(CheckpointRejectedError, match=r"would execute torch\.nn\.modules"):
        checkpoint.load(tmp_path / "c.pt")
    assert_same(checkpoint.load(tmp_path / "c.pt", trust=True), model.state_dict())


@pytest.mark.parametrize("name", ["c.safetensors", "c.pt"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html></html>", "it is a web page"),
    ],
)
def test_files_mistaken_for_checkpoints_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointRejectedError, match=message):
        checkpoint.load(tmp_path / name)


@pytest.mark.parametrize("name", ["c.safetensors", "c.pt"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_truncated_file_is_refused(tmp_path: Path, name: str, keep: float) -> None:
    path, state = tmp_path / name, network().state_dict()
    checkpoint.save(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(CheckpointRejectedError, match=r"truncated|cannot read it"):
        checkpoint.load(path)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(tmp_path: Path, seed: int) -> None:
    content = torch.randint(0, 256, (300,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    for name in ("c.safetensors", "c.pt"):
        (tmp_path / name).write_bytes(content.numpy().tobytes())
        with pytest.raises(CheckpointRejectedError):
            checkpoint.load(tmp_path / name)


@pytest.mark.parametrize("value", [[1, 2], {"a": 3}, {}, torch.ones(2)])
def test_file_without_state_dict_is_refused(tmp_path: Path, value: object) -> None:
    torch.save(value, tmp_path / "c.pt")
    with pytest.raises(CheckpointRejectedError, match=r"it holds|is empty"):
        checkpoint.load(tmp_path / "c.pt")


def test_absent_file_is_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such checkpoint"):
        checkpoint.load(tmp_path / "c.pt")


def test_matching_checkpoint_loads_into_module(tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in network().state_dict().items()}
    checkpoint.save(state, tmp_path / "c.safetensors")
    model = network()
    checkpoint.load_into(model, tmp_path / "c.safetensors")
    assert_same(model.state_dict(), state)


def test_wrong_names_and_shapes_are_listed_and_nothing_is_loaded(tmp_path: Path) -> None:
    state = network().state_dict()
    state["0.wieght"] = state.pop("0.weight")
    state["1.bias"] = torch.zeros(5)
    checkpoint.save(state, tmp_path / "c.safetensors")
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(
        CheckpointRejectedError,
        match=r"lacks 1 of the model's tensors: 0\.weight; it has 1 the model lacks: 0\.wieght \(nearest: 0\.weight\); "
        r"1 shapes differ: 1\.bias is \(5,\), the model has \(3,\)",
    ):
        checkpoint.load_into(model, tmp_path / "c.safetensors")
    assert_same(model.state_dict(), before)
