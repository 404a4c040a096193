"""feed -> the few numbers that are kept of it: a hash, and size, extremes, mean and deviation of every input.

They are taken while the samples are judged, so that no check of the data reads a file again; state is O(samples).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deploycompress.data.source import Label


class Figures(NamedTuple):
    """Of one input in one sample; in the units of that input."""

    size: int
    low: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one sample.

    Attributes:
        name: Where it came from.
        label: Its label; None also for an array, which goes into the digest.
        digest: sha256 over names, element types, shapes and bytes of the feed.
        inputs: Figures by input; those that are not arrays of numbers are left out.
    """

    name: str
    label: Label
    digest: bytes
    inputs: Mapping[str, Figures]

    @property
    def is_constant(self) -> bool:
        """Whether no input of more than one element holds two different values (and there is such an input)."""
        wide = [figures for figures in self.inputs.values() if figures.size > 1]
        return bool(wide) and all(figures.low == figures.high for figures in wide)


def summarize(feed: Mapping[str, Any], label: Label, name: str) -> Summary:
    """The summary of one feed."""
    inputs = {key: _figures(value) for key, value in feed.items() if _is_numeric(value)}
    if isinstance(label, np.ndarray):  # a reference picture is as large as an input, and is not kept either
        return Summary(name, None, digest({**feed, "\0label": label}), inputs)
    return Summary(name, label, digest(feed), inputs)


def digest(feed: Mapping[str, Any]) -> bytes:
    """sha256 over names, element types, shapes and bytes of every input."""
    whole = hashlib.sha256()
    for name in sorted(feed):
        whole.update(name.encode() + b"\0")
        _update(whole, feed[name])
    return whole.digest()


def _is_numeric(value: Any) -> bool:  # noqa: ANN401 - arrays, sequences, absent optionals
    return isinstance(value, np.ndarray) and value.size > 0 and value.dtype.kind in "biuf"


def _figures(array: np.ndarray) -> Figures:
    wide = array.astype(np.float64)
    return Figures(array.size, float(wide.min()), float(wide.max()), float(wide.mean()), float(wide.std()))


def _update(whole: Any, value: Any) -> None:  # noqa: ANN401 - hashlib's class is private; a value may be nested
    if isinstance(value, np.ndarray):
        whole.update(f"{value.dtype.name}{value.shape}".encode())
        whole.update(repr(value.tolist()).encode() if value.dtype.hasobject else np.ascontiguousarray(value).tobytes())
    elif isinstance(value, list | tuple):
        whole.update(f"{len(value)} values".encode())
        for item in value:
            _update(whole, item)
    else:
        whole.update(repr(value).encode())
