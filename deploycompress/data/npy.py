""".npy and .npz file -> its arrays row by row, without unpickling and without reading the file whole.

A .npy file is mapped; an array inside a .npz is decompressed as a stream, so rows cost their own size. Pickled (object)
arrays are never read.

Source: NEP 1, "A Simple File Format for NumPy Arrays".
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from deploycompress.data.source import Unusable

_PICKLED = "it holds pickled objects, which run code when read; save plain arrays"


@dataclass(frozen=True)
class Stored:
    """One array of a file, known by its header.

    Attributes:
        path: The file.
        member: Its name inside a .npz; "" in a .npy.
        shape: Its shape.
        dtype: Its element type.
    """

    path: Path
    member: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def all(self) -> np.ndarray:
        """The whole array.

        Raises:
            Unusable: The file is damaged.
        """
        with _plain_errors():
            loaded = np.load(self.path, allow_pickle=False)
            if not self.member:
                return np.asarray(loaded)
            with loaded:
                return np.asarray(loaded[self.member])

    def rows(self, wanted: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the rows of these numbers (rising) along axis 0.

        Raises:
            Unusable: The file is damaged.
        """
        with _plain_errors():
            if not self.member:
                mapped = np.load(self.path, mmap_mode="r" if math.prod(self.shape) else None, allow_pickle=False)
                for number in wanted:
                    yield np.array(mapped[number])
                return
            with zipfile.ZipFile(self.path) as archive, archive.open(f"{self.member}.npy") as stream:
                _, fortran, dtype = _header(stream)
                if fortran and len(self.shape) > 1:
                    whole = self.all()
                    for number in wanted:
                        yield whole[number]
                    return
                yield from self._stream(stream, wanted, dtype)

    def _stream(self, stream: IO[bytes], wanted: Sequence[int], dtype: np.dtype) -> Iterator[np.ndarray]:
        row_bytes = math.prod(self.shape[1:]) * dtype.itemsize
        position = 0
        for number in wanted:
            while position < number:
                if len(stream.read(row_bytes)) < row_bytes:
                    raise Unusable(_truncated(self.member))
                position += 1
            content = stream.read(row_bytes)
            if len(content) < row_bytes:
                raise Unusable(_truncated(self.member))
            position += 1
            yield np.frombuffer(content, dtype).reshape(self.shape[1:])


def open_npy(path: Path) -> Stored:
    """The array in a .npy file, header only.

    Raises:
        Unusable: It is damaged, truncated, or holds pickled objects.
    """
    with _plain_errors():
        with path.open("rb") as file:
            shape, _, dtype = _header(file)
            data_bytes = path.stat().st_size - file.tell()
        if data_bytes < math.prod(shape) * dtype.itemsize:
            raise Unusable(f"it is truncated: {data_bytes} of {math.prod(shape) * dtype.itemsize} bytes are there")
        return Stored(path, "", shape, dtype)


def open_npz(path: Path) -> dict[str, Stored]:
    """The arrays in a .npz file by name, headers only.

    Raises:
        Unusable: It is damaged, truncated, or holds pickled objects.
    """
    found = {}
    with _plain_errors(), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".npy"):
                with archive.open(name) as stream:
                    shape, _, dtype = _header(stream)
                member = name.removesuffix(".npy")
                found[member] = Stored(path, member, shape, dtype)
    if not found:
        raise Unusable("it holds no array")
    return found


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise Unusable(f"its array format version {version} is not known")
    if dtype.hasobject:
        raise Unusable(_PICKLED)
    return shape, fortran, dtype


def _truncated(member: str) -> str:
    return f"array {member!r} is truncated"


class _plain_errors:
    """Turns what a damaged file raises into a reason."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, zipfile.BadZipFile | zlib.error | EOFError | ValueError | OSError | KeyError):
            raise Unusable(f"it is damaged or truncated ({' '.join(str(error).split())})") from error
