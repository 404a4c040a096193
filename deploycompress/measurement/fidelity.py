"""outputs of two models on the same samples -> how close they are, without labels, in constant memory.

SQNR = 10 log10(sum ref^2 / sum (ref - out)^2); cosine = sum ref out / sqrt(sum ref^2 sum out^2); both over all elements
of all outputs and samples, summed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.records.measured import Fidelity

Outputs = Mapping[str, NDArray[Any]]


def fidelity(pairs: Iterable[tuple[Outputs, Outputs]]) -> Fidelity:
    """Compares outputs by position, batch by batch.

    A NaN or infinity that both have in the same place counts as equal; one that only the candidate has makes the SQNR
    minus infinity and the largest difference infinite.

    Args:
        pairs: Outputs by name of the reference and of the candidate; samples on the first axis.

    Raises:
        UnsupportedError: The outputs differ in number or shape, or hold no numbers.
        DataRejectedError: There are no samples.
    """
    signal = noise = power = product = max_abs = peak = 0.0
    count = agreeing = decisions = 0
    broken = False
    for reference, candidate in pairs:
        if len(reference) != len(candidate):
            raise UnsupportedError(f"the baseline has {len(reference)} outputs, this model {len(candidate)}")
        for position, (name, ref, out) in enumerate(
            zip(reference, reference.values(), candidate.values(), strict=True)
        ):
            _check(name, ref, out)
            r, o = ref.astype(np.float64).ravel(), out.astype(np.float64).ravel()
            same = (r == o) | (np.isnan(r) & np.isnan(o))
            finite = np.isfinite(r) & np.isfinite(o)
            broken = broken or bool((~finite & ~same).any())
            r, o = r[finite], o[finite]
            error = r - o
            signal, noise, power = signal + float(r @ r), noise + float(error @ error), power + float(o @ o)
            product += float(r @ o)
            max_abs = max(max_abs, float(np.abs(error).max(initial=0.0)))
            peak = max(peak, float(np.abs(r).max(initial=0.0)))
            if position == 0:
                count += len(ref) if ref.ndim else 1
                if ref.ndim >= 2 and ref.shape[-1] > 1:
                    hits = ref.argmax(axis=-1) == out.argmax(axis=-1)
                    agreeing, decisions = agreeing + int(hits.sum()), decisions + hits.size
    if count == 0:
        raise DataRejectedError("there are no samples to compare outputs on")
    return Fidelity(
        sqnr_db=-math.inf if broken else _decibels(signal, noise),
        max_abs=math.inf if broken else max_abs,
        max_rel=math.inf if broken else _ratio(max_abs, peak),
        agreement=agreeing / decisions if decisions else None,
        count=count,
        cosine=product / math.sqrt(signal * power) if signal > 0 and power > 0 else None,
    )


def _check(name: str, ref: NDArray[Any], out: NDArray[Any]) -> None:
    if not (isinstance(ref, np.ndarray) and isinstance(out, np.ndarray)) or ref.dtype.kind not in "fiub":
        raise UnsupportedError("the outputs hold no numbers", where=name)
    if ref.shape != out.shape:
        raise UnsupportedError(f"the baseline gives {list(ref.shape)}, this model {list(out.shape)}", where=name)


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _ratio(difference: float, peak: float) -> float:
    if difference == 0:
        return 0.0
    return difference / peak if peak > 0 else math.inf
