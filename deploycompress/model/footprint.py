"""model file -> the files it consists of, and their bytes on disk."""

from __future__ import annotations

from pathlib import Path

from deploycompress.model import sniff
from deploycompress.model.loading import check_tensors, parse


def data_files(path: Path) -> tuple[Path, ...]:
    """External data files that the model at `path` refers to, each once, ordered by location.

    Raises:
        ModelRejectedError: The model is damaged, or refers to data that it must not.
    """
    files = check_tensors(parse(sniff.read(path), path), path)
    return tuple(dict.fromkeys(file.path for _, file in sorted(files.items())))


def size_bytes(path: Path) -> int:
    """Bytes of the model file and its external data."""
    return sum(file.stat().st_size for file in (path, *data_files(path)))
