"""bytes -> a file that is either absent or whole: temporary file beside the target, fsync, rename.

After a crash at any instruction the target is the old file or the new one (`rename` is atomic), and its content is on
disk before its name is (fsync of the file, then rename, then fsync of the folder).

Source: POSIX rename(2), fsync(2).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deploycompress.errors import EnvironmentLacksError


class HashingSink:
    """A write-only file that counts and hashes (sha256) what passes through it.

    It has no `fileno`, so that tensors are written through it in pieces instead of past it by the kernel.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.written_bytes = 0

    def write(self, data: bytes) -> int:
        """Writes all of `data`."""
        self._file.write(data)
        self._sha256.update(data)
        self.written_bytes += len(data)
        return len(data)

    @property
    def hexdigest(self) -> str:
        """sha256 of everything written so far."""
        return self._sha256.hexdigest()


@contextlib.contextmanager
def temporary(target: Path) -> Iterator[Path]:
    """A fresh hidden path beside `target`, removed at the end unless it was renamed away."""
    path = target.parent / f".{target.name}.{secrets.token_hex(6)}.tmp"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def created(path: Path) -> Iterator[BinaryIO]:
    """A new file open for writing; on disk when the block ends."""
    with path.open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def check_writable(target: Path) -> None:
    """Finds out before the work begins whether a file can be made beside `target`.

    Raises:
        EnvironmentLacksError: It cannot.
    """
    with plain_errors(target), temporary(target) as path:
        path.touch(exist_ok=False)


def publish(temporary_path: Path, target: Path) -> None:
    """Renames a finished file over `target` and puts the rename on disk."""
    temporary_path.replace(target)
    if hasattr(os, "O_DIRECTORY"):  # a folder cannot be opened on Windows, which needs no such step
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def plain_errors(target: Path) -> Iterator[None]:
    """Turns a full disk, a missing folder or a lacking permission into one line and exit code 5."""
    try:
        yield
    except OSError as error:
        raise EnvironmentLacksError(
            f"it cannot be written: {error.strerror or error}",
            where=str(target),
            remedy="free some space, or choose a folder that exists and is writable",
        ) from error
