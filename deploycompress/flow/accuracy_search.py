"""quantized graph that misses a limit + steps by harm -> the one that meets it with the fewest steps taken.

A step makes one layer wider: the next wider code where the form has one, else float.

1. The k most harmful steps are taken: k doubles until the limit is met, then bisection between the last two.
2. Trimming: each of them, the least harmful first, is taken back where the limit still holds.

Every trial is a whole model on all evaluation samples, because errors of layers partly cancel. More steps need not mean
a better score, so bisection finds a k that holds and not certainly the least one; trimming makes up for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from deploycompress import model as models
from deploycompress.flow.draft import Draft
from deploycompress.flow.gate import external_bytes
from deploycompress.flow.judge import Judge
from deploycompress.flow.making import Choice, Made
from deploycompress.flow.sensitivity import Sensitivity
from deploycompress.measurement.compare import quick_compare
from deploycompress.quantization.spec import FLOAT, Width
from deploycompress.records.measured import Accuracy, Comparison, Fidelity
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, Session

_TIMED_S = 0.6
T = TypeVar("T")


@dataclass(frozen=True)
class Trial:
    """A model that was tried.

    Attributes:
        widths: Bits of the weights of the layers that accuracy made wider, by first output name; 32 is float.
        size_bytes: Size of the file.
        accuracy: The metric with its drop; None where agreement is judged.
        fidelity: Outputs against the float model.
        comparison: Latency against the float model; None where it was not timed.
        shortfall: By how much it misses the limit; 0 or less where it meets it.
        said: The judged figure in words.
    """

    widths: Mapping[str, Width]
    size_bytes: int
    accuracy: Accuracy | None
    fidelity: Fidelity | None
    comparison: Comparison | None
    shortfall: float
    said: str

    @property
    def met(self) -> bool:
        """Whether it meets the limit."""
        return self.shortfall <= 0

    @property
    def float_layers(self) -> tuple[str, ...]:
        """Those that became float."""
        return tuple(name for name, width in self.widths.items() if width == FLOAT)

    @property
    def promoted(self) -> dict[str, Width]:
        """Those that got a wider code."""
        return {name: width for name, width in self.widths.items() if width != FLOAT}


class _Ended(Exception):
    """The budget is spent."""


@dataclass
class Search:
    """Tries graphs, and keeps the best.

    Attributes:
        drafted: Makes quantized graphs.
        judge: Scores them.
        released: Layers that are float already, with reasons.
        timed: What is timed; None to time nothing.
        budget_s: Seconds it may take.
        track: Shows progress.
        trials: What was tried, in order.
        ended: Why it ended.
    """

    drafted: Draft
    judge: Judge
    released: Mapping[str, Choice]
    timed: Feed | None
    budget_s: float
    track: Track
    trials: list[Trial] = field(default_factory=list)
    ended: str = ""
    _best: Made | None = None

    @property
    def best(self) -> Made:
        """The graph to go on with."""
        assert self._best is not None
        return self._best

    @property
    def chosen(self) -> Trial:
        """The trial of `best`."""
        return min(self.trials, key=_rank)

    def run(self, made: Made, order: Callable[[], Sequence[Sensitivity]]) -> None:
        """Tries `made`; where it misses the limit, takes steps until one meets it or the budget is spent.

        Args:
            made: The graph with as few float layers as it can have.
            order: Gives the steps, the most harmful not to take first, those of one layer in order of width; it is
                asked only where the search needs them.
        """
        started = time.monotonic()
        try:
            if self._try(made, {}).met:
                self.ended = "the first model met the limit"
                return
            self._search(order(), lambda: time.monotonic() - started > self.budget_s)
            self.ended = "every layer was considered"
        except _Ended:
            self.ended = f"the budget of {self.budget_s:g} s was spent"
        except KeyboardInterrupt:
            if self._best is None:
                raise
            self.ended = "interrupted"

    def _search(self, steps: Sequence[Sensitivity], spent: Callable[[], bool]) -> None:
        ranked = [
            (each.node, Choice(each.wider, _reason(each, rank, len(steps)))) for rank, each in enumerate(steps, 1)
        ]

        def holds(chosen: Sequence[tuple[str, Choice]]) -> bool:
            choices = dict(chosen)  # of the steps of one layer the last, and widest, one counts
            widths = {name: choice.width for name, choice in choices.items()}
            for trial in self.trials:
                if trial.widths == widths:
                    return trial.met
            if spent():
                raise _Ended
            return self._try(self.drafted.made({**self.released, **choices}), widths).met

        count = fewest(len(ranked) - 1, lambda k: holds(ranked[:k]))  # with the last one nothing would be quantized
        if count is not None:
            trimmed(ranked[:count], holds)

    def _try(self, made: Made, widths: Mapping[str, Width]) -> Trial:
        content = models.serialize(made.model)
        session = Session(content, self.judge.original.session.config, weights_dir=models.weights_dir(made.model))
        number = len(self.trials) + 1
        score = self.judge(
            session, lambda items, _, total=None: self.track(items, f"trial {number}: {len(widths)} wider", total)
        )
        trial = Trial(
            widths=widths,
            size_bytes=len(content) + external_bytes(made.model),
            accuracy=score.evaluation.accuracy,
            fidelity=score.evaluation.fidelity,
            comparison=self._compared(session),
            shortfall=score.shortfall,
            said=score.said,
        )
        if all(_rank(trial) < _rank(other) for other in self.trials):
            self._best = made
        self.trials.append(trial)
        return trial

    def _compared(self, session: Session) -> Comparison | None:
        if self.timed is None:
            return None
        return quick_compare(self.judge.original.session, session, self.timed, budget_s=_TIMED_S)


def _rank(trial: Trial) -> tuple[float, float]:
    """The smaller the better: those that meet the limit by how much is wider, the others behind by their shortfall."""
    return (0.0, sum(trial.widths.values())) if trial.met else (1.0, trial.shortfall)


def _reason(step: Sensitivity, rank: int, count: int) -> str:
    became = "float" if step.wider == FLOAT else f"promoted to {step.wider} bits"
    alone = "quantized it leaves" if step.width is None else f"in {step.width} bits it would leave about"
    return f"{became} for accuracy: alone {alone} {step.sqnr_db:.1f} dB at the output (rank {rank} of {count})"


def fewest(most: int, holds: Callable[[int], bool]) -> int | None:
    """The least k in 1 .. most that holds, where every larger one does too; None where not even `most` holds."""
    low, high = 0, 1
    while high < most and not holds(high):
        low, high = high, 2 * high
    if high >= most:
        high = most
        if most < 1 or not holds(most):
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def trimmed(steps: Sequence[T], holds: Callable[[Sequence[T]], bool]) -> tuple[T, ...]:
    """Those of `steps` that are left when each, from the last, is dropped where the others hold; one at least stays."""
    kept = list(steps)
    for step in reversed(steps):
        rest = [each for each in kept if each != step]
        if rest and holds(rest):
            kept = rest
    return tuple(kept)


def pareto(trials: Sequence[Trial], chosen: Trial) -> tuple[Trial, ...]:
    """The trials that no other beats in both size and score, and the one that was chosen; smallest first."""
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda each: (each.size_bytes, each.shortfall)):
        if not best or trial.shortfall < min(other.shortfall for other in best) or trial is chosen:
            best.append(trial)
    return tuple(best)
