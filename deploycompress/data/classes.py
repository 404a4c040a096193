"""labels -> classes that are absent or far too frequent.

A class is absent beyond chance where a uniform draw of N samples from K classes would miss any class with a probability
below one in a hundred: `K (1 - 1/K)^N < 0.01`. A set is unbalanced where its largest class has more than three times
its even share and Pearson's statistic `sum_k (n_k - N/K)^2 / (N/K)` lies above `K - 1 + 4 sqrt(2 (K - 1))`, four
standard deviations above its mean under even classes.

Source: Pearson 1900 (chi-square: mean K - 1, variance 2 (K - 1)); the union bound over classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from deploycompress.data.summary import Summary
from deploycompress.records.symptoms import Symptom, listed

_CHANCE = 0.01
_TIMES_EVEN_SHARE = 3.0
_DEVIATIONS = 4.0
_MOST_CLASSES = 100_000


def balance(summaries: Sequence[Summary], classes: int | None = None) -> Iterator[Symptom]:
    """Yields what is wrong with the classes of labelled samples; nothing where labels are absent or scores.

    Args:
        summaries: Of all samples.
        classes: How many classes the model has, where it is known.
    """
    labels = [summary.label for summary in summaries]
    numbers = [int(label) for label in labels if label is not None and float(label).is_integer()]
    if not numbers or len(numbers) < len(labels) or min(numbers) < 0 or max(numbers) > _MOST_CLASSES:
        return
    counts = Counter(numbers)
    known = classes if classes is not None and classes > max(numbers) else len(counts)
    yield from _absent(counts, len(numbers), known)
    yield from _unbalanced(counts, len(numbers), known)


def _absent(counts: Counter[int], total: int, classes: int) -> Iterator[Symptom]:
    missing = [str(number) for number in range(classes) if number not in counts]
    if missing and classes * (1 - 1 / classes) ** total < _CHANCE:
        yield Symptom(
            "absent classes",
            "warning",
            f"{len(missing)} of the {classes} classes of the model have no sample among {total}",
            f"class {listed(missing, 8)}",
            "ranges that only these classes reach are not seen",
            "add samples of every class",
        )


def _unbalanced(counts: Counter[int], total: int, classes: int) -> Iterator[Symptom]:
    if classes < 2:
        return
    even = total / classes
    statistic = sum((counts.get(number, 0) - even) ** 2 for number in range(classes)) / even
    limit = classes - 1 + _DEVIATIONS * math.sqrt(2 * (classes - 1))
    largest, count = counts.most_common(1)[0]
    if count > _TIMES_EVEN_SHARE * even and statistic > limit:
        yield Symptom(
            "unbalanced classes",
            "warning",
            f"{count} of {total} samples ({100 * count / total:.0f} %) are of one of {classes} classes",
            f"class {largest}",
            "means and histograms follow that class, and accuracy says little about the others",
            "draw the samples evenly from the classes, as the model will meet them",
        )
