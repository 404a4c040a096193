"""quantized graph + limit -> the graph that keeps the accuracy, with everything that was tried on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploycompress.flow.accuracy_search import Search, Trial, pareto
from deploycompress.flow.draft import Draft
from deploycompress.flow.evaluate import Evaluation
from deploycompress.flow.given import Given
from deploycompress.flow.judge import Judge
from deploycompress.flow.making import Choice, Made
from deploycompress.flow.sensitivity import Sensitivity, sensitivities
from deploycompress.quantization.spec import Width
from deploycompress.records.measured import Accuracy
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed


@dataclass(frozen=True)
class Kept:
    """How a limit on accuracy was kept, or missed.

    Attributes:
        limit: The limit, as it was asked for.
        met: Whether the model written meets it, by the point estimate.
        said: What it reaches, in words.
        baseline: The float model through the same reader; None where agreement is judged.
        source: The evaluation samples.
        fingerprint: Of them.
        samples: How many.
        float_layers: Layers that are float for accuracy, by the name of their first output.
        promoted: Layers that got a wider code for accuracy, with its bits.
        order: The steps by harm, the worst first; empty where the first model met the limit.
        trials: Every model tried, in order.
        pareto: Those that no other beats in both size and score, smallest first.
        ended: Why the search ended.
        notes: What is to be known about the samples and the figures.
    """

    limit: str
    met: bool
    said: str
    baseline: Accuracy | None
    source: str
    fingerprint: str
    samples: int
    float_layers: tuple[str, ...]
    promoted: Mapping[str, Width]
    order: tuple[Sensitivity, ...]
    trials: tuple[Trial, ...]
    pareto: tuple[Trial, ...]
    ended: str
    notes: tuple[str, ...]


def keep_accuracy(
    drafted: Draft,
    made: Made,
    released: Mapping[str, Choice],
    judge: Judge,
    floats: Evaluation,
    given: Given,
    *,
    timed: Feed | None,
    track: Track,
) -> tuple[Made, Kept]:
    """The graph to write, and how the limit was kept.

    Args:
        drafted: Makes quantized graphs.
        made: The one with as few float layers as it can have.
        released: Layers that are float in it already, with reasons.
        judge: Scores graphs.
        floats: The float model's own score.
        given: The samples; calibration samples give the order of the layers, so that evaluation does not choose it.
        timed: What is timed; None to time nothing.
        track: Shows progress.

    Raises:
        UsageError: The samples do not allow the figure that the limit is about.
    """
    order: list[Sensitivity] = []

    def ranked() -> list[Sensitivity]:
        samples = judge.samples if given.samples is None else given.samples
        order.extend(sensitivities(drafted, made, released, given.original, samples, track))
        return order

    search = Search(drafted, judge, released, timed, judge.goal.budget_s, track)
    search.run(made, ranked)
    best, chosen = search.best, search.chosen
    return best, Kept(
        limit=judge.goal.asked,
        met=chosen.met,
        said=chosen.said,
        baseline=floats.accuracy,
        source=judge.samples.source,
        fingerprint=judge.samples.fingerprint,
        samples=judge.samples.examples,
        float_layers=chosen.float_layers,
        promoted=chosen.promoted,
        order=tuple(order),
        trials=tuple(search.trials),
        pareto=pareto(search.trials, chosen),
        ended=search.ended,
        notes=(*judge.notes, *floats.notes, *_doubts(chosen, judge)),
    )


def _doubts(chosen: Trial, judge: Judge) -> tuple[str, ...]:
    interval = None if chosen.accuracy is None else chosen.accuracy.drop_interval
    most = judge.goal.max_drop
    if most is None or interval is None or not chosen.met or interval.high <= most:
        return ()
    return (f"the interval reaches beyond the limit: {judge.samples.examples:,} samples cannot rule out a larger drop",)
