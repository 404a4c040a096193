"""Files that are not models are named for what they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from deploycompress.errors import ModelRejectedError
from deploycompress.model import sniff


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git-LFS pointer.*git lfs pull"),
        (b"\n <!DOCTYPE html>\n<html>", "web page"),
        (b"<HTML><head>", "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "XML document"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x80\x02}q\x00.", "pickle, which runs code"),
        (b"\xfd7zXZ\x00rest", "compressed with xz.*xz -d"),
        (b"\x1f\x8b\x08", "compressed with gzip"),
        (b"BZh9", "compressed with bzip2"),
        (b"(\xb5/\xfdrest", "zstandard"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"GGUF\x03", "GGUF"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"\x1c\x00\x00\x00ORTM", "ORT-format"),
        (b"", "empty"),
    ],
)
def test_file_of_another_kind_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelRejectedError, match=f"m.onnx: .*{what}") as caught:
        sniff.read(path)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelRejectedError, match=r"absent\.onnx: there is no such file"):
        sniff.read(tmp_path / "absent.onnx")


def test_folder_is_refused_with_the_models_in_it(tmp_path: Path) -> None:
    (tmp_path / "inside.onnx").write_bytes(b"x")
    with pytest.raises(ModelRejectedError, match=r"it is a folder, not a model; name the file in it: inside\.onnx"):
        sniff.read(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    os.mkfifo(path)
    with pytest.raises(ModelRejectedError, match="not a regular file"):
        sniff.read(path)


def test_file_over_two_gigabytes_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate(2**31)  # a hole: takes no space
    with pytest.raises(ModelRejectedError, match=r"do not fit in one protobuf.*export it with external data"):
        sniff.read(path)


def test_path_with_a_null_character_is_refused() -> None:
    with pytest.raises(ModelRejectedError, match="cannot be read"):
        sniff.read(Path("a\0b.onnx"))
