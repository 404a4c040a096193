"""step, model -> the model to go on with, and why: measured before and after, kept or taken back.

The rule, in this order:
1. A step that changed nothing is not kept, and nothing is measured.
2. Outputs differ from those of the original model on any feed, or ONNX Runtime refuses the result: taken back.
3. SLOWER beyond noise, in two measurements in a row: taken back. (A single 95 % interval is wrong one time in twenty,
   and a command runs a dozen steps.)
4. Fewer nodes or fewer bytes, or FASTER beyond noise: kept. A step that trades one of nodes and bytes for the other is
   kept where nodes shrink: each costs a dispatch on every run, bytes cost once.
5. Otherwise measured once more, four times as long, since speed is all there is to gain; and taken back if that shows
   nothing either: no gain, no change.

Where latency is not measured, outputs are compared once, behind the last step; only if they differ there does every
step run again and answer for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.agreement import difference
from deploycompress.measurement.compare import quick_compare
from deploycompress.passes.base import Pass
from deploycompress.passes.graph import nodes
from deploycompress.records.measured import Comparison
from deploycompress.records.progress import Track, silent
from deploycompress.records.steps import StepOutcome
from deploycompress.runtime.session import Feed, Session, SessionConfig

_PATIENCE = 4.0
_SHOWN = ("FASTER", "SLOWER")
_NOT_SHOWN = {"NO DIFFERENCE": "no difference in speed", "TOO NOISY": "too noisy to tell the speed"}


@dataclass(frozen=True)
class Candidate:
    """A model with what the gate needs to know about it.

    Attributes:
        model: The graph.
        session: It, opened; None where nothing is to be run.
        node_count: Nodes in the graph and its control-flow bodies.
        size_bytes: Bytes of the file, external data included.
    """

    model: ir.Model
    session: Session | None
    node_count: int
    size_bytes: int


@dataclass(frozen=True)
class Gate:
    """Judges steps against the outputs of the original model.

    Attributes:
        feeds: Feeds to compare on.
        reference: Outputs of the original model on each feed.
        config: How sessions are opened.
        measure: Whether latency is measured.
        budget_s: Seconds of one latency measurement.
        timed: The feed that is timed; the first one where None.
    """

    feeds: tuple[Feed, ...]
    reference: tuple[dict[str, Any], ...]
    config: SessionConfig
    measure: bool = True
    budget_s: float = 1.0
    timed: Feed | None = None

    def open(self, model: ir.Model) -> Candidate:
        """Serializes and opens `model`.

        Raises:
            ModelRejectedError: ONNX Runtime cannot load it.
        """
        content = models.serialize(model)
        weights_dir: Path | None = models.weights_dir(model)
        session = Session(content, self.config, weights_dir=weights_dir)
        return Candidate(model, session, len(nodes(model)), len(content) + external_bytes(model))

    def weigh(self, model: ir.Model) -> Candidate:
        """Counts nodes and bytes of `model` without opening it."""
        return Candidate(model, None, len(nodes(model)), len(models.serialize(model)) + external_bytes(model))

    def disagreement(self, session: Session) -> str | None:
        """The first difference to the original outputs on any feed, or None."""
        for feed, expected in zip(self.feeds, self.reference, strict=True):
            try:
                found = difference(expected, session.run(feed))
            except ModelRejectedError as error:
                return error.what
            if found is not None:
                return found
        return None

    def agrees(self, model: ir.Model) -> bool:
        """Whether ONNX Runtime loads `model` and it gives the original outputs on every feed."""
        try:
            session = self.open(model).session
            return session is not None and self.disagreement(session) is None
        except ModelRejectedError:
            return False

    def compare(self, before: Session | None, after: Session | None, *, patience: float = 1.0) -> Comparison | None:
        """Latency of `after` against `before`; SLOWER only where a second, longer measurement says so too.

        Args:
            before: The session to compare with.
            after: The session in question.
            patience: How many times `budget_s` the measurement may take.
        """
        if not self.measure or before is None or after is None:
            return None
        feed = self.feeds[0] if self.timed is None else self.timed
        first = quick_compare(before, after, feed, budget_s=patience * self.budget_s)
        if first.verdict != "SLOWER":
            return first
        return quick_compare(before, after, feed, budget_s=2 * patience * self.budget_s)


def run_steps(
    steps: Sequence[Pass], model: ir.Model, gate: Gate, track: Track = silent
) -> tuple[Candidate, Candidate, tuple[StepOutcome, ...]]:
    """Runs `steps` in order on `model`: it as a candidate, the one to go on with, and what each step did.

    Raises:
        ModelRejectedError: ONNX Runtime cannot load `model`.
    """
    if not gate.measure:
        first = gate.weigh(model)
        last, outcomes = _in_turn(steps, first, gate, track, trusting=True)
        if last is first or gate.agrees(last.model):
            return first, last, outcomes
    first = gate.open(model)
    return first, *_in_turn(steps, first, gate, track, trusting=False)


def _in_turn(
    steps: Sequence[Pass], first: Candidate, gate: Gate, track: Track, *, trusting: bool
) -> tuple[Candidate, tuple[StepOutcome, ...]]:
    current, outcomes = first, []
    for step in track(steps, "rewriting", len(steps)):
        current, outcome = run_step(step, current, gate, trusting=trusting)
        outcomes.append(outcome)
    return current, tuple(outcomes)


def run_step(step: Pass, before: Candidate, gate: Gate, *, trusting: bool = False) -> tuple[Candidate, StepOutcome]:
    """Runs `step` on `before` and returns the candidate to go on with and what happened.

    Args:
        step: The rewrite.
        before: What it starts from.
        gate: The judge.
        trusting: Leave the comparison of outputs to the caller.
    """
    result = step(before.model)
    comparison = None
    after: Candidate | None = None
    if not result.changes:
        kept, reason = False, "found nothing to change"
    elif trusting:
        after = gate.weigh(result.model)
        kept, reason = judge(before, after, None, None)
    else:
        try:
            after = gate.open(result.model)
        except ModelRejectedError as error:
            kept, reason = False, f"reverted: {error.what}"
        else:
            found = gate.disagreement(after.session) if after.session is not None else None
            if found is None:
                comparison = gate.compare(before.session, after.session)
                if comparison is not None and comparison.verdict not in _SHOWN and not _is_less(before, after):
                    comparison = gate.compare(before.session, after.session, patience=_PATIENCE)
            kept, reason = judge(before, after, found, comparison)
    shown = after or before
    outcome = StepOutcome(
        name=type(step).__name__,
        parameters=repr(step),
        kept=kept,
        reason=reason,
        nodes_before=before.node_count,
        nodes_after=shown.node_count,
        bytes_before=before.size_bytes,
        bytes_after=shown.size_bytes,
        comparison=comparison,
        changes=result.changes,
        refusals=result.refusals,
    )
    return (after if kept and after is not None else before), outcome


def judge(
    before: Candidate, after: Candidate, disagreement: str | None, comparison: Comparison | None
) -> tuple[bool, str]:
    """(kept, reason): the rule in the module docstring, as a function of what was measured."""
    if disagreement is not None:
        return False, f"reverted: {disagreement}"
    verdict = comparison.verdict if comparison is not None else None
    if verdict == "SLOWER":
        return False, f"reverted: SLOWER, {_interval(comparison)} of the speed before"
    gains = _gains(before, after)
    if verdict == "FASTER":
        return True, ", ".join([f"FASTER, {_interval(comparison)} of the speed before", *gains])
    if _is_less(before, after):
        return True, ", ".join(gains)
    speed = "speed not measured" if verdict is None else _NOT_SHOWN[verdict]
    return False, f"reverted: no gain ({after.node_count - before.node_count:+d} nodes, " + (
        f"{after.size_bytes - before.size_bytes:+d} bytes, {speed})"
    )


def _is_less(before: Candidate, after: Candidate) -> bool:
    """Whether `after` has fewer nodes, or as many and fewer bytes."""
    return (after.node_count, after.size_bytes) < (before.node_count, before.size_bytes)


def _gains(before: Candidate, after: Candidate) -> Sequence[str]:
    changes = (
        (after.node_count - before.node_count, "nodes"),
        (after.size_bytes - before.size_bytes, "bytes"),
    )
    return [f"{change:+d} {unit}" for change, unit in changes if change]


def _interval(comparison: Comparison | None) -> str:
    if comparison is None:
        return "not measured"
    return f"x{comparison.speedup:.2f} [{comparison.interval.low:.2f}, {comparison.interval.high:.2f}]"


def external_bytes(model: ir.Model) -> int:
    """Bytes of the weights that lie outside the file."""
    tensors = (value.const_value for graph in model.graphs() for value in graph.initializers.values())
    return sum(tensor.nbytes for tensor in tensors if isinstance(tensor, ir.ExternalTensor))
