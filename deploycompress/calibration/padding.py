"""feed with an attention mask -> activations without the padded positions.

A padded position holds whatever the model makes of [PAD]; nothing reads it, so its range must not widen a grid. Which
axes of a tensor count tokens is found by running the feed once more, one token shorter: those whose length follows.
A model of fixed length cannot be run so; there the first axis of that length is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import ModelRejectedError
from deploycompress.runtime.session import Feed, Session

_MASKS = ("attention_mask", "input_mask", "attn_mask")


def mask_of(feed: Feed) -> NDArray[np.bool_] | None:
    """Which positions [batch, tokens] are real; None where there is no mask, or nothing is padded."""
    mask = next((np.asarray(feed[name]) for name in _MASKS if name in feed), None)
    if mask is None or mask.ndim != 2 or not mask.any() or not np.isin(mask, (0, 1)).all():
        return None
    return None if mask.all() else mask.astype(np.bool_)


def token_axes(
    session: Session, feed: Feed, mask: NDArray[np.bool_], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """Axes that count tokens, or batch times tokens, by output of `session`.

    Args:
        session: Gives the tapped tensors.
        feed: A padded one.
        mask: Its mask.
        shapes: Shape of each output on `feed`.
    """
    batch, length = mask.shape
    shorter = _shapes(session, _cut(session, feed, mask), list(shapes))
    found: dict[str, tuple[int, ...]] = {}
    for name, shape in shapes.items():
        axes = [axis for axis, size in enumerate(shape) if size in (length, batch * length)]
        if shorter is None:
            axes = [axis for axis in axes if axis > 0 or shape[axis] == batch * length][:1]
        elif len(shorter[name]) == len(shape):
            cut = {length: length - 1, batch * length: batch * (length - 1)}
            axes = [axis for axis in axes if shorter[name][axis] == cut[shape[axis]]]
        found[name] = tuple(axes)
    return found


def real(
    values: NDArray[np.floating], mask: NDArray[np.bool_], axes: tuple[int, ...]
) -> Iterator[NDArray[np.floating]]:
    """Yields parts of `values` that together hold the real positions; `values` itself where no axis counts tokens.

    An axis of batch times tokens is taken as batch-major. Where they are separate, the batch leads, or all of it shares
    the tensor, as it does position embeddings.
    """
    batch, length = mask.shape
    if not axes:
        yield values
    elif batch == 1 or values.shape[axes[0]] == batch * length:
        yield _compressed(values, mask.ravel(), axes)
    elif axes[0] == 0 or len(values) != batch:
        yield values
    else:
        for row, part in zip(mask, values, strict=True):
            yield _compressed(part[None], row, axes)


def _compressed(values: NDArray[np.floating], keep: NDArray[np.bool_], axes: tuple[int, ...]) -> NDArray[np.floating]:
    for axis in axes:
        values = np.compress(keep, values, axis=axis)
    return values


def _cut(session: Session, feed: Feed, mask: NDArray[np.bool_]) -> dict[str, Any] | None:
    """`feed` without its last token, or None where the model fixes the length."""
    length = mask.shape[1]
    if length < 2:
        return None
    shorter = dict(feed)
    for spec in session.signature.inputs:
        shape = np.shape(feed[spec.name]) if spec.name in feed else ()
        if len(shape) >= 2 and shape[1] == length:
            if spec.shape is not None and isinstance(spec.shape[1], int):
                return None
            shorter[spec.name] = np.asarray(feed[spec.name])[:, :-1]
    return shorter


def _shapes(session: Session, feed: dict[str, Any] | None, outputs: list[str]) -> dict[str, tuple[int, ...]] | None:
    if feed is None:
        return None
    try:
        return {name: np.shape(value) for name, value in session.run(feed, outputs).items()}
    except ModelRejectedError:
        return None  # it does not run at that length: the lengths alone must do
