"""numpy files are read by header and by row; damaged, truncated and pickled ones give their reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.data.npy import open_npy, open_npz
from deploycompress.data.source import Unusable


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans(), st.booleans(), st.data())
def test_rows_are_those_of_the_array(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], fortran: bool, compressed: bool, data: st.DataObject
) -> None:
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    array = np.asfortranarray(array) if fortran else array
    folder = tmp_path_factory.mktemp("npy")
    np.save(folder / "a.npy", array)
    (np.savez_compressed if compressed else np.savez)(folder / "a.npz", a=array, other=np.zeros(3))
    wanted = sorted(data.draw(st.sets(st.integers(0, shape[0] - 1))))
    for stored in (open_npy(folder / "a.npy"), open_npz(folder / "a.npz")["a"]):
        assert stored.shape == tuple(shape)
        np.testing.assert_array_equal(stored.all(), array)
        rows = list(stored.rows(wanted))
        assert len(rows) == len(wanted)
        for number, row in zip(wanted, rows, strict=True):
            np.testing.assert_array_equal(row, array[number])


def test_rows_of_a_column_major_array_are_rows(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(12).reshape(3, 4))
    np.savez(tmp_path / "a.npz", a=array)
    np.testing.assert_array_equal(list(open_npz(tmp_path / "a.npz")["a"].rows([0, 2])), array[[0, 2]])


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.write_text, (self.target, "harmed")


def test_pickled_objects_are_never_read(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    np.save(tmp_path / "a.npy", np.array([Harm(canary)], object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", a=np.array([Harm(canary)], object))
    with (tmp_path / "b.npy").open("wb") as file:
        pickle.dump(Harm(canary), file)
    with pytest.raises(Unusable, match="holds pickled objects, which run code when read"):
        open_npy(tmp_path / "a.npy")
    with pytest.raises(Unusable, match="holds pickled objects"):
        open_npz(tmp_path / "a.npz")
    with pytest.raises(Unusable, match="damaged or truncated"):
        open_npy(tmp_path / "b.npy")
    assert not canary.exists()


def test_truncated_npy_is_noticed_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((4, 4), np.float32))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Unusable, match="truncated: 63 of 64 bytes are there"):
        open_npy(path)


def test_header_promising_more_than_any_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((1111, 1), np.float32))
    path.write_bytes(path.read_bytes().replace(b"1111", b"9" * 4, 1).replace(b"(9999, 1)", b"(9999, 999999999999)"))
    with pytest.raises(Unusable):
        open_npy(path)


def test_truncated_npz_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(1000))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(Unusable, match="damaged or truncated"):
        open_npz(path)


def test_npz_damaged_in_the_middle_is_noticed_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.random.default_rng(0).integers(0, 255, (100, 100), np.uint8))
    content = bytearray(path.read_bytes())
    content[5000:5100] = bytes(100)
    path.write_bytes(bytes(content))
    stored = open_npz(path)["a"]
    with pytest.raises(Unusable, match="damaged or truncated"):
        list(stored.rows(range(100)))


def test_npz_without_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    with pytest.raises(Unusable, match="holds no array"):
        open_npz(tmp_path / "a.npz")
