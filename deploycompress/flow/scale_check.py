"""samples through the model -> whether their values are on the scale the model was trained on.

Two witnesses. `r` is the ratio of the data to the first constants of the model (see `data_scale`). The information in
the decisions over the samples,

    I = H(mean of p) - mean of H(p),   p = softmax(scores)

is large where the model is sure of different classes for different samples; it is measured on the samples as they are
and divided by r. Networks whose biases are negligible (r large on the right data too) decide as well or better as they
are, so nothing is said about them.

Source: Bridle, Heading and MacKay 1991 (mutual information of a classifier's decisions).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.data import Samples, Summary
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.data_scale import Moments, factors, meetings
from deploycompress.flow.observing import Tapped
from deploycompress.records.symptoms import Severity, Symptom
from deploycompress.runtime.session import Feed, SessionConfig

_FEEDS = 24
_FEWEST = 4
_FAR = 15.0  # right pairs reach 4, wrong ones start at 50 (table in docs/calibration.md)
_NEAR = 2.0
_GAIN_NATS = 0.25
_CLEAR_GAIN_NATS = 0.5
_BYTE = 255
_NORMALIZED = 3.0  # where pixels end, whatever normalizes them


def scale_symptoms(model: ir.Model, samples: Samples, config: SessionConfig) -> Iterator[Symptom]:
    """Yields inputs whose values are far larger or smaller than the model expects, judged on up to 24 samples."""
    varying = {name for each in samples.summaries for name, figures in each.inputs.items() if figures.std > 0}
    points = [meeting for meeting in meetings(model) if meeting.source in varying]
    if not points or not samples.valid_for_accuracy:
        return
    tapped = Tapped.open(model, [point.tensor for point in points], config)
    moments = {point.tensor: Moments(point.axis) for point in points}
    feeds: list[Feed] = []
    scores = []
    taken = min(_FEEDS, len(samples))
    for sample in samples.picked(n * len(samples) // taken for n in range(taken)):
        try:
            values = tapped.run(sample.feed)
        except ModelRejectedError:
            continue  # named by the pass that runs every sample
        feeds.append(sample.feed)
        scores.append(tapped.scores(values))
        for name, found in moments.items():
            found.add(values[name])
    if len(feeds) < _FEWEST:
        return
    for source, ratio, meeting in factors(points, moments):
        if ratio <= 0 or not math.isfinite(ratio):
            continue
        told_apart = _told_apart(tapped, feeds, scores, source, ratio)
        severity = _severity(ratio, told_apart)
        if severity is None:
            continue
        low, high = extremes(samples.summaries, source)
        times = f"{ratio:.0f} times larger" if ratio > 1 else f"{1 / ratio:.0f} times smaller"
        before, after = told_apart or (0.0, 0.0)
        sure = f"; information in the decisions {before:.1f} nats, rescaled {after:.1f}" if told_apart else ""
        yield Symptom(
            "values on another scale",
            severity,
            f"input {source!r} holds {low:g} to {high:g}, about {times} than the model expects",
            f"tensor {meeting.tensor}{sure}",
            "ranges found on such inputs are wrong for those the model will meet",
            remedy(low, high, ratio),
        )


def _severity(ratio: float, told_apart: tuple[float, float] | None) -> Severity | None:
    """What both witnesses say together; None where there is nothing to say."""
    far, off = not 1 / _FAR < ratio < _FAR, not 1 / _NEAR < ratio < _NEAR
    if told_apart is None:
        return "warning" if far else None
    before, after = told_apart
    if max(before, after) <= _GAIN_NATS:
        # Samples of one class: there are no decisions to compare, and their deviation may be small for good reasons.
        return "warning" if ratio >= _FAR else None
    if far:
        return "failure" if after - before > _GAIN_NATS else None
    return "warning" if off and after - before > _CLEAR_GAIN_NATS else None


def _told_apart(
    tapped: Tapped, feeds: Sequence[Feed], scores: Sequence[NDArray[np.float64] | None], source: str, ratio: float
) -> tuple[float, float] | None:
    """Information in the decisions on the inputs, and on the inputs divided by `ratio`; None without class scores."""
    given = [each for each in scores if each is not None]
    if len(given) < len(scores) or feeds[0][source].dtype.kind != "f":
        return None
    rescaled = []
    for feed in feeds:
        changed = {**feed, source: (feed[source] / ratio).astype(feed[source].dtype)}
        found = tapped.scores(tapped.run(changed))
        if found is None:
            return None
        rescaled.append(found)
    return information(np.concatenate(given)), information(np.concatenate(rescaled))


def information(scores: NDArray[np.float64]) -> float:
    """Mutual information between sample and decision in nats; [samples, classes] scores or probabilities."""
    if not np.isfinite(scores).all():
        return 0.0
    if (scores >= 0).all() and np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        probabilities = scores
    else:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        probabilities = powers / powers.sum(axis=1, keepdims=True)
    return _entropy(probabilities.mean(axis=0)) - float(np.mean([_entropy(row) for row in probabilities]))


def _entropy(probabilities: NDArray[np.float64]) -> float:
    used = probabilities[probabilities > 0]
    return float(-(used * np.log(used)).sum())


def extremes(summaries: Sequence[Summary], source: str) -> tuple[float, float]:
    """Smallest and largest value of an input over all samples."""
    figures = [each.inputs[source] for each in summaries if source in each.inputs]
    return min(each.low for each in figures), max(each.high for each in figures)


def remedy(low: float, high: float, ratio: float) -> str:
    """What the values look like, and how they would be brought to the scale of the model."""
    if ratio > 1 and low >= -_BYTE and 1 < high <= _BYTE:
        return "they look like 0..255: give the preset of the training (--preprocess imagenet, minus-one-one, unit)"
    if ratio > 1 and max(-low, high) > _BYTE:
        return "they look like integers of 16 bits: divide them by 32768, or as the model was trained"
    if ratio < 1 / _FAR and max(-low, high) <= _NORMALIZED:
        return "the model seems to scale its input itself: give 0..255 (--preprocess raw)"
    return f"{'divide' if ratio > 1 else 'multiply'} them by about {max(ratio, 1 / ratio):.0f}, as in training"
