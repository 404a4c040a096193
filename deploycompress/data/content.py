"""summaries of samples -> what is wrong with the samples themselves, whatever the model.

* unusable samples: files that were left out, each with its reason (NaN and infinity among them, with their position).
* random samples: they stand for nothing.
* constant samples: every value of the input is the same, so there is no range to find (scale 0 or an invented one).
* duplicates: equal bytes after preprocessing (sha256), counted once they carry no more weight than one sample.

Near-duplicates (neighbouring frames, the same picture compressed twice) are not looked for: a comparison of every pair
is quadratic, and a hash of what a picture shows would be a guess about one kind of data.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from deploycompress.data.samples import Samples, Skipped
from deploycompress.data.summary import Summary
from deploycompress.records.symptoms import Symptom, listed

_FEWEST = 8  # as in the note of `quantize`: below it ranges rest on chance
_REPEATED_SHARE = 0.01  # a copy or two among hundreds changes nothing


def content(samples: Samples) -> Iterator[Symptom]:
    """Yields what is wrong with `samples` by themselves."""
    if not samples.valid_for_accuracy:
        yield Symptom(
            "random samples",
            "warning",
            "the samples are drawn at random",
            samples.source,
            "ranges found on them are meaningless and accuracy is void",
            "give real samples",
        )
        return
    yield from unusable(samples.skipped, samples.examples)
    yield from constant(samples.summaries)
    yield from duplicates(samples.summaries)


def unusable(skipped: Sequence[Skipped], usable: int) -> Iterator[Symptom]:
    """Samples that were left out."""
    if skipped:
        yield Symptom(
            "unusable samples",
            "warning",
            f"{len(skipped)} left out, {usable} used",
            "; ".join(f"{each.path}: {each.reason}" for each in skipped[:3])
            + (f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""),
            "what they would have shown is not in the ranges",
            "mend or remove them",
        )


def constant(summaries: Sequence[Summary]) -> Iterator[Symptom]:
    """Samples without two different values; a failure where no other sample is left."""
    found = [summary for summary in summaries if summary.is_constant]
    if not found:
        return
    values = sorted({figures.low for summary in found for figures in summary.inputs.values() if figures.size > 1})
    held = f"every value is {values[0]:g}" if len(values) == 1 else "every value of a sample is the same"
    everything = len(found) == len(summaries)
    yield Symptom(
        "constant samples",
        "failure" if everything else "warning",
        f"{len(found)} of {len(summaries)} samples are constant ({held})",
        listed([summary.name for summary in found]),
        "they have no range, so a scale found on them is an invented one"
        if everything
        else "they widen no range and may be failed reads",
        "check how the samples were written and read" if everything else "remove them, or check how they were written",
    )


def duplicates(summaries: Sequence[Summary]) -> Iterator[Symptom]:
    """Samples that are equal to an earlier one, where they are more than one in a hundred."""
    groups: dict[bytes, list[str]] = defaultdict(list)
    for summary in summaries:
        groups[summary.digest].append(summary.name)
    repeated = len(summaries) - len(groups)
    if repeated <= _REPEATED_SHARE * len(summaries):
        return
    largest = max(groups.values(), key=len)
    yield Symptom(
        "duplicates",
        "warning",
        f"{repeated} of {len(summaries)} samples ({100 * repeated / len(summaries):.0f} %) equal an earlier one; "
        f"{len(groups)} are different",
        f"the largest group is {listed(largest)}",
        "they add no information about the ranges, and weigh on whatever is averaged",
        "remove the copies" if len(groups) >= _FEWEST else "give more samples that differ",
    )
