"""--max-drop or --min-agreement, with samples -> a question that any quantized graph can be asked: is it close enough?

The question is decided on the point estimate. The upper end of the interval would be the safe choice, and would refuse
every model on the few hundred samples that most people have: at 500 samples and 2 % flipped decisions it lies 1.2
points above the estimate. So the estimate decides, the interval and the number of samples stand beside it, and where
the interval reaches beyond the limit the result says that these samples cannot rule it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploycompress import data
from deploycompress import model as models
from deploycompress.data import Samples
from deploycompress.data.comparison import drift, overlap
from deploycompress.data.summary import digest
from deploycompress.errors import DataRejectedError, UsageError
from deploycompress.flow.evaluate import Evaluation, check_metric, evaluate
from deploycompress.flow.given import Given
from deploycompress.flow.goal import Goal, gives_class_scores
from deploycompress.measurement.metrics.choice import named
from deploycompress.measurement.metrics.metric import Metric
from deploycompress.records.measured import Accuracy, Fidelity, Interval
from deploycompress.records.progress import Track, silent
from deploycompress.report import words
from deploycompress.runtime.session import Feed, Session

_REMEMBERED_BYTES = 256_000_000


@dataclass(frozen=True)
class Score:
    """What one graph reaches.

    Attributes:
        evaluation: Its figures against the float model.
        shortfall: By how much it misses the limit, in the unit of the limit; 0 or less where it is met.
        said: The judged figure in words.
    """

    evaluation: Evaluation
    shortfall: float
    said: str

    @property
    def met(self) -> bool:
        """Whether the limit is met, by the point estimate."""
        return self.shortfall <= 0


@dataclass(frozen=True)
class Judge:
    """Asks the question.

    Attributes:
        goal: The limit.
        original: The float model; its outputs are remembered where they are few.
        samples: What both are run on.
        metric: What is judged; None for what fits, and for agreement.
        of_decisions: Whether agreement is the share of equal decisions, where the output has several columns to choose
            from, or the cosine of the outputs.
        notes: What the evaluation samples say by themselves.
    """

    goal: Goal
    original: Remembered
    samples: Samples
    metric: Metric | None
    of_decisions: bool
    notes: tuple[str, ...]

    def __call__(self, session: Session, track: Track = silent) -> Score:
        """The score of an open graph.

        Raises:
            UsageError: The samples do not allow the figure that the limit is about.
        """
        _, found = evaluate(
            [self.original, session], self.samples, output=self.goal.output, metric=self.metric, track=track
        )
        if self.goal.max_drop is not None:
            if found.accuracy is None or found.accuracy.drop is None:
                raise UsageError(
                    f"--max-drop cannot be measured on {self.samples.source}: "
                    f"{'; '.join(found.notes) or 'the samples have no labels'}",
                    remedy="give labels, name a --metric, or use --min-agreement",
                )
            said = _dropped(found.accuracy, found.accuracy.drop, found.accuracy.drop_interval)
            return Score(found, _short(found.accuracy.drop - self.goal.max_drop), said)
        assert self.goal.min_agreement is not None
        fidelity = found.fidelity
        if fidelity is None:
            raise UsageError(f"--min-agreement cannot be measured: {'; '.join(found.notes)}", where=self.samples.source)
        if self.of_decisions and fidelity.agreement is not None:
            reached, said = fidelity.agreement, f"same decision on {100 * fidelity.agreement:.2f} %"
        else:
            reached = _cosine(fidelity)
            said = f"cosine of the outputs {reached:.5f}"
        said += f" (n = {fidelity.count:,}, SQNR {fidelity.sqnr_db:.1f} dB)"
        return Score(found, _short(self.goal.min_agreement - reached), said)


def _cosine(fidelity: Fidelity) -> float:
    """The cosine; outputs that are all zero have none, and are as good as the difference to them is nothing."""
    if fidelity.cosine is not None:
        return fidelity.cosine
    return 1.0 if fidelity.max_abs == 0.0 else 0.0


def _short(missed: float) -> float:
    """`missed` without the rounding of its terms: a drop from 0.9 to 0.89 is one of 0.01, and not a hair more."""
    return round(missed, 12)


def _dropped(accuracy: Accuracy, drop: float, interval: Interval | None) -> str:
    """As in "top-1 drop 0.4 points, 95 % interval 0.1 to 0.8, n = 5,000"."""
    between = "" if interval is None else f", 95 % interval {words.between(accuracy, interval)}"
    return f"{accuracy.metric} drop {words.lost(accuracy, drop)}{between}, n = {accuracy.count:,}"


class Remembered:
    """A session that keeps what it gave for a feed while it all fits in memory; a pass over the same feeds is free."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._outputs: dict[bytes, dict[str, Any]] = {}
        self._bytes = 0

    def run(self, feed: Feed) -> dict[str, Any]:
        """Outputs by name for one feed."""
        key = digest(feed)
        if key not in self._outputs:
            found = self.session.run(feed)
            self._bytes += sum(np.asarray(value).nbytes for value in found.values())
            if self._bytes > _REMEMBERED_BYTES:
                return found
            self._outputs[key] = found
        return self._outputs[key]


def judge_for(goal: Goal, given: Given, *, preprocess: str | None, tokenizer: Path | None, track: Track) -> Judge:
    """Opens the evaluation samples, and asks the float model itself first.

    Args:
        goal: The limit.
        given: The float model and the calibration samples.
        preprocess: How images become inputs: that of the calibration samples, since one reader serves both.
        tokenizer: Likewise for text.
        track: Shows progress.

    Raises:
        UsageError: There are no samples, they are the calibration samples, or they do not allow the metric.
        DataRejectedError: No evaluation sample is usable.
        UnknownNameError: There is no such metric or output.
    """
    goal.check()
    metric = None if goal.metric is None else named(goal.metric)
    samples, notes = _samples(goal, given, preprocess, tokenizer, track)
    if not samples.valid_for_accuracy:
        raise DataRejectedError("random samples say nothing about accuracy", where=samples.source)
    if metric is not None:
        check_metric(given.original, samples, metric, goal.output)
    of_decisions = goal.max_drop is None and gives_class_scores(given.model)
    return Judge(goal, Remembered(given.original), samples, metric, of_decisions, notes)


def _samples(
    goal: Goal, given: Given, preprocess: str | None, tokenizer: Path | None, track: Track
) -> tuple[Samples, tuple[str, ...]]:
    """The evaluation samples, and what is to be said about them beside the calibration samples."""
    if goal.eval_data is None:
        if given.samples is None:
            raise UsageError("--min-agreement needs samples", remedy="add --eval DATA or --calib DATA, no labels")
        return given.samples, ("agreement was measured on the calibration samples; --eval gives held-out ones",)
    signature = models.signature(given.model)
    samples = data.open(
        goal.eval_data,
        signature,
        preprocess=preprocess,
        labels=goal.labels,
        tokenizer=tokenizer,
        limit=goal.limit,
        track=track,
    )
    calibration = given.samples
    found = {each.digest for each in samples.summaries}
    same = given.origin is not None and given.origin.fingerprint == samples.fingerprint
    if same or (calibration is not None and found == {each.digest for each in calibration.summaries}):
        raise UsageError(
            "the evaluation samples are the calibration samples, so the accuracy on them is too good",
            where=f"--eval {goal.eval_data}",
            remedy="hold some samples back for --eval",
        )
    symptoms = () if calibration is None else (*overlap(calibration.summaries, samples.summaries),)
    moved = () if calibration is None else (*drift(calibration.summaries, samples.summaries),)
    return samples, tuple(str(symptom) for symptom in (*symptoms, *moved))


def baseline(judge: Judge, track: Track) -> Evaluation:
    """The float model alone, through the same reader: its metric, and what is suspicious about it.

    Raises:
        UsageError: The samples do not allow the figure that the limit is about.
    """
    (found,) = evaluate([judge.original], judge.samples, output=judge.goal.output, metric=judge.metric, track=track)
    if judge.goal.max_drop is not None and found.accuracy is None:
        raise UsageError(
            f"--max-drop cannot be measured on {judge.samples.source}: "
            f"{'; '.join(found.notes) or 'the samples have no labels'}",
            remedy="give --labels, name a --metric, or use --min-agreement",
        )
    return found
