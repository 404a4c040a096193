"""model file and its external data -> bytes on disk, and bytes on the wire after zlib.

Works on files alone: who knows the graph names the external files.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

from deploycompress.errors import InputRejectedError
from deploycompress.records.measured import ModelSize

_CHUNK = 1 << 20
# zlib takes about 30 ms per megabyte; beyond this the figure is not worth the wait.
_COMPRESS_UP_TO_BYTES = 256 << 20


def size(model: Path, external: Sequence[Path] = ()) -> ModelSize:
    """Bytes of `model` with its external data files.

    Args:
        model: The ONNX file.
        external: Every external data file of it, once.

    Raises:
        InputRejectedError: One of them cannot be read.
    """
    files = [model, *external]
    try:
        total = sum(file.stat().st_size for file in files)
        download = sum(_deflated(file) for file in files) if total <= _COMPRESS_UP_TO_BYTES else None
    except OSError as error:
        raise InputRejectedError(f"cannot be read: {error.strerror}", where=str(error.filename or model)) from error
    return ModelSize(total, download)


def _deflated(file: Path) -> int:
    packer, count = zlib.compressobj(), 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            count += len(packer.compress(chunk))
    return count + len(packer.flush())
