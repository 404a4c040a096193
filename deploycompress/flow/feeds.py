"""model, sample data or none -> feeds the model really runs, at two shapes where its shapes are free.

With data, the first samples, alone and in a batch. Without, random feeds; where those break the model (an index out of
range, a flag with two legal values) the integers are replaced by zeros, then by ones.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from deploycompress import data as samples
from deploycompress.errors import ModelRejectedError, UnsupportedError
from deploycompress.flow.agreement import difference
from deploycompress.records.signature import Signature, TensorSpec
from deploycompress.runtime.session import Feed, Session

# (length of a free leading axis, length of every other free axis). The first is tried first; models that reshape to
# fixed lengths accept few, so the usual sequence and image lengths follow.
_SHAPES = ((1, 16), (2, 24), (1, 1), (2, 32), (1, 64), (1, 128), (1, 224), (1, 256), (1, 512), (1, 576))
_TIMED_SHAPE = (1, 128)
_FEEDS_PER_SHAPE = 2
_REMEDY = "give inputs it accepts with --data"
_LARGEST_FEED_ELEMENTS = 4_000_000
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
    seen: list[dict[str, tuple[int, ...]]] = []
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
        if accepted and shapes(accepted[0]) not in seen:
            found += accepted
            seen += [shapes(feed) for feed in accepted]
        if len({tuple(each.values()) for each in seen}) >= _SHAPES_WANTED:
            break
    if not found:
        tried = f"the samples of {source}" if source is not None else "random, zero or one inputs"
        raise ModelRejectedError(f"it runs on none of {tried}: {problem}", remedy=_REMEDY if source is None else "")
    return tuple(found)


def timing_feed(session: Session, signature: Signature, feeds: Sequence[Feed], source: str | None) -> Feed:
    """The feed that is timed: the first sample of the data, else one of batch 1 and 128 along every other free axis.

    A few tokens or pixels are enough to compare outputs, but spend their time elsewhere than a real input does. Where
    the model does not run at that length, it is the first of `feeds`.
    """
    free = [dim for spec in signature.inputs for dim in (spec.shape or ())[1:] if not isinstance(dim, int)]
    if source is not None or not free:
        return feeds[0]
    for group in _random(signature, (_TIMED_SHAPE,)):
        for feed in group:
            try:
                session.run(feed)
            except ModelRejectedError:
                continue
            return feed
    return feeds[0]


def _from_data(signature: Signature, source: str, reader: dict[str, Any]) -> Iterator[list[dict[str, np.ndarray]]]:
    opened = samples.open(source, signature, limit=8, **reader)
    yield [sample.feed for sample in opened]
    if any(spec.has_dynamic_batch for spec in signature.inputs):
        yield [batch.feed for batch in opened.batches(3)]


def _random(
    signature: Signature, lengths: Sequence[tuple[int, int]] = _SHAPES
) -> Iterator[list[dict[str, np.ndarray]]]:
    tried: set[tuple[TensorSpec, ...]] = set()
    for (batch, other), trailing in itertools.product(lengths, (False, True)):
        inputs = _bound(signature, batch, other, trailing=trailing)
        elements = sum(math.prod(d for d in spec.shape or () if isinstance(d, int)) for spec in inputs)
        if inputs in tried or (tried and elements > _LARGEST_FEED_ELEMENTS):
            continue
        tried.add(inputs)
        try:
            opened = samples.open("random", Signature(inputs, signature.outputs), limit=_FEEDS_PER_SHAPE)
        except UnsupportedError as error:
            raise ModelRejectedError(error.what, remedy=_REMEDY) from error
        drawn = [dict(sample.feed) for sample in opened]
        yield [*drawn, *(_integers(feed, value) for value in (0, 1) for feed in drawn)]


def _bound(signature: Signature, batch: int, other: int, *, trailing: bool) -> tuple[TensorSpec, ...]:
    """Inputs with every free axis given a length, the same one for the same symbol.

    Leading axes, and symbols that lead an axis somewhere, get `batch`; the others `other`, or with `trailing` only the
    last axis of an input does (recurrent states keep the batch in the middle).
    """
    leading = {spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str)}

    def length(spec: TensorSpec, axis: int, dim: int | str | None) -> int:
        if isinstance(dim, int):
            return dim
        if isinstance(dim, str):
            return batch if dim in leading else other
        return other if axis > 0 and (not trailing or axis == len(spec.shape or ()) - 1) else batch

    return tuple(
        spec
        if spec.shape is None
        else dataclasses.replace(spec, shape=tuple(length(spec, axis, dim) for axis, dim in enumerate(spec.shape)))
        for spec in signature.inputs
    )


def _integers(feed: dict[str, np.ndarray], value: int) -> dict[str, np.ndarray]:
    return {name: np.full_like(data, value) if data.dtype.kind in "iu" else data for name, data in feed.items()}


def shapes(feed: Feed) -> dict[str, tuple[int, ...]]:
    """Shape of every input; of a sequence, its length and the shape of its first element."""
    return {name: _shape(data) for name, data in feed.items()}


def _shape(data: Any) -> tuple[int, ...]:  # noqa: ANN401 - arrays, sequences, absent optionals
    if isinstance(data, list | tuple):
        return (len(data), *(_shape(data[0]) if data else ()))
    return np.shape(data)


def stable(session: Session, feeds: Sequence[Feed]) -> tuple[dict[str, Any], ...]:
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
