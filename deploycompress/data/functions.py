"""`module:function` or `path/file.py:function` -> samples that the user's own code makes.

The function takes nothing and returns an iterable of feeds (`{input: array}`, without the batch axis or with one of
length 1), an iterable of `(feed, label)`, or one dict of arrays whose leading axis counts samples. A label is a class
number, a number, or an array (a reference picture, token numbers). The function is called anew for every pass.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploycompress.data.arrays import LABEL_NAMES, to_label
from deploycompress.data.conform import Conform
from deploycompress.data.source import Entry, Label, Raw, Unusable
from deploycompress.errors import DataRejectedError, DeployCompressError, UsageError
from deploycompress.records.reference import resolve


@dataclass(frozen=True)
class Function:
    """A source that calls a function of the user's."""

    reference: str
    make: Callable[[], Any]
    conform: Conform
    notes: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    count: None = None

    def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
        """See `Source.read`."""
        for index, item in enumerate(self._items()):
            if wanted is None or index in wanted:
                name = f"{self.reference}[{index}]"
                try:
                    yield Entry(index, name, self._sample(item, name))
                except Unusable as reason:
                    yield Entry(index, name, reason)

    def _items(self) -> Iterator[Any]:
        try:
            made = self.make()
            yield from _unstacked(made, self.conform) if isinstance(made, Mapping) else iter(made)
        except DeployCompressError:
            raise
        except Exception as error:
            raise DataRejectedError(f"it raised {type(error).__name__}: {error}", where=self.reference) from error

    def _sample(self, item: Any, name: str) -> Raw:  # noqa: ANN401 - it is whatever the user made
        feed, label = item if isinstance(item, tuple) and len(item) == 2 else (item, None)
        if not isinstance(feed, Mapping):
            raise Unusable(f"it is a {type(feed).__name__}, not a feed {{input name: array}} or a (feed, label) pair")
        arrays = {str(key): value if isinstance(value, list) else np.asarray(value) for key, value in feed.items()}
        known = None if label is None else _label(label)
        if not self.conform.axis.exists:
            return Raw(arrays, known, name, whole=True)
        ranks = {spec.name: len(spec.shape or ()) for spec in self.conform.signature.inputs}
        batched = [k for k, v in arrays.items() if k in ranks and isinstance(v, np.ndarray) and v.ndim == ranks[k]]
        if batched and all(len(arrays[key]) == 1 for key in batched):
            arrays |= {key: arrays[key][0] for key in batched}
            batched = []
        return Raw(arrays, known, name, whole=bool(batched))


def _label(value: Any) -> Label:  # noqa: ANN401 - it is whatever the user made
    array = np.asarray(value)
    if array.ndim == 0:
        return to_label(value)
    if array.dtype.kind not in "iubf":
        raise Unusable(f"its label is an array of {array.dtype}, not of numbers")
    return array


def open_function(reference: str, conform: Conform) -> Function:
    """The samples that the function named by `reference` makes.

    Raises:
        UsageError: There is no such function, or it is not one.
    """
    make = resolve(reference)
    if callable(make):
        return Function(reference, make, conform)
    if isinstance(make, Mapping) or (isinstance(make, Iterable) and not isinstance(make, Iterator)):
        return Function(reference, lambda: make, conform)
    raise UsageError(
        f"it is a {type(make).__name__}, which cannot be read twice", where=reference, remedy="name a function"
    )


def _unstacked(arrays: Mapping[str, Any], conform: Conform) -> Iterator[tuple[dict[str, Any], Any]]:
    inputs = conform.signature.input_names
    label_key = next((key for key in LABEL_NAMES if key in arrays and key not in inputs), None)
    stacks = {key: np.asarray(value) for key, value in arrays.items() if key != label_key}
    labels = None if label_key is None else np.asarray(arrays[label_key]).reshape(-1)
    lengths = {len(stack) for stack in stacks.values()} | (set() if labels is None else {len(labels)})
    if len(lengths) != 1:
        raise UsageError(f"the arrays hold different numbers of samples: {sorted(lengths)}")
    for index in range(lengths.pop()):
        yield {key: stack[index] for key, stack in stacks.items()}, None if labels is None else labels[index]
