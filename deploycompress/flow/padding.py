"""model with an attention mask -> whether a short sample gives the same row in a padded batch as alone.

    shift = ||f(batch)[1] - f(short)|| / ||f(short)||      batch = a long sample, and the short one filled with mask 0

A quantized model passes where its shift is no larger than its own quantization error on the short sample plus the
shift of the float model: a model that is itself sensitive to padding (it ignores its mask) is told, and not blamed on
quantization. Ranges found per batch, as dynamic int8 finds them, make a row depend on its neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import ModelRejectedError
from deploycompress.flow.evaluate import Runs
from deploycompress.records.signature import Signature, TensorSpec
from deploycompress.runtime.session import Feed

_ROUNDING = 1e-5  # float32 over a few dozen layers, and sums in another order
_SENSITIVE = 1e-3  # of the float model: far above rounding, so its mask does not reach all of it
_FEWEST = 4  # tokens of a sample that can be cut in half


@dataclass(frozen=True)
class PaddedBatch:
    """What padding does to a row; shifts are relative to the size of the row.

    Attributes:
        mask: Name of the input that marks padding.
        lengths: Of the two samples in the batch.
        float_shift: Of the float model.
        shift: Of the quantized model.
        error: Quantization error on the short sample alone.
    """

    mask: str
    lengths: tuple[int, int]
    float_shift: float
    shift: float
    error: float

    @property
    def holds(self) -> bool:
        """Whether padding moves a row by no more than quantization does, or than it moves the float model's."""
        return self.shift <= self.error + self.float_shift + _ROUNDING

    def __str__(self) -> str:
        found = f"padding moves a row by {100 * self.shift:.2g} %"
        beside = f"quantization error {100 * self.error:.2g} %, float model {100 * self.float_shift:.2g} %"
        long, short = self.lengths
        said = f"padded batch ({long} and {short} tokens): {found} ({beside})"
        if self.float_shift > _SENSITIVE:
            return f"{said}; the float model itself is sensitive to padding"
        return said if self.holds else f"{said}: run samples of different length one by one"


def padded_batch(original: Runs, quantized: Runs, signature: Signature, feed: Feed) -> PaddedBatch | None:
    """Runs a short sample alone and padded, on both models; None where there is no mask or no room for a batch.

    Args:
        original: The float model.
        quantized: The quantized one.
        signature: Of the float model.
        feed: A sample; its first row is used, and the first half of it.
    """
    mask = attention_mask(signature)
    if mask is None or mask.name not in feed:
        return None
    length = int(np.asarray(feed[mask.name]).shape[1])
    sequences = [spec.name for spec in signature.inputs if _is_sequence(spec, mask)]
    if length < _FEWEST or not all(spec.has_dynamic_batch for spec in signature.inputs):
        return None
    long = {name: np.asarray(value)[:1] for name, value in feed.items()}
    long[mask.name] = np.ones_like(long[mask.name])
    short = {name: value[:, : length // 2] if name in sequences else value for name, value in long.items()}
    filled = {name: _filled(value, length) if name in sequences else value for name, value in short.items()}
    batch = {name: np.concatenate([long[name], filled[name]]) for name in long}
    try:
        alone, together = original.run(short), original.run(batch)
        alone_8, together_8 = quantized.run(short), quantized.run(batch)
    except ModelRejectedError:
        return None  # the lengths of this model are not free, whatever its signature says
    rows, rows_8 = _row(together, alone), _row(together_8, alone_8)
    if rows is None or rows_8 is None:
        return None
    return PaddedBatch(
        mask.name,
        (length, length // 2),
        float_shift=_distance(alone, rows),
        shift=_distance(alone_8, rows_8),
        error=_distance(alone, alone_8),
    )


def attention_mask(signature: Signature) -> TensorSpec | None:
    """The input that says which tokens are real: it is called so, and is [batch, tokens] of any lengths."""
    for spec in signature.inputs:
        if "mask" in spec.name.lower() and spec.shape is not None and len(spec.shape) == 2 and spec.has_dynamic_batch:
            return None if isinstance(spec.shape[1], int) else spec
    return None


def _is_sequence(spec: TensorSpec, mask: TensorSpec) -> bool:
    assert mask.shape is not None
    return spec.shape is not None and len(spec.shape) >= 2 and spec.shape[1] == mask.shape[1]


def _filled(value: NDArray[Any], length: int) -> NDArray[Any]:
    widths = [(0, 0), (0, length - value.shape[1]), *((0, 0) for _ in value.shape[2:])]
    return np.pad(value, widths)


def _row(together: Mapping[str, Any], alone: Mapping[str, Any]) -> dict[str, Any] | None:
    """The second row of every output, cut to the shape of the sample alone; None where it cannot be."""
    found = {}
    for name, value in together.items():
        expected = np.asarray(alone[name])
        row = np.asarray(value)[1:2]
        if row.ndim != expected.ndim or any(have < want for have, want in zip(row.shape, expected.shape, strict=True)):
            return None
        found[name] = row[tuple(slice(size) for size in expected.shape)]
    return found


def _distance(reference: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    floats = [name for name, value in reference.items() if np.asarray(value).dtype.kind == "f"]
    power = sum(float(np.square(reference[name].astype(np.float64)).sum()) for name in floats)
    noise = sum(float(np.square(reference[name].astype(np.float64) - other[name]).sum()) for name in floats)
    return float(np.sqrt(noise / power)) if power > 0 else 0.0
