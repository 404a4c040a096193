"""arrays of a file + signature -> the feed of a model, or the reason why they are none.

Nothing is changed silently: a conversion of the element type, a name that was taken for another and an array that was
left out each come back as a note. Conversions are those that keep every value (int32 -> int64, uint8 -> float32), and
float64 or float16 data for a float model, which are rounded.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from deploycompress.data.batching import BatchAxis
from deploycompress.data.source import Raw, Unusable
from deploycompress.records.signature import Signature, TensorSpec

_IMAGE_AXES = 3
_MOST_AXES_PERMUTED = 4  # 24 orders


@dataclass(frozen=True)
class Conform:
    """Turns raw samples into feeds for one signature."""

    signature: Signature
    axis: BatchAxis

    @classmethod
    def to(cls, signature: Signature) -> Conform:
        """The conversion for a model with these inputs."""
        return cls(signature, BatchAxis.of(signature))

    def __call__(self, raw: Raw) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The feed, with a batch axis of length 1 (a complete feed stays as it is), and notes.

        Raises:
            Unusable: An input is missing, or an array has the wrong rank, shape or element type, or is not finite.
        """
        names, notes = match_names(raw.arrays, self.signature)
        feed: dict[str, Any] = {}
        symbols: dict[str, int] = {}
        for spec in self.signature.inputs:
            value = raw.arrays[names[spec.name]]
            if not spec.dtype:  # a sequence, map or optional: the runtime is the judge
                feed[spec.name] = value
                continue
            array = np.asarray(value)
            if not raw.whole:
                array = array[np.newaxis]
            array, note = cast(array, spec)
            _check_shape(array, spec, None if raw.whole else self.axis, symbols)
            _check_finite(array if raw.whole else array[0], spec)
            feed[spec.name] = array
            notes = notes if note is None else (*notes, note)
        return feed, (*raw.notes, *notes)


def match_names(arrays: Mapping[str, Any], signature: Signature) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which array feeds which input (input name -> array name), and notes.

    Raises:
        Unusable: An input has no array; the nearest name that exists is given.
    """
    missing = [name for name in signature.input_names if name not in arrays]
    spare = [name for name in arrays if name not in signature.input_names]
    names = {name: name for name in signature.input_names if name in arrays}
    if len(missing) == 1 and len(signature.inputs) == 1 and len(spare) == 1:
        note = () if spare[0] == "" else (f"array {spare[0]!r} is fed to input {missing[0]!r}, the only one",)
        return {missing[0]: spare[0]}, note
    if missing:
        found = f"it holds {', '.join(map(repr, arrays))}" if arrays else "it holds no array"
        near = difflib.get_close_matches(missing[0], spare, n=1, cutoff=0.5)
        raise Unusable(
            f"no array for input {missing[0]!r}; " + (f"is {near[0]!r} a misspelling of it?" if near else found)
        )
    return names, tuple(f"array {name!r} is not an input and is left out" for name in spare)


def cast(array: np.ndarray, spec: TensorSpec) -> tuple[np.ndarray, str | None]:
    """The array in the element type of the input, and a note where it changed.

    Raises:
        Unusable: The conversion would change values by more than rounding.
    """
    if spec.dtype == "str":
        if array.dtype.kind not in "USOT" or (
            array.dtype.kind == "O" and not all(isinstance(s, str) for s in array.flat)
        ):
            raise Unusable(f"input {spec.name!r} takes strings, the data is {array.dtype.name}")
        return array.astype(object), None
    if array.dtype.name == spec.dtype:
        return array, None
    problem = f"input {spec.name!r} takes {spec.dtype}, the data is {array.dtype.name}"
    try:
        wanted = np.dtype(spec.dtype)
    except TypeError:
        raise Unusable(f"{problem}; numpy files cannot hold {spec.dtype}") from None
    if array.dtype.kind not in "biuf" or wanted.kind not in "iuf" or (array.dtype.kind == "f" and wanted.kind != "f"):
        raise Unusable(problem)
    with np.errstate(over="ignore"):
        converted = array.astype(wanted)
    if wanted.kind == "f" and array.dtype.kind == "f":
        if np.isinf(converted).any() and not np.isinf(array).any():
            raise Unusable(f"{problem}, and a value overflows")
    elif not np.array_equal(converted.astype(array.dtype), array) or (converted < 0).any() != (array < 0).any():
        raise Unusable(f"{problem}, and a value does not fit")
    return converted, f"input {spec.name!r} was converted from {array.dtype.name} to {spec.dtype}"


def _check_shape(array: np.ndarray, spec: TensorSpec, axis: BatchAxis | None, symbols: dict[str, int]) -> None:
    """Compares every axis; of a sample that is not a complete feed, all but the leading one."""
    if spec.shape is None:
        return
    shape = list(array.shape[1:] if axis else array.shape)
    expected = list(spec.shape[1:] if axis else spec.shape)
    wrong = f"input {spec.name!r} has shape {shape}, the model takes {[dim or '?' for dim in expected]}"
    if len(shape) != len(expected):
        raise Unusable(wrong)
    for length, dim in zip(shape, expected, strict=True):
        if isinstance(dim, int) and length != dim:
            raise Unusable(wrong + _layout_hint(shape, expected, whole=axis is None))
        if isinstance(dim, str) and symbols.setdefault(dim, length) != length:
            raise Unusable(f"{wrong}, and {dim!r} was {symbols[dim]} in another input")


def _layout_hint(shape: list[int], expected: list[int | str | None], *, whole: bool) -> str:
    """How the axes would have to be moved to fit, or that a batch was given where one sample is taken."""
    axes = tuple(range(len(shape)))
    to_front, to_end = (axes[-1], *axes[:-1]), (*axes[1:], axes[0])
    names = {to_front: "channels last? ", to_end: "channels first? "} if len(shape) >= _IMAGE_AXES else {}
    orders = itertools.permutations(axes) if len(shape) <= _MOST_AXES_PERMUTED else iter(())
    for order in itertools.chain((to_front, to_end), orders):
        moved = [shape[axis] for axis in order]
        if _fits(moved, expected):
            return f" ({names.get(order, '')}transpose{order} gives {moved}, which fits)"
    if whole and expected[0] == 1 and _fits(shape[1:], expected[1:]):
        return f" (a batch of {shape[0]}, and the batch of the model is fixed at 1: give the samples one by one)"
    return ""


def _fits(shape: list[int], expected: list[int | str | None]) -> bool:
    return all(not isinstance(dim, int) or dim == length for dim, length in zip(expected, shape, strict=True))


def _check_finite(array: np.ndarray, spec: TensorSpec) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = ~np.isfinite(array)
        kind = "NaN" if np.isnan(array).any() else "Inf"
        first = [int(index) for index in np.argwhere(bad)[0]]
        raise Unusable(f"input {spec.name!r} holds {kind} ({int(bad.sum())} of {array.size} values, first at {first})")
