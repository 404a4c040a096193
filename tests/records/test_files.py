"""A file is the old one or the whole new one; hashes see content and names."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from deploycompress.errors import EnvironmentLacksError
from deploycompress.records.files import atomic, sha256, write_text


def test_written_file_appears_with_no_leftover(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "whole")
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_failure_midway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with atomic(path) as temporary:
            temporary.write_text("ha")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_half()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_old_file_is_replaced_whole_and_never_written_into(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")
    (tmp_path / "other_name_of_the_old").hardlink_to(tmp_path / "a")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new"
    assert (tmp_path / "other_name_of_the_old").read_text() == "old"


def test_temporary_keeps_the_suffix_in_the_same_folder(tmp_path: Path) -> None:
    with atomic(tmp_path / "m.onnx") as temporary:
        assert temporary.suffix == ".onnx"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"x")


def test_unwritable_place_is_environment_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentLacksError, match=r"file/a\.txt: cannot write it: .+; check the path"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_hash_of_file_is_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()


def test_hash_of_folder_sees_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"1")
    first = sha256(tmp_path / "d")
    (tmp_path / "d" / "a").write_bytes(b"2")
    second = sha256(tmp_path / "d")
    (tmp_path / "d" / "a").rename(tmp_path / "d" / "b")
    assert len({first, second, sha256(tmp_path / "d")}) == 3
