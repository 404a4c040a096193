"""statistics + where they come from <-> `X.calib.json` and `X.calib.npz`, bit for bit.

The JSON holds words and scalars (see `header`), the npz plain arrays:

    histograms         int64   [tensors, 2048]
    channel_sums/k     float64 [channels]         of tensor k, where it has any
    channel_low/k      float64 [channels]
    channel_high/k     float64 [channels]
    gram_sums/k        float64 [groups, features] of Gram matrix k
    gram_products/k    float64 [groups, features, features]

Both are written to temporary files first; the npz is renamed into place and then the JSON, which knows the npz by its
sha256, so that a process killed between the two leaves a pair that is refused and not one that is wrong. Nothing is
unpickled, and no array is read before its declared size is known to fit in the file.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from deploycompress.calibration.gram import Gram
from deploycompress.calibration.header import SCHEMA_VERSION, GramEntry, Header, Origin, Stamp, TensorEntry
from deploycompress.calibration.histogram import BINS, Histogram
from deploycompress.calibration.statistics import Statistics, TensorStatistics
from deploycompress.data.npy import Stored, open_npz
from deploycompress.data.source import Unusable
from deploycompress.errors import CalibrationRejectedError, UsageError
from deploycompress.records.files import atomic, sha256

_LARGEST_HEADER_BYTES = 1 << 28  # a model of 100,000 tensors needs a tenth of it
_AGAIN = "make it again with deploycompress calibrate"
_Arrays = Mapping[str, NDArray[np.generic]]
_CHANNELS = ("channel_sums", "channel_low", "channel_high")


@dataclass(frozen=True)
class Calibration:
    """Statistics and what they were made from."""

    origin: Origin
    statistics: Statistics


def check_name(path: Path) -> None:
    """Refuses an output that is not called `*.json`.

    Raises:
        UsageError: With the name to give.
    """
    if path.suffix != ".json":
        raise UsageError(
            "a calibration file is called *.json, its arrays *.npz beside it",
            where=str(path),
            remedy=f"give -o {path}.calib.json",
        )


def arrays_path(path: Path) -> Path:
    """Where the arrays of the calibration file `path` lie."""
    return path.with_suffix(".npz")


def save(calibration: Calibration, path: Path) -> None:
    """Writes both files, each atomically.

    Raises:
        UsageError: The name does not end in `.json`.
        EnvironmentLacksError: The folder cannot be written.
    """
    check_name(path)
    statistics = calibration.statistics
    with atomic(path) as draft, atomic(arrays_path(path)) as arrays:
        with arrays.open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(_arrays(statistics)))
        digest = sha256(arrays)
        header = Header(
            arrays_sha256=digest,
            origin=calibration.origin,
            samples=statistics.samples,
            tensors=tuple(_entry(name, tensor) for name, tensor in statistics.tensors.items()),
            grams=tuple(GramEntry(layer=layer, count=gram.count) for layer, gram in statistics.grams.items()),
            left=dict(statistics.left),
        )
        draft.write_text(header.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Calibration:
    """What `save` wrote.

    Raises:
        CalibrationRejectedError: It is not there, not a calibration file, of another version, damaged, or its arrays
            do not agree with what it says.
    """
    header = _header(path)
    stored = arrays_path(path)
    try:
        if sha256(stored) != header.arrays_sha256:
            raise CalibrationRejectedError(
                f"it is not the file that {path.name} was written with", where=str(stored), remedy=_AGAIN
            )
        arrays = _read(stored, _expected(header))
    except OSError as error:
        raise CalibrationRejectedError(
            f"its arrays cannot be read: {error.strerror or error}",
            where=str(stored),
            remedy=f"keep it beside {path.name}",
        ) from error
    except Unusable as reason:
        raise CalibrationRejectedError(str(reason), where=str(stored), remedy=_AGAIN) from reason
    tensors = {entry.name: _tensor(entry, k, arrays, stored) for k, entry in enumerate(header.tensors)}
    grams = {entry.layer: _gram(entry, k, arrays, stored) for k, entry in enumerate(header.grams)}
    return Calibration(header.origin, Statistics(tensors, header.samples, grams, header.left))


def _header(path: Path) -> Header:
    try:
        if path.stat().st_size > _LARGEST_HEADER_BYTES:
            raise CalibrationRejectedError("it is too large to be a calibration file", where=str(path))
        content = path.read_bytes()
    except OSError as error:
        raise CalibrationRejectedError(f"it cannot be read: {error.strerror or error}", where=str(path)) from error
    try:
        stamp = Stamp.model_validate_json(content)
    except ValidationError as error:
        raise CalibrationRejectedError(
            "it is not a calibration file", where=str(path), remedy="deploycompress calibrate makes one"
        ) from error
    if stamp.schema_version != SCHEMA_VERSION:
        raise CalibrationRejectedError(
            f"its schema version is {stamp.schema_version}, this deploycompress reads {SCHEMA_VERSION}",
            where=str(path),
            remedy=_AGAIN,
        )
    try:
        return Header.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise CalibrationRejectedError(
            f"{key}: {first['msg'].removeprefix('Value error, ')}", where=str(path), remedy=_AGAIN
        ) from error


def _expected(header: Header) -> dict[str, tuple[np.dtype, tuple[int, ...]]]:
    """Element type and shape of every array the npz must hold."""
    integers, floats = np.dtype(np.int64), np.dtype(np.float64)
    expected: dict[str, tuple[np.dtype, tuple[int, ...]]] = {"histograms": (integers, (len(header.tensors), BINS))}
    for k, tensor in enumerate(header.tensors):
        if tensor.channels is not None:
            expected.update({f"{kind}/{k}": (floats, (tensor.channels,)) for kind in _CHANNELS})
    for k, gram in enumerate(header.grams):
        groups, features = gram.layer.groups, gram.layer.features
        expected[f"gram_sums/{k}"] = (floats, (groups, features))
        expected[f"gram_products/{k}"] = (floats, (groups, features, features))
    return expected


def _read(path: Path, expected: Mapping[str, tuple[np.dtype, tuple[int, ...]]]) -> _Arrays:
    found = open_npz(path)
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected:
            raise Unusable(f"array {name!r} is {'missing' if name in expected else 'not one it should hold'}")
        dtype, shape = expected[name]
        if (found[name].dtype, found[name].shape) != (dtype, shape):
            raise Unusable(f"array {name!r} is {_said(found[name])} and should be {dtype}{list(shape)}")
    size_bytes = sum(math.prod(shape) * dtype.itemsize for dtype, shape in expected.values())
    if size_bytes > path.stat().st_size:
        raise Unusable(f"its arrays need {size_bytes} bytes and it has {path.stat().st_size}")
    return {name: found[name].all() for name in expected}


def _said(array: Stored) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _arrays(statistics: Statistics) -> Iterator[tuple[str, NDArray[np.generic]]]:
    tensors = list(statistics.tensors.values())
    yield "histograms", np.array([t.histogram.counts for t in tensors], np.int64).reshape(len(tensors), BINS)
    for k, tensor in enumerate(tensors):
        for kind, values in zip(_CHANNELS, tensor.channels, strict=True):
            if values is not None:
                yield f"{kind}/{k}", values
    for k, gram in enumerate(statistics.grams.values()):
        yield f"gram_sums/{k}", gram.sums
        yield f"gram_products/{k}", gram.products


def _entry(name: str, tensor: TensorStatistics) -> TensorEntry:
    return TensorEntry(
        name=name,
        count=tensor.count,
        low=tensor.low,
        high=tensor.high,
        nonfinite=tensor.nonfinite,
        exponent=tensor.histogram.exponent,
        channels=None if tensor.channel_sums is None else tensor.channel_sums.size,
    )


def _tensor(entry: TensorEntry, k: int, arrays: _Arrays, path: Path) -> TensorStatistics:
    counts = np.asarray(arrays["histograms"][k], np.int64)
    if counts.min() < 0 or int(counts.sum()) > entry.count:
        raise CalibrationRejectedError(
            f"the histogram of {entry.name!r} does not hold counts of {entry.count} elements",
            where=str(path),
            remedy=_AGAIN,
        )
    sums, lows, highs = (_floats(arrays.get(f"{kind}/{k}"), entry.name, path) for kind in _CHANNELS)
    histogram = Histogram(entry.exponent, counts)
    return TensorStatistics(entry.count, entry.low, entry.high, entry.nonfinite, histogram, sums, lows, highs)


def _gram(entry: GramEntry, k: int, arrays: _Arrays, path: Path) -> Gram:
    sums = _floats(arrays[f"gram_sums/{k}"], entry.layer.tensor, path)
    products = _floats(arrays[f"gram_products/{k}"], entry.layer.tensor, path)
    assert sums is not None
    assert products is not None
    return Gram(entry.count, sums, products)


def _floats(array: NDArray[np.generic] | None, name: str, path: Path) -> NDArray[np.float64] | None:
    if array is None:
        return None
    values = np.asarray(array, np.float64)
    if not np.isfinite(values).all():
        raise CalibrationRejectedError(f"an array of {name!r} holds NaN or infinity", where=str(path), remedy=_AGAIN)
    return values
