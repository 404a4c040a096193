"""samples -> those that a repair is fitted on, and others that decide whether it is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploycompress.data import Samples
from deploycompress.runtime.session import Feed

_SAMPLES = 128  # spread over those given: layers have far fewer weights for an output than these have rows
_FEWEST = 8
_HELD_OUT = 4  # every fourth sample decides instead of fitting
_BATCH = 8


@dataclass(frozen=True)
class Part:
    """Some of the samples, several in a feed; re-iterable."""

    samples: Samples

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Feed]:
        return (batch.feed for batch in self.samples.batches(_BATCH))


def shared_out(samples: Samples | None) -> tuple[Part | None, Part | None, tuple[str, ...]]:
    """Samples that fit and others that decide, both spread over all of them; none where there are too few."""
    if samples is None:
        return None, None, ("no samples: nothing was repaired, and only weights decided what went",)
    if len(samples) < _FEWEST:
        return None, None, (f"{len(samples)} samples are too few to repair anything: {_FEWEST} or more are needed",)
    spread = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), _SAMPLES)).round().astype(int)).tolist()
    held_out = spread[_HELD_OUT - 1 :: _HELD_OUT]
    fit = [position for position in spread if position not in held_out]
    notes = () if samples.valid_for_accuracy else ("REPAIRED ON RANDOM DATA: scores and repair mean nothing",)
    return Part(samples.picked(fit)), Part(samples.picked(held_out)), notes
