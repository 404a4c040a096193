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
from deploycompress.records.symptoms import Symptom
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
        gain = _gain(tapped, feeds, scores, source, ratio)
        far, off = not 1 / _FAR < ratio < _FAR, not 1 / _NEAR < ratio < _NEAR
        if (far and (gain is None or gain > _GAIN_NATS)) or (off and gain is not None and gain > _CLEAR_GAIN_NATS):
            severity = "failure" if far and gain is not None else "warning"
            low, high = extremes(samples.summaries, source)
            times = f"{ratio:.0f} times larger" if ratio > 1 else f"{1 / ratio:.0f} times smaller"
            sure = "" if gain is None else f"; rescaled, the samples are told apart better by {gain:.1f} nats"
            yield Symptom(
                "values on another scale",
                severity,  # type: ignore[arg-type]  # one of the two
                f"input {source!r} holds {low:g} to {high:g}, about {times} than the model expects",
                f"tensor {meeting.tensor}{sure}",
                "ranges found on such inputs are wrong for those the model will meet",
                remedy(low, high, ratio),
            )


def _gain(
    tapped: Tapped, feeds: Sequence[Feed], scores: Sequence[NDArray[np.float64] | None], source: str, ratio: float
) -> float | None:
    """Information in the decisions on inputs / `ratio`, minus that on the inputs; None without class scores."""
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
    return information(np.concatenate(rescaled)) - information(np.concatenate(given))


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
