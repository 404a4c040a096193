"""file -> the bytes of what may be an ONNX protobuf, or one line that says what the file is instead.

A protobuf has no magic number, so the check runs the other way round: files that are known to be something else are
named by their first bytes, before anything is parsed.

Source: ONNX IR specification (protobuf, `ModelProto`); protocol buffers cannot hold 2 GiB or more in one message.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from deploycompress.errors import ModelRejectedError

PROTOBUF_LIMIT_BYTES = 2**31 - 1

# (offset, first bytes in lower case, what it is, what to do)
_NOT_ONNX: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "it is a git-LFS pointer, not the model itself",
        "fetch the real file: git lfs pull",
    ),
    (0, b"<!doctype html", "it is a web page, not a model", "download the raw file instead of its page"),
    (0, b"<html", "it is a web page, not a model", "download the raw file instead of its page"),
    (0, b"<?xml", "it is an XML document, not a model", "download the raw file"),
    (0, b"pk\x03\x04", "it is a zip archive (a PyTorch checkpoint?)", "export it first: deploycompress export"),
    (0, b"\x80\x02", "it is a Python pickle, which runs code when read", "export it first: deploycompress export"),
    (0, b"\xfd7zxz\x00", "it is compressed with xz", "unpack it first: xz -d"),
    (0, b"\x1f\x8b", "it is compressed with gzip", "unpack it first: gunzip"),
    (0, b"bzh", "it is compressed with bzip2", "unpack it first: bunzip2"),
    (0, b"(\xb5/\xfd", "it is compressed with zstandard", "unpack it first: zstd -d"),
    (0, b"\x89hdf\r\n", "it is an HDF5 file (Keras?)", "convert it to ONNX first"),
    (0, b"gguf", "it is a GGUF file", "give an ONNX file"),
    (4, b"tfl3", "it is a TensorFlow Lite model", "convert it to ONNX first"),
    (4, b"ortm", "it is an ORT-format model", "give the ONNX file that it was made from"),
)


def read(path: Path) -> bytes:
    """The whole content of `path`.

    Raises:
        ModelRejectedError: Missing, not a regular file, unreadable, empty, too large for one protobuf, or known to be
            something other than a protobuf.
    """
    where = str(path)
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ModelRejectedError("there is no such file", where=where, remedy="check the path") from None
    except (OSError, ValueError) as error:
        raise ModelRejectedError(f"it cannot be read: {_why(error)}", where=where) from error
    if stat.S_ISDIR(found.st_mode):
        inside = sorted(entry.name for entry in path.glob("*.onnx"))[:3]
        raise ModelRejectedError(
            "it is a folder, not a model",
            where=where,
            remedy=f"name the file in it: {', '.join(inside)}" if inside else "name an .onnx file",
        )
    if not stat.S_ISREG(found.st_mode):
        raise ModelRejectedError("it is not a regular file", where=where, remedy="copy the model to a file")
    if found.st_size == 0:
        raise ModelRejectedError("the file is empty", where=where, remedy="fetch or export it again")
    if found.st_size > PROTOBUF_LIMIT_BYTES:
        raise ModelRejectedError(
            f"{found.st_size} bytes do not fit in one protobuf (limit 2 GiB)",
            where=where,
            remedy="export it with external data",
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelRejectedError(f"it cannot be read: {_why(error)}", where=where) from error
    refuse_other_formats(content[:512], where)
    return content


def refuse_other_formats(head: bytes, where: str) -> None:
    """Raises ModelRejectedError where the first bytes of a file belong to a known other format."""
    folded = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for offset, magic, what, remedy in _NOT_ONNX:
        text = folded if offset == 0 else head.lower()
        if text[offset : offset + len(magic)] == magic:
            raise ModelRejectedError(what, where=where, remedy=remedy)


def _why(error: Exception) -> str:
    return os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
