"""outputs of two models on the same samples -> how close they are, without labels, in constant memory.

SQNR = 10 log10(sum ref^2 / sum (ref - out)^2); cosine = sum ref out / sqrt(sum ref^2 sum out^2); both over all elements
of all outputs and samples, summed in float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.records.measured import Fidelity, OutputFidelity

Outputs = Mapping[str, NDArray[Any]]


class FidelityMeter:
    """Sums up how close two models' outputs are, batch by batch, in constant memory.

    A NaN or infinity that both have in the same place counts as equal; one that only one of them has makes the SQNR
    minus infinity, the largest difference infinite and the cosine 0, and it is never the same decision.
    """

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}
        self._count = self._agreeing = self._decisions = 0

    def add(self, reference: Outputs, candidate: Outputs) -> None:
        """Takes the outputs of one batch, which are compared by position; samples lie on the first axis.

        Raises:
            UnsupportedError: The outputs differ in number or shape, or hold no numbers.
        """
        if len(reference) != len(candidate):
            raise UnsupportedError(f"the baseline has {len(reference)} outputs, this model {len(candidate)}")
        pairs = list(zip(reference, reference.values(), candidate.values(), strict=True))
        for name, ref, out in pairs:
            _check(name, ref, out)
        for name, ref, out in pairs:
            self._sums.setdefault(name, _Sums()).add(ref.astype(np.float64).ravel(), out.astype(np.float64).ravel())
        _, ref, out = pairs[0]
        self._count += len(ref) if ref.ndim else 1
        if ref.ndim >= 2 and ref.shape[-1] > 1:
            hits = (ref.argmax(axis=-1) == out.argmax(axis=-1)) & (_undecided(ref) == _undecided(out))
            self._agreeing, self._decisions = self._agreeing + int(hits.sum()), self._decisions + hits.size

    def result(self) -> Fidelity:
        """The fidelity over all batches so far.

        Raises:
            DataRejectedError: There were none.
        """
        if self._count == 0:
            raise DataRejectedError("there are no samples to compare outputs on")
        total = _Sums()
        for sums in self._sums.values():
            total.merge(sums)
        outputs = [OutputFidelity(name, s.sqnr_db, s.max_abs, s.cosine) for name, s in self._sums.items()]
        return Fidelity(
            sqnr_db=total.sqnr_db,
            max_abs=total.max_abs,
            max_rel=math.inf if total.broken else _ratio(total.max_abs, total.peak),
            agreement=self._agreeing / self._decisions if self._decisions else None,
            count=self._count,
            cosine=total.cosine,
            outputs=tuple(outputs),
        )


@dataclass
class _Sums:
    """Sums over all elements of one output, or of all."""

    signal: float = 0.0
    noise: float = 0.0
    power: float = 0.0
    product: float = 0.0
    largest: float = 0.0
    peak: float = 0.0
    broken: bool = False

    def add(self, ref: NDArray[np.float64], out: NDArray[np.float64]) -> None:
        same = (ref == out) | (np.isnan(ref) & np.isnan(out))
        finite = np.isfinite(ref) & np.isfinite(out)
        broken = bool((~finite & ~same).any())
        ref, out = ref[finite], out[finite]
        error = ref - out
        largest, peak = (float(np.abs(values).max(initial=0.0)) for values in (error, ref))
        sums = (float(ref @ ref), float(error @ error), float(out @ out), float(ref @ out))
        self.merge(_Sums(*sums, largest, peak, broken))

    def merge(self, other: _Sums) -> None:
        self.signal += other.signal
        self.noise += other.noise
        self.power += other.power
        self.product += other.product
        self.largest = max(self.largest, other.largest)
        self.peak = max(self.peak, other.peak)
        self.broken = self.broken or other.broken

    @property
    def sqnr_db(self) -> float:
        return -math.inf if self.broken else _decibels(self.signal, self.noise)

    @property
    def max_abs(self) -> float:
        return math.inf if self.broken else self.largest

    @property
    def cosine(self) -> float | None:
        if self.broken:
            return 0.0
        norms = math.sqrt(self.signal) * math.sqrt(self.power)
        return self.product / norms if norms > 0 else None


def fidelity(pairs: Iterable[tuple[Outputs, Outputs]]) -> Fidelity:
    """The fidelity over pairs of outputs (reference, candidate), one pair a batch; see `FidelityMeter`."""
    meter = FidelityMeter()
    for reference, candidate in pairs:
        meter.add(reference, candidate)
    return meter.result()


def _undecided(scores: NDArray[Any]) -> NDArray[np.bool_]:
    """Rows that hold a NaN, whose arg-max means nothing."""
    found: NDArray[np.bool_] = np.isnan(scores).any(axis=-1)
    return found


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
