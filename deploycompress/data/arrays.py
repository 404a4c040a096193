""".npy / .npz files -> samples: a folder with one sub-folder per input, a folder of files, or one file.

How an array becomes samples, for an input of rank r: rank r means that the leading axis counts samples, rank r-1 that
the file is one sample. A model without a batch axis (see `batching`) takes every file as one complete feed.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from deploycompress.data.conform import Conform, match_names
from deploycompress.data.labels import Labels
from deploycompress.data.npy import Stored, open_npy, open_npz
from deploycompress.data.source import Files, Label, Part, Raw, Unusable, relative_name

SUFFIXES = (".npy", ".npz")
LABEL_NAMES = ("label", "labels", "y")


def from_files(files: Sequence[Path], folder: Path, conform: Conform, labels: Labels) -> Files:
    """Samples from files that each hold every input."""
    parts, refused = [], []
    for path in files:
        name = relative_name(path, folder)
        try:
            stored = {"": open_npy(path)} if path.suffix.lower() == ".npy" else open_npz(path)
            parts.append(_part(stored, name, conform, partial(labels.of, path)))
        except Unusable as reason:
            refused.append((name, str(reason)))
    return Files(tuple(parts), tuple(refused), labels.notes)


def from_input_folders(folder: Path, conform: Conform, labels: Labels) -> Files:
    """Samples from a folder with one sub-folder of .npy files per input; equal file names belong together."""
    inputs = {name: folder / folder_name(name) for name in conform.signature.input_names}
    by_input = {name: {path.stem: path for path in sorted(place.glob("*.npy"))} for name, place in inputs.items()}
    parts, refused = [], []
    for stem in sorted(set().union(*by_input.values())):
        absent = [name for name, found in by_input.items() if stem not in found]
        if absent:
            refused.append((stem, f"there is no {folder_name(absent[0])}/{stem}.npy for input {absent[0]!r}"))
            continue
        try:
            stored = {name: open_npy(found[stem]) for name, found in by_input.items()}
            parts.append(_part(stored, stem, conform, partial(labels.of, folder / stem)))
        except Unusable as reason:
            refused.append((stem, str(reason)))
    expected = {place.name for place in inputs.values()}
    for other in sorted(path for path in folder.iterdir() if path.is_dir() and path.name not in expected):
        near = difflib.get_close_matches(other.name, expected, n=1, cutoff=0.5)
        refused.append((other.name, f"no input has this name{f'; did you mean {near[0]}?' if near else ''}"))
    return Files(tuple(parts), tuple(refused), labels.notes)


def folder_name(input_name: str) -> str:
    """The folder that holds the samples of an input: its name, with characters that a path cannot hold replaced."""
    return input_name.replace("/", "_").replace(":", "_").replace("\\", "_")


@dataclass(frozen=True)
class _Layout:
    """How the arrays of a file become samples.

    Attributes:
        count: Number of samples.
        stacked: Whether axis 0 counts samples.
        whole: Whether the file is one complete feed.
        reshape: Shape of one sample by input name, where a channel axis of length 1 is to be added.
    """

    count: int
    stacked: bool
    whole: bool
    reshape: Mapping[str, tuple[int, ...]]


def _part(stored: dict[str, Stored], name: str, conform: Conform, file_label: Callable[[], Label]) -> Part:
    label_key = next((key for key in LABEL_NAMES if key in stored and key not in conform.signature.input_names), None)
    labels = stored.pop(label_key) if label_key else None
    names, notes = match_names(stored, conform.signature)
    used = {name: stored[key] for name, key in names.items()}
    layout = _layout(used, conform)
    if layout.reshape:
        notes = (*notes, f"an axis of length 1 was added to {', '.join(map(repr, layout.reshape))}")

    def read(wanted: Sequence[int]) -> Iterator[Raw | Unusable]:
        targets = [None] * layout.count if labels is None else _labels(labels, layout)
        if not layout.stacked:
            label = file_label() if labels is None else targets[0]
            yield Raw({key: array.all() for key, array in used.items()}, label, name, layout.whole, notes)
            return
        streams = {key: array.rows(wanted) for key, array in used.items()}
        alone = file_label() if labels is None and layout.count == 1 else None
        for number in wanted:
            arrays: dict[str, Any] = {key: next(stream) for key, stream in streams.items()}
            for key, shape in layout.reshape.items():
                arrays[key] = arrays[key].reshape(shape)
            label = alone if labels is None else targets[number]
            yield Raw(arrays, label, name if layout.count == 1 else f"{name}[{number}]", False, notes)

    return Part(name, layout.count, read)


def _layout(stored: Mapping[str, Stored], conform: Conform) -> _Layout:
    if not conform.axis.exists:
        return _Layout(1, stacked=False, whole=True, reshape={})
    stacked, reshape, counts = set(), {}, set()
    for spec in conform.signature.inputs:
        array, shape = stored[spec.name], spec.shape or ()
        sample = _with_unit_axis(array.shape, shape)
        if len(array.shape) == len(shape):
            stacked.add(True)
            counts.add(array.shape[0])
        elif sample is not None:
            stacked.add(True)
            counts.add(array.shape[0])
            reshape[spec.name] = sample
        elif len(array.shape) == len(shape) - 1:
            stacked.add(False)
        else:
            raise Unusable(
                f"input {spec.name!r} takes rank {len(shape)} (or {len(shape) - 1} for one sample), "
                f"the array has shape {list(array.shape)}"
            )
    if len(stacked) > 1 or len(counts) > 1:
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in stored.items())
        raise Unusable(f"its arrays do not hold the same number of samples: {shapes}")
    count = counts.pop() if counts else 1
    if count == 0:
        raise Unusable("its leading axis has length 0: it holds no sample")
    return _Layout(count, stacked.pop(), whole=False, reshape=reshape)


def _with_unit_axis(found: tuple[int, ...], expected: tuple[int | str | None, ...]) -> tuple[int, ...] | None:
    """The shape of one sample where `found` is a stack that lacks nothing but axes of length 1, else None.

    Grey images are stored as [n, height, width] and fed as [n, 1, height, width]. Every other axis must be a number
    in the model, so that nothing else can be meant.
    """
    sample = tuple(dim for dim in expected[1:] if isinstance(dim, int))
    if len(sample) != len(expected) - 1 or len(found) != len(expected) - 1 or sample == found:
        return None
    return sample if [dim for dim in sample if dim != 1] == list(found[1:]) else None


def _labels(stored: Stored, layout: _Layout) -> list[Label]:
    array = stored.all()
    if array.size != layout.count:
        raise Unusable(f"it holds {array.size} labels for {layout.count} samples")
    return [to_label(value) for value in array.reshape(-1)]


def to_label(value: Any) -> Label:  # noqa: ANN401 - a numpy scalar of any type
    """A class index (int) or a score (float).

    Raises:
        Unusable: It is neither.
    """
    kind = np.asarray(value).dtype.kind
    if kind in "iub":
        return int(value)
    if kind == "f" and math.isfinite(value):
        return float(value)
    raise Unusable(f"its label {value!r} is neither a class index nor a number")
