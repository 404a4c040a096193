"""text or a writer -> a file that is either the old one or the whole new one; file -> sha256.

Source: POSIX rename(2), "If newpath already exists, it will be atomically replaced"; fsync(2) before it, so that the
name never points at bytes that a power cut can still lose.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploycompress.errors import EnvironmentLacksError


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`; leaving the block puts what was written there in its place.

    An exception inside the block removes the temporary file and leaves an existing `path` as it was.

    Raises:
        EnvironmentLacksError: The folder cannot be made or written (permission, disk space).
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentLacksError(
            f"cannot write it: {error.strerror or error}", where=str(path), remedy="check the path and the free space"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Writes `text` atomically, as UTF-8."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal sha256 of one file, or of a folder: of every file below it, names included, in sorted order."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(found for found in path.rglob("*") if found.is_file()):
            digest.update(f"{file.relative_to(path).as_posix()}\0{sha256(file)}\n".encode())
        return digest.hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
