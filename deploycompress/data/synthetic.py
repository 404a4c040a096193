"""`random` or `random:N` -> N feeds drawn for the shapes and element types of a signature; void for accuracy.

Floats are standard normal, integers and booleans 0 or 1 (legal as token ids, types and masks alike; an input called a
mask is all ones), strings "a". Free axes: 1 for the batch, 32 for the height and width of an image, 8 otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploycompress.data.conform import Conform
from deploycompress.data.source import Entry, Raw
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.records.signature import Signature, TensorSpec

DEFAULT_COUNT = 16
_IMAGE_RANK, _IMAGE_SIDE_PX, _OTHER_LENGTH = 4, 32, 8


@dataclass(frozen=True)
class Random:
    """A source of random feeds; sample i is the same whenever it is read."""

    signature: Signature
    count: int
    whole: bool
    notes: tuple[str, ...] = ("the samples are random: accuracy and ranges measured on them are void",)
    refused: tuple[tuple[str, str], ...] = ()

    def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
        """See `Source.read`."""
        for index in range(self.count):
            if wanted is None or index in wanted:
                name = f"random[{index}]"
                arrays = {
                    spec.name: _draw(spec, np.random.default_rng([index, position]), whole=self.whole)
                    for position, spec in enumerate(self.signature.inputs)
                }
                yield Entry(index, name, Raw(arrays, None, name, self.whole))


def open_random(source: str, conform: Conform) -> Random:
    """The source that `random` or `random:N` names.

    Raises:
        UsageError: N is not a positive number.
        UnsupportedError: An input is not a tensor of numbers, booleans or strings.
    """
    _, colon, number = source.partition(":")
    if colon and (not number.isdecimal() or int(number) == 0):
        raise UsageError(f"{source!r} is not a number of random samples", remedy="write random or random:100")
    for spec in conform.signature.inputs:
        if not _can_draw(spec):
            raise UnsupportedError(f"random data cannot be made for {spec}", remedy="give real samples")
    return Random(conform.signature, int(number) if colon else DEFAULT_COUNT, not conform.axis.is_dynamic)


def _can_draw(spec: TensorSpec) -> bool:
    if spec.dtype in {"str", "bool"}:
        return True
    try:
        return np.dtype(spec.dtype or "O").kind in "iuf"
    except TypeError:
        return False


def _draw(spec: TensorSpec, rng: np.random.Generator, *, whole: bool) -> Any:  # noqa: ANN401 - of any element type
    dims = spec.shape or ()
    lengths = [dim if isinstance(dim, int) else _length(axis, len(dims)) for axis, dim in enumerate(dims)]
    shape = tuple(lengths if whole else lengths[1:])
    if spec.dtype == "str":
        return np.full(shape, "a", object)
    if np.dtype(spec.dtype).kind == "f":
        return np.asarray(rng.standard_normal(shape)).astype(spec.dtype)
    if "mask" in spec.name.lower():
        return np.ones(shape, spec.dtype)
    return np.asarray(rng.integers(0, 2, shape)).astype(spec.dtype)


def _length(axis: int, rank: int) -> int:
    if axis == 0:
        return 1
    return _IMAGE_SIDE_PX if rank == _IMAGE_RANK and axis > 1 else _OTHER_LENGTH
