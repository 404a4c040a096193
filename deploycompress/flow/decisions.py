"""class scores + labels -> whether the decisions make sense: several classes, labels that fit, better than chance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from deploycompress.data import Summary
from deploycompress.data.classes import balance
from deploycompress.data.source import Label
from deploycompress.errors import DataRejectedError, UnsupportedError
from deploycompress.measurement.accuracy import accuracy
from deploycompress.measurement.metrics.classes import TOP1
from deploycompress.records.measured import Accuracy
from deploycompress.records.symptoms import Symptom

_FEWEST = 16
_TIMES_CHANCE = 2.0
_LEAST_ACCURACY = 0.15  # whatever the number of classes: nobody deploys less


def decisions(scores: NDArray[np.float64], summaries: Sequence[Summary]) -> tuple[list[Symptom], Accuracy | None]:
    """What the decisions of the float model on the samples say against them, and its top-1 where they have labels.

    Args:
        scores: [samples, classes].
        summaries: Of the same samples in the same order.
    """
    classes = scores.shape[1]
    labels = {summary.label for summary in summaries} - {None}
    symptoms = [*balance(summaries, classes), *_one_for_all(scores, labels)]
    try:
        found = accuracy(TOP1, TOP1.table(scores, [summary.label for summary in summaries]))
    except UnsupportedError:  # not every sample has a class number
        return symptoms, None
    except DataRejectedError as error:
        failed = Symptom("labels", "failure", error.what, "labels", "accuracy cannot be measured", error.remedy)
        return [*symptoms, failed], None
    shifts = scores.argmax(axis=1) - np.array([summary.label for summary in summaries], np.int64)
    return [*symptoms, *_labels_do_not_fit(found, shifts, classes)], found


def _one_for_all(scores: NDArray[np.float64], labels: set[Label]) -> Iterator[Symptom]:
    classes = scores.shape[1]
    decided = set(scores.argmax(axis=1).tolist())
    if len(decided) == 1 and len(scores) >= _FEWEST and (len(labels) > 1 or (not labels and classes > 2)):
        yield Symptom(
            "one decision for all",
            "warning",
            f"the float model gives class {decided.pop()} to every one of {len(scores)} samples",
            f"{classes} classes",
            "inputs that the model cannot tell apart do not show its ranges",
            "check the preprocessing and the model",
        )


def _labels_do_not_fit(found: Accuracy, shifts: NDArray[np.int64], classes: int) -> Iterator[Symptom]:
    """Yields a warning where the accuracy is certainly low, with the shift (decision - label) that would mend it."""
    if found.interval.high >= max(_TIMES_CHANCE / classes, _LEAST_ACCURACY):
        return
    ((shift, count),) = Counter(shifts.tolist()).most_common(1)
    shifted = shift != 0 and count > len(shifts) / 2
    yield Symptom(
        "labels that do not fit",
        "warning",
        f"the float model is right on {100 * found.value:.1f} % of {found.count} samples",
        f"its decision is the label {shift:+d} on {count} of them" if shifted else "labels or preprocessing",
        "an accuracy measured on them means nothing",
        f"count the labels as the model does: add {shift}"
        if shifted
        else "check the order of the classes, and the preprocessing",
    )
