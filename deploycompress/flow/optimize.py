"""ONNX file -> the same function in fewer nodes and bytes: exact rewrites, each kept only where it helps.

probe -> load -> feeds -> for each pass: rewrite, compare outputs, measure, keep or revert -> save -> verify the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnknownNameError, UsageError
from deploycompress.flow.feeds import differential_feeds, stable, timing_feed
from deploycompress.flow.gate import Gate, run_steps
from deploycompress.flow.source import check_output, mended, open_source
from deploycompress.model.atomic import created, plain_errors, publish, temporary
from deploycompress.passes import pipelines
from deploycompress.passes.base import Pass
from deploycompress.passes.fix_dimensions import FixDimensions, symbols
from deploycompress.passes.keep_outputs import KeepOutputs
from deploycompress.records.measured import Comparison
from deploycompress.records.progress import Track, silent
from deploycompress.records.steps import Level, StepOutcome
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.targets import Target


@dataclass(frozen=True)
class OptimizeResult:
    """What `optimize` did.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target profile.
        level: Which passes ran.
        steps: Every pass in order, kept or not.
        nodes_before: Nodes of the source, control-flow bodies included.
        nodes_after: Nodes of the output.
        bytes_before: Size of the source, external data included.
        bytes_after: Size of the output.
        comparison: Latency of the output against the source, or None where it was not measured.
        feeds: Number of feeds on which the outputs were found equal.
        data: Where the feeds came from.
        threads: Threads the latency was measured with.
    """

    source: Path
    output: Path
    target: str
    level: Level
    steps: tuple[StepOutcome, ...]
    nodes_before: int
    nodes_after: int
    bytes_before: int
    bytes_after: int
    comparison: Comparison | None
    feeds: int
    data: str
    threads: int

    @property
    def verdict(self) -> str:
        """One line: what was gained."""
        if not any(step.kept for step in self.steps):
            return "nothing to gain: the output is a copy of the model"
        speed = "speed not measured"
        if self.comparison is not None:
            low, high = self.comparison.interval.low, self.comparison.interval.high
            speed = f"{self.comparison.verdict} (x{self.comparison.speedup:.2f} [{low:.2f}, {high:.2f}])"
        nodes = f"{self.nodes_before} -> {self.nodes_after} nodes"
        return f"{nodes}, {self.bytes_before} -> {self.bytes_after} bytes, {speed}, outputs equal on {self.feeds} feeds"


def optimize(
    source: Path,
    output: Path,
    *,
    target: Target,
    data: str | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    level: Level = "full",
    skip: Sequence[str] = (),
    fix_dims: Mapping[str, int] | None = None,
    keep_outputs: Sequence[str] = (),
    measure: bool = True,
    budget_s: float = 1.0,
    track: Track = silent,
) -> OptimizeResult:
    """Writes to `output` the smallest equal form of `source` that the passes for `target` reach.

    Args:
        source: An ONNX file.
        output: Where to write; never `source`.
        target: The device; decides passes, provider and threads.
        data: Samples to compare outputs on (see `data.open`); random feeds where None.
        preprocess: How images become inputs (see `data.open`).
        tokenizer: Tokenizer file for text samples.
        level: Which passes run (see `passes.pipelines.for_target`).
        skip: Names of passes to leave out.
        fix_dims: Lengths for symbolic dimensions, by symbol.
        keep_outputs: Outputs to keep, the others are taken off; all where empty.
        measure: Whether latency takes part in the decision.
        budget_s: Seconds of each latency measurement.
        track: Shows progress.

    Raises:
        UnknownNameError: `skip`, `fix_dims` or `keep_outputs` names nothing that exists.
        ModelRejectedError: The source does not load, or runs on no feed.
        InvalidOutputError: The file written does not agree with the source; it was removed.
    """
    steps = _pipeline(target, level, skip)
    check_output(source, output)
    model = opened = open_source(source)
    if fix_dims:
        model = _fixed(model, fix_dims)
    if keep_outputs:
        model = _cut(model, keep_outputs)
    kept = [value.name for value in model.graph.outputs]
    config = SessionConfig(threads=target.threads)
    model, original = mended(model, Session(source, config))
    feeds = differential_feeds(original, models.signature(model), data, preprocess=preprocess, tokenizer=tokenizer)
    reference = tuple({name: found[name] for name in kept if name} for found in stable(original, feeds))
    timed = timing_feed(original, models.signature(model), feeds, data) if measure else None
    gate = Gate(feeds, reference, config, measure, budget_s, timed)
    first, current, outcomes = run_steps(steps, model, gate, track)
    if current is first and model is opened and not models.data_files(source):
        _copy(source, output)
    else:
        models.save(current.model, output)
    comparison = _verify(original, output, gate)
    return OptimizeResult(
        source=source,
        output=output,
        target=target.name,
        level=level,
        steps=outcomes,
        nodes_before=first.node_count,
        nodes_after=current.node_count,
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        comparison=comparison,
        feeds=len(feeds),
        data=data or "random",
        threads=original.threads,
    )


def _pipeline(target: Target, level: Level, skip: Sequence[str]) -> tuple[Pass, ...]:
    known = list(dict.fromkeys(type(step).__name__ for step in pipelines.for_target(target)))
    for name in skip:
        if name not in known:
            raise UnknownNameError("pass", name, known)
    return tuple(step for step in pipelines.for_target(target, level) if type(step).__name__ not in skip)


def _fixed(model: ir.Model, fix_dims: Mapping[str, int]) -> ir.Model:
    known = symbols(model)
    for name, length in fix_dims.items():
        if name not in known:
            raise UnknownNameError("symbolic dimension", name, known)
        if length < 1:
            raise UsageError(f"the length of dimension {name!r} must be at least 1, not {length}")
    return FixDimensions(tuple(fix_dims.items()))(model).model


def _cut(model: ir.Model, keep_outputs: Sequence[str]) -> ir.Model:
    known = [value.name or "" for value in model.graph.outputs]
    for name in keep_outputs:
        if name not in known:
            raise UnknownNameError("output", name, known)
    return KeepOutputs(tuple(keep_outputs))(model).model


def _copy(source: Path, output: Path) -> None:
    """Writes the bytes of `source` to `output`, atomically."""
    with plain_errors(output), temporary(output) as path:
        with created(path) as file:
            file.write(source.read_bytes())
        publish(path, output)


def _verify(original: Session, output: Path, gate: Gate) -> Comparison | None:
    """Opens the file that was written and compares it once more; removes it where it disagrees."""
    try:
        written = Session(output, gate.config)
        found = gate.disagreement(written)
    except ModelRejectedError as error:
        found = error.what
    if found is not None:
        for file in (*models.data_files(output), output):
            file.unlink(missing_ok=True)
        raise InvalidOutputError(f"the file written does not agree with the source: {found}", where=str(output))
    return gate.compare(original, written)
