"""outputs before, outputs after -> equal, or the first difference in words.

Floating-point outputs may differ by rounding: `|a - b| <= tolerance * max|a|` over each output. Folding a scale into a
weight moves one rounding of the exact product, so each layer on a path adds about one unit in the last place (2^-23 in
float32) relative to the largest value; 1e-5 is 84 such units. A float16 output alone is rounded to 2^-11, so 2e-3, two
units in its last place, is the smallest bound a sound rewrite keeps. Everything else (integers, booleans, strings,
where NaN and infinity stand) must be equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

TOLERANCE = {"float16": 2e-3, "float32": 1e-5, "float64": 1e-10}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
    """None where every output agrees, else what differs first, with the output's name."""
    if list(before) != list(after):
        return f"the outputs are {', '.join(after)} instead of {', '.join(before)}"
    for name, value in before.items():
        found = _differs(value, after[name])
        if found is not None:
            return f"output {name!r} {found}"
    return None


def _differs(before: Any, after: Any) -> str | None:  # noqa: ANN401 - sequences, maps and arrays
    if isinstance(before, np.ndarray) and isinstance(after, np.ndarray):
        return _arrays_differ(before, after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        if list(before) != list(after):
            return "has other keys"
        return next((d for key in before if (d := _differs(before[key], after[key])) is not None), None)
    if isinstance(before, Sequence) and isinstance(after, Sequence) and not isinstance(before, str | bytes):
        if len(before) != len(after):
            return f"has {len(after)} elements instead of {len(before)}"
        return next((d for a, b in zip(before, after, strict=True) if (d := _differs(a, b)) is not None), None)
    if isinstance(before, float) and isinstance(after, float):
        return _arrays_differ(np.asarray(before, np.float32), np.asarray(after, np.float32))
    return None if before == after else f"is {after!r} instead of {before!r}"


def _arrays_differ(before: np.ndarray, after: np.ndarray) -> str | None:
    if before.dtype != after.dtype or before.shape != after.shape:
        return f"is {after.dtype}{list(after.shape)} instead of {before.dtype}{list(before.shape)}"
    tolerance = TOLERANCE.get(before.dtype.name)
    if tolerance is None:
        wrong = int(np.count_nonzero(before != after))
        return f"differs in {wrong} of {before.size} elements" if wrong else None
    finite = np.isfinite(before)
    if not np.array_equal(before[~finite], after[~finite], equal_nan=True) or not np.isfinite(after[finite]).all():
        return "has NaN or infinity in other places"
    if not finite.any():
        return None
    a, b = before[finite].astype(np.float64), after[finite].astype(np.float64)
    largest = float(np.abs(a).max())
    worst = float(np.abs(a - b).max())
    if worst <= tolerance * largest:
        return None
    relative = worst / largest if largest else float("inf")
    return f"differs by {worst:.2e}, {relative:.1e} of its largest value (limit {tolerance:.0e})"
