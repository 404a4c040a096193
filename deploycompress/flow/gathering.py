"""tensor names -> their statistics: the model run on samples, until ranges settle or to the end.

The planner asks an `Gather` and need not know whether it runs the model or reads a file (`origins.FromFile`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Protocol

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import LayerInput, RangeMethod, Statistics, collect
from deploycompress.calibration.settling import rounds, settled
from deploycompress.data import Samples
from deploycompress.quantization.plan import channel_axes
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, SessionConfig


class Gather(Protocol):
    """Statistics of tensors; over as many samples as it takes, or over the same number as an earlier call."""

    def __call__(self, tensors: Sequence[str], samples: int | None = None) -> Statistics:
        """Statistics of `tensors`, over `samples` samples where a number is given."""
        ...


@dataclass(frozen=True)
class FromSamples:
    """Runs the model.

    Attributes:
        floats: The float graph.
        samples: What it is run on.
        config: How its session is opened.
        until_settled: Ends when the ranges that this method chooses have settled; None uses every sample. Random
            samples are all used: nothing is known from their agreement.
        track: Shows progress.
        grams: Layer inputs whose Gram matrices are wanted too.
        memory_bytes: What those of one pass over the samples may take; None for any amount.
        gram_rows: About so many rows of a sample are added to each; None for all.
    """

    floats: ir.Model
    samples: Samples
    config: SessionConfig
    until_settled: RangeMethod | None
    track: Track
    grams: Sequence[LayerInput] = ()
    memory_bytes: int | None = None
    gram_rows: int | None = None

    def __call__(self, tensors: Sequence[str], samples: int | None = None) -> Statistics:
        """See `Gather`."""
        method = self.until_settled if self.samples.valid_for_accuracy else None
        feeds = Feeds(self.samples, spread=method is not None, limit=samples)
        return collect(
            self.floats,
            tensors,
            feeds,
            weights_dir=models.weights_dir(self.floats),
            config=self.config,
            channel_axes=channel_axes(self.floats),
            grams=self.grams,
            gram_rows=self.gram_rows,
            memory_bytes=self.memory_bytes,
            settled=None if method is None or samples is not None else settled(method),
            track=lambda items, description, total=None: self.track(items, description, total or len(feeds)),
        )


@dataclass(frozen=True)
class Feeds:
    """Feeds of samples, re-iterable.

    Attributes:
        samples: Where they come from.
        spread: In an order whose every beginning is spread over the source (see `settling.rounds`), or as they lie.
        limit: At most so many; None for all.
    """

    samples: Samples
    spread: bool
    limit: int | None = None

    def __len__(self) -> int:
        return len(self.samples) if self.limit is None else min(self.limit, len(self.samples))

    def __iter__(self) -> Iterator[Feed]:
        parts = (self.samples.picked(p) for p in rounds(len(self.samples))) if self.spread else (self.samples,)
        for sample in islice(chain.from_iterable(parts), len(self)):
            yield sample.feed


def ended(used: int, available: int) -> str:
    """Why no more than `used` of so many samples were looked at, in words."""
    return "every sample was used" if used == available else "the ranges had settled"
