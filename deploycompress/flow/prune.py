"""ONNX file -> the same net with fewer channels, heads and hidden features: no training, no source, no PyTorch.

open -> exact rewrites -> groups -> score and share out -> cut as much as was asked for, compared with the masked model
-> repair from samples -> save -> run the file: fidelity on samples that took no part, latency, accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploycompress import model as models
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.flow import amount
from deploycompress.flow.amount import Trial
from deploycompress.flow.cutting import Pruned, Subject, checked, cut, repaired, subject
from deploycompress.flow.given import receive
from deploycompress.flow.goal import Goal
from deploycompress.flow.judge import Judge, judge_for
from deploycompress.flow.pruned import GroupList, GroupRow, PruneResult, Reached
from deploycompress.flow.source import check_output
from deploycompress.flow.widths import Widths, widths
from deploycompress.flow.written import accuracy as judged
from deploycompress.flow.written import compared_on, opened
from deploycompress.measurement.compare import quick_compare
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.pruning import cost
from deploycompress.records.progress import Track, silent
from deploycompress.records.pruning import FROM_SAMPLES, Allocation, Score, default_allocation
from deploycompress.targets import Target

_EXCLUDED = "it runs through a layer that was excluded"


def prune(
    source: Path,
    output: Path,
    *,
    target: Target,
    ratio: float | None = None,
    speedup: float | None = None,
    goal: Goal | None = None,
    score: Score | None = None,
    allocation: Allocation | None = None,
    calib: str | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    exclude: Sequence[str] = (),
    round_to: int | None = None,
    repair: bool = True,
    eval_data: str | None = None,
    labels: Path | None = None,
    accept_data: bool = False,
    measure: bool = True,
    seed: int = 0,
    track: Track = silent,
) -> PruneResult:
    """Removes channels, heads and hidden features, as many as were asked for, and repairs what is left.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        target: The device; decides the exact rewrites and the threads.
        ratio: Share of the units to remove, between 0 and 1: of every group for the allocation `uniform`; for the
            others as many multiplications (or as much time) go as that would save.
        speedup: How many times as fast as `source` the model is to be measured here.
        goal: What accuracy must be kept; alone it decides how much goes, beside another amount it is a gate.
        score: What decides which units go; by default `second-order` with samples and `l2` without.
        allocation: What decides how many of each group (see `flow.widths`); by default `latency` for a speed-up, else
            `sensitivity` with samples and `uniform` without.
        calib: Samples (see `data.open`) that the scores `FROM_SAMPLES` and the repair need.
        preprocess: How images become inputs.
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        exclude: Globs over node and tensor names of layers that keep their inputs and outputs.
        round_to: Channels are kept in multiples of this; None for what the kernels like where time decides, else 1.
        repair: Whether layers behind a cut are refitted on the samples.
        eval_data: Other samples, with labels, that accuracy is measured on where there is no `goal`.
        labels: File of labels, where `eval_data` does not hold them.
        accept_data: Use samples that the data doctor rejects.
        measure: Whether latency is compared.
        seed: For the random score.
        track: Shows progress.

    Raises:
        UsageError: No amount or two, one out of range, samples are missing, or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        UnsupportedError: Nothing of the model may be removed, the score does not fit it, or the speed is out of reach.
        ModelRejectedError: The source is unusable or quantized already.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        InvalidOutputError: What was cut does not answer as the masked model does, or does not run; nothing is left.
    """
    score = score or ("l2" if calib is None else "second-order")
    allocation = allocation or default_allocation(timed=speedup is not None, has_samples=calib is not None)
    _check(ratio, speedup, goal, round_to, score, allocation, calib, measure=measure)
    check_output(source, output)
    given = receive(
        source,
        calib=calib,
        calibration=None,
        target=target,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        exclude=exclude,
        calibrates=calib is not None,
        accept_data=accept_data,
        track=track,
    )
    judge = None if goal is None else judge_for(goal, given, preprocess=preprocess, tokenizer=tokenizer, track=track)
    found = subject(given, target, keep_norms=score == "batchnorm")
    if not found.free:
        raise UnsupportedError(_nothing(found))
    shared = widths(found, score, allocation, round_to, seed, track)
    pruned, trials = _made(found, shared, ratio, speedup, judge, repair=repair, track=track)
    models.save(pruned.model, output, track=track)
    written = opened(output, given, "pruned")
    meter = FidelityMeter()
    for feed in found.held_out or given.feeds:
        meter.add(given.original.run(feed), written.run(feed))
    reached = None if judge is None else judge(written, track)
    accuracy = None if reached is None else reached.evaluation.accuracy
    if judge is None and eval_data is not None:
        accuracy = judged(
            given, written, eval_data, labels=labels, preprocess=preprocess, tokenizer=tokenizer, track=track
        )
    shapes = {name: np.shape(value) for name, value in given.timed.items()}
    return PruneResult(
        source=source,
        output=output,
        target=target.name,
        score=score,
        allocation=allocation,
        ratio=ratio,
        speedup=speedup,
        round_to=round_to,
        rewrites=found.rewrites,
        groups=(
            *(GroupRow.of(group, len(pruned.gone.get(group, ()))) for group in found.free),
            *(GroupRow.of(group, refusals=(_EXCLUDED,)) for group in found.kept_whole),
            *(GroupRow.of(group) for group in found.grouping.refused),
        ),
        trials=trials,
        repairs=pruned.repairs,
        parameters_before=cost.parameters(found.floats),
        parameters_after=cost.parameters(pruned.model),
        macs_before=cost.macs(found.floats, shapes),
        macs_after=cost.macs(pruned.model, shapes),
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        samples=0 if found.fit is None or found.held_out is None else len(found.fit) + len(found.held_out),
        data="none" if given.origin is None else given.origin.source,
        skipped=() if given.samples is None else given.samples.skipped,
        exact_on=len(given.feeds),
        fidelity=meter.result(),
        compared_on=compared_on(given, has_held_out=found.held_out is not None),
        comparison=quick_compare(given.original, written, given.timed) if measure else None,
        accuracy=accuracy,
        goal=None if judge is None or reached is None else Reached(judge.goal.asked, reached.met, reached.said),
        notes=(*found.notes, *given.admitted, *shared.notes, *(() if judge is None else judge.notes)),
    )


def _made(
    found: Subject,
    shared: Widths,
    ratio: float | None,
    speedup: float | None,
    judge: Judge | None,
    *,
    repair: bool,
    track: Track,
) -> tuple[Pruned, tuple[Trial, ...]]:
    """The model with as much gone as was asked for, compared with the masked one, repaired."""
    trials: tuple[Trial, ...] = ()
    if speedup is not None:
        pruned, trials = amount.by_speed(found, shared, speedup, track)
    elif ratio is not None:
        gone = shared.at_ratio(ratio)
        if not gone:
            raise UnsupportedError(
                f"nothing can go: the {len(found.free)} groups are too small for this ratio and rounding"
            )
        pruned = cut(found, gone)
    else:
        assert judge is not None
        mended, _, trials = amount.by_limit(found, shared, judge, repair=repair, track=track)
        checked(found, cut(found, mended.gone))
        return mended, trials
    checked(found, pruned)
    return (repaired(found, pruned, track) if repair else pruned), trials


def groups(source: Path, *, target: Target, exclude: Sequence[str] = (), track: Track = silent) -> GroupList:
    """What of `source` may be pruned, and what not; see `prune` for the arguments and what is raised."""
    given = receive(
        source,
        calib=None,
        calibration=None,
        target=target,
        preprocess=None,
        tokenizer=None,
        limit=None,
        exclude=exclude,
        calibrates=False,
        accept_data=False,
        track=track,
    )
    found = subject(given, target, keep_norms=False)
    excluded = (GroupRow.of(group, refusals=(_EXCLUDED,)) for group in found.kept_whole)
    refused = (*excluded, *(GroupRow.of(group) for group in found.grouping.refused))
    return GroupList(source, found.rewrites, tuple(GroupRow.of(group) for group in found.free), refused)


def _check(
    ratio: float | None,
    speedup: float | None,
    goal: Goal | None,
    round_to: int | None,
    score: Score,
    allocation: Allocation,
    calib: str | None,
    *,
    measure: bool,
) -> None:
    if ratio is None and speedup is None and goal is None:
        raise UsageError("how much is to go?", remedy="give a ratio (0.5), a speed-up (1.5x) or a limit on the drop")
    if ratio is not None and speedup is not None:
        raise UsageError("a ratio and a speed-up are two amounts", remedy="leave one of them out")
    if ratio is not None and not 0 < ratio < 1:
        raise UsageError(f"the ratio must lie between 0 and 1, not {ratio:g}", remedy="--ratio 0.5 removes half")
    if speedup is not None and speedup <= 1:
        raise UsageError(f"the speed-up must be more than 1, not {speedup:g}", remedy="--speedup 1.5x")
    if round_to is not None and round_to < 1:
        raise UsageError(f"channels cannot be kept in multiples of {round_to}", remedy="give --round-to 1 or more")
    if score in FROM_SAMPLES and calib is None:
        raise UsageError(f"the score {score} needs samples", remedy="give --calib DIR, or --score l2")
    if not measure and (speedup is not None or allocation == "latency"):
        raise UsageError("a speed-up is measured, and so is the allocation latency", remedy="leave --no-measure out")
    if goal is not None:
        goal.check()


def _nothing(found: Subject) -> str:
    reasons = list(dict.fromkeys(why for group in found.grouping.refused for why in group.refusals))
    excluded = [_EXCLUDED] if found.kept_whole else []
    return f"nothing of it may be removed ({'; '.join([*excluded, *reasons][:3]) or 'it has no weights'})"
