"""labels -> classes that are absent or far too frequent.

A class is absent beyond chance where a uniform draw of N samples from K classes would miss any class with a probability
below one in a hundred: `K (1 - 1/K)^N < 0.01`. A set is unbalanced where its largest class has more than three times
its even share N/K, and so many with a probability below one in a hundred: `K P(X >= n) < 0.01`, X ~ Binomial(N, 1/K).
Both are union bounds over the classes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from deploycompress.data.summary import Summary
from deploycompress.records.symptoms import Symptom, listed

_CHANCE = 0.01
_TIMES_EVEN_SHARE = 3.0
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
    largest, count = counts.most_common(1)[0]
    if count > _TIMES_EVEN_SHARE * total / classes and classes * _tail(count, total, 1 / classes) < _CHANCE:
        yield Symptom(
            "unbalanced classes",
            "warning",
            f"{count} of {total} samples ({100 * count / total:.0f} %) are of one of {classes} classes",
            f"class {largest}",
            "means and histograms follow that class, and accuracy says little about the others",
            "draw the samples evenly from the classes, as the model will meet them",
        )


def _tail(count: int, total: int, share: float) -> float:
    """P(X >= count) for X ~ Binomial(total, share)."""
    logs = (
        math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        + k * math.log(share) + (total - k) * math.log1p(-share)
        for k in range(count, total + 1)
    )  # fmt: skip
    return math.fsum(math.exp(log) for log in logs)
