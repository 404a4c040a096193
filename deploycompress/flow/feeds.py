"""model, sample data or none -> feeds the model really runs, at two shapes where its shapes are free.

With data, the first samples, alone and in a batch. Without, random feeds; where those break the model (an index out of
range, a flag with two legal values) the integers are replaced by zeros, then by ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from deploycompress import data as samples
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.agreement import difference
from deploycompress.records.signature import Signature, TensorSpec
from deploycompress.runtime.session import Session

# (length of a free leading axis, length of every other free axis). The first is tried first; models that reshape to
# fixed lengths accept few, so the usual sequence and image lengths follow.
_SHAPES = ((1, 16), (2, 24), (1, 1), (2, 32), (1, 64), (1, 128), (1, 224), (1, 256), (1, 512), (1, 576))
_FEEDS_PER_SHAPE = 2
_SHAPES_WANTED = 2


def differential_feeds(
    session: Session,
    signature: Signature,
    source: str | None,
    **reader: Any,  # noqa: ANN401 - options of data.open
) -> tuple[dict[str, np.ndarray], ...]:
    """Up to four feeds that `session` runs, deterministic.

    Args:
        session: The original model, open.
        signature: Its inputs.
        source: What `data.open` reads, or None for random feeds.
        reader: Further options of `data.open` (preprocess, tokenizer).

    Raises:
        DataRejectedError: No sample is usable.
        ModelRejectedError: It runs on none of the feeds.
    """
    found: list[dict[str, np.ndarray]] = []
    problem = ""
    for group in _from_data(signature, source, reader) if source is not None else _random(signature):
        accepted: list[dict[str, np.ndarray]] = []
        for feed in group:
            try:
                session.run(feed)
            except ModelRejectedError as error:
                problem = problem or error.what
                continue
            accepted.append(feed)
            if len(accepted) == _FEEDS_PER_SHAPE:
                break
        if accepted and not any(_shapes(accepted[0]) == _shapes(feed) for feed in found):
            found += accepted
        if len({_shapes(feed) for feed in found}) == _SHAPES_WANTED:
            break
    if not found:
        tried = f"the samples of {source}" if source is not None else "random, zero or one inputs"
        raise ModelRejectedError(
            f"it runs on none of {tried}, so a rewrite cannot be checked ({problem})",
            remedy="give inputs it accepts with --data",
        )
    return tuple(found)


def _from_data(signature: Signature, source: str, reader: dict[str, Any]) -> Iterator[list[dict[str, np.ndarray]]]:
    opened = samples.open(source, signature, limit=8, **reader)
    yield [sample.feed for sample in opened]
    if any(spec.has_dynamic_batch for spec in signature.inputs):
        yield [batch.feed for batch in opened.batches(3)]


def _random(signature: Signature) -> Iterator[list[dict[str, np.ndarray]]]:
    free = any(not isinstance(d, int) for spec in signature.inputs for d in spec.shape or (None,))
    for batch, other in _SHAPES if free else _SHAPES[:1]:
        inputs = tuple(_bound(spec, batch, other) for spec in signature.inputs)
        opened = samples.open("random", Signature(inputs, signature.outputs), limit=_FEEDS_PER_SHAPE)
        drawn = [dict(sample.feed) for sample in opened]
        yield [*drawn, *(_integers(feed, value) for value in (0, 1) for feed in drawn)]


def _bound(spec: TensorSpec, batch: int, other: int) -> TensorSpec:
    if spec.shape is None:
        return spec
    shape = tuple(d if isinstance(d, int) else batch if axis == 0 else other for axis, d in enumerate(spec.shape))
    return dataclasses.replace(spec, shape=shape)


def _integers(feed: dict[str, np.ndarray], value: int) -> dict[str, np.ndarray]:
    return {name: np.full_like(data, value) if data.dtype.kind in "iu" else data for name, data in feed.items()}


def _shapes(feed: dict[str, np.ndarray]) -> tuple[tuple[int, ...], ...]:
    return tuple(np.shape(data) for data in feed.values())


def stable(session: Session, feeds: tuple[dict[str, np.ndarray], ...]) -> tuple[dict[str, Any], ...]:
    """The outputs on every feed, run twice.

    Raises:
        ModelRejectedError: Two runs of one feed differ (the model draws random numbers).
    """
    outputs = tuple(session.run(feed) for feed in feeds)
    for feed, first in zip(feeds, outputs, strict=True):
        found = difference(first, session.run(feed))
        if found is not None:
            raise ModelRejectedError(f"two runs on one input disagree ({found}), so a rewrite cannot be checked")
    return outputs
