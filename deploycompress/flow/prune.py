"""ONNX file -> the same net with fewer channels, heads and hidden features: no training, no source, no PyTorch.

open -> exact rewrites -> groups -> choose units -> cut, compared with the masked model -> repair from samples ->
save -> run the file: fidelity on samples that took no part, latency, accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import onnx_ir as ir

from deploycompress import data
from deploycompress import model as models
from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.gram import Gram
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnsupportedError, UsageError
from deploycompress.flow.agreement import difference
from deploycompress.flow.evaluate import evaluate
from deploycompress.flow.feeds import stable
from deploycompress.flow.gate import Gate, run_steps
from deploycompress.flow.given import Given, receive
from deploycompress.flow.held_out import Part, shared_out
from deploycompress.flow.pruned import GroupList, GroupRow, PruneResult
from deploycompress.flow.selection import nodes_named
from deploycompress.flow.source import check_output
from deploycompress.measurement.compare import quick_compare
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.passes.pipelines import for_target
from deploycompress.pruning import Group, Grouping, choice, cost, find, masked, masks, remove
from deploycompress.pruning.choice import FROM_SAMPLES, Score
from deploycompress.pruning.consumers import consumers
from deploycompress.pruning.mending import ROWS_OF_A_FEED, LayerRepair, mend
from deploycompress.pruning.removal import Masks
from deploycompress.quantization.candidates import key
from deploycompress.records.measured import Accuracy
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Session
from deploycompress.targets import Target

_GRAM_BYTES = 2 << 30
_FOLDS = ("FoldBatchNormalization", "FoldAffine")
_EXCLUDED = "it runs through a layer that was excluded"


def prune(
    source: Path,
    output: Path,
    *,
    target: Target,
    ratio: float,
    score: Score | None = None,
    calib: str | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    exclude: Sequence[str] = (),
    round_to: int = 1,
    repair: bool = True,
    eval_data: str | None = None,
    labels: Path | None = None,
    accept_data: bool = False,
    measure: bool = True,
    seed: int = 0,
    track: Track = silent,
) -> PruneResult:
    """Removes the share `ratio` of every group of channels, heads and hidden features, and repairs what is left.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        target: The device; decides the exact rewrites and the threads.
        ratio: Share of the units of every group to remove, between 0 and 1.
        score: What decides which; by default `second-order` with samples and `l2` without.
        calib: Samples (see `data.open`) that the scores `FROM_SAMPLES` and the repair need.
        preprocess: How images become inputs.
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        exclude: Globs over node and tensor names of layers that keep their inputs and outputs.
        round_to: Channels are kept in multiples of this.
        repair: Whether layers behind a cut are refitted on the samples.
        eval_data: Other samples, with labels, that accuracy is measured on.
        labels: File of labels, where `eval_data` does not hold them.
        accept_data: Use samples that the data doctor rejects.
        measure: Whether latency is compared.
        seed: For the random score.
        track: Shows progress.

    Raises:
        UsageError: The ratio is not between 0 and 1, samples are missing, or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        UnsupportedError: Nothing of the model may be removed at this ratio, or the score does not fit it.
        ModelRejectedError: The source is unusable or quantized already.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        InvalidOutputError: What was cut does not answer as the masked model does, or does not run; nothing is left.
    """
    _check(ratio, round_to, score, calib)
    check_output(source, output)
    score = score or ("l2" if calib is None else "second-order")
    given = _received(source, target, calib, preprocess, tokenizer, limit, exclude, accept_data, track)
    floats, rewrites = _rewritten(given, target, keep_norms=score == "batchnorm")
    grouping, free, kept_whole = _groups(given, floats)
    fit, held_out, notes = shared_out(given.samples)
    wanted = choice.counts(free, ratio, round_to)
    if not wanted:
        raise UnsupportedError(*_nothing(free, grouping))
    grams = _grams(floats, wanted, fit, given, track) if score in FROM_SAMPLES and fit is not None else {}
    chosen = choice.choose(wanted, score, grams, seed)
    kept = masks(grouping, chosen)
    cut = remove(floats, kept)
    _require_exact(floats, cut, kept, given)
    repairs: tuple[LayerRepair, ...] = ()
    if repair and fit is not None and held_out is not None:
        folder = models.weights_dir(floats)
        cut, repairs = mend(floats, cut, kept, fit, held_out, weights_dir=folder, config=given.config, track=track)
    models.save(cut, output, track=track)
    written = _opened(output, given)
    meter = FidelityMeter()
    for feed in held_out or given.feeds:
        meter.add(given.original.run(feed), written.run(feed))
    accuracy = _accuracy(given, written, eval_data, labels, preprocess, tokenizer, track)
    shapes = {name: np.shape(value) for name, value in given.timed.items()}
    return PruneResult(
        source=source,
        output=output,
        target=target.name,
        score=score,
        ratio=ratio,
        round_to=round_to,
        rewrites=rewrites,
        groups=(
            *(GroupRow.of(group, len(chosen.get(group, ()))) for group in free),
            *(GroupRow.of(group, refusals=(_EXCLUDED,)) for group in kept_whole),
            *(GroupRow.of(group) for group in grouping.refused),
        ),
        repairs=repairs,
        parameters_before=cost.parameters(floats),
        parameters_after=cost.parameters(cut),
        macs_before=cost.macs(floats, shapes),
        macs_after=cost.macs(cut, shapes),
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        samples=0 if fit is None or held_out is None else len(fit) + len(held_out),
        data="none" if given.origin is None else given.origin.source,
        skipped=() if given.samples is None else given.samples.skipped,
        exact_on=len(given.feeds),
        fidelity=meter.result(),
        compared_on=_compared_on(given, held_out is not None),
        comparison=quick_compare(given.original, written, given.timed) if measure else None,
        accuracy=accuracy,
        notes=(*notes, *given.admitted),
    )


def groups(source: Path, *, target: Target, exclude: Sequence[str] = (), track: Track = silent) -> GroupList:
    """What of `source` may be pruned, and what not; see `prune` for the arguments and what is raised."""
    given = _received(source, target, None, None, None, None, exclude, False, track)
    floats, rewrites = _rewritten(given, target, keep_norms=False)
    grouping, free, kept_whole = _groups(given, floats)
    excluded = (GroupRow.of(group, refusals=(_EXCLUDED,)) for group in kept_whole)
    refused = (*excluded, *(GroupRow.of(group) for group in grouping.refused))
    return GroupList(source, rewrites, tuple(GroupRow.of(group) for group in free), refused)


def _check(ratio: float, round_to: int, score: Score | None, calib: str | None) -> None:
    if not 0 < ratio < 1:
        raise UsageError(f"the ratio must lie between 0 and 1, not {ratio:g}", remedy="--ratio 0.5 removes half")
    if round_to < 1:
        raise UsageError(f"channels cannot be kept in multiples of {round_to}", remedy="give --round-to 1 or more")
    if score in FROM_SAMPLES and calib is None:
        raise UsageError(f"the score {score} needs samples", remedy="give --calib DIR, or --score l2")


def _received(
    source: Path,
    target: Target,
    calib: str | None,
    preprocess: str | None,
    tokenizer: Path | None,
    limit: int | None,
    exclude: Sequence[str],
    accept_data: bool,
    track: Track,
) -> Given:
    return receive(
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


def _rewritten(given: Given, target: Target, *, keep_norms: bool) -> tuple[ir.Model, tuple[str, ...]]:
    """The model after the exact rewrites for the target, and their names."""
    steps = [step for step in for_target(target) if not (keep_norms and type(step).__name__ in _FOLDS)]
    gate = Gate(given.feeds, stable(given.original, given.feeds), given.config, measure=False)
    _, last, outcomes = run_steps(steps, given.model, gate)
    return last.model, tuple(outcome.name for outcome in outcomes if outcome.kept)


def _groups(given: Given, floats: ir.Model) -> tuple[Grouping, list[Group], list[Group]]:
    """All groups, those that may be cut, and those that the user excluded."""
    grouping = find(floats)
    excluded = nodes_named(given.model, floats, given.excluded)
    kept_whole = [
        group
        for group in grouping.groups
        if any(key(use.node) in excluded for member in group.members for use in member.weight.uses())
    ]
    return grouping, [group for group in grouping.groups if group not in kept_whole], kept_whole


def _nothing(free: Sequence[Group], grouping: Grouping) -> tuple[str]:
    if free:
        return (f"nothing can go: the {len(free)} groups are too small for this ratio and rounding",)
    reasons = list(dict.fromkeys(why for group in grouping.refused for why in group.refusals))
    return (f"nothing of it may be removed ({'; '.join(reasons[:3]) or 'it has no weights'})",)


def _grams(
    floats: ir.Model, wanted: Mapping[Group, int], fit: Part, given: Given, track: Track
) -> Mapping[LayerInput, Gram]:
    """Second moments of what the layers behind the groups read."""
    rows = dict.fromkeys(reader.rows for group in wanted for reader in consumers(group))
    found = collect(
        floats,
        [],
        fit,
        weights_dir=models.weights_dir(floats),
        config=given.config,
        grams=list(rows),
        memory_bytes=_GRAM_BYTES,
        gram_rows=ROWS_OF_A_FEED,
        track=track,
    )
    return found.grams


def _require_exact(floats: ir.Model, cut: ir.Model, kept: Masks, given: Given) -> None:
    """Compares the cut model with the masked one on every feed."""
    folder = models.weights_dir(floats)
    try:
        reference, found = (
            Session(models.serialize(each), given.config, weights_dir=folder) for each in (masked(floats, kept), cut)
        )
        for feed in given.feeds:
            wrong = difference(reference.run(feed), found.run(feed))
            if wrong is not None:
                raise InvalidOutputError(f"the cut model does not answer as the masked one does: {wrong}")
    except ModelRejectedError as error:
        raise InvalidOutputError(f"the cut model does not run: {error.what}") from error


def _opened(output: Path, given: Given) -> Session:
    """The file that was written, open; it is removed where it does not run."""
    try:
        written = Session(output, given.config)
        written.run(given.timed)
    except ModelRejectedError as error:
        for file in (*models.data_files(output), output):
            file.unlink(missing_ok=True)
        raise InvalidOutputError(f"the pruned model does not run: {error.what}", where=str(output)) from error
    return written


def _accuracy(
    given: Given,
    written: Session,
    eval_data: str | None,
    labels: Path | None,
    preprocess: str | None,
    tokenizer: Path | None,
    track: Track,
) -> Accuracy | None:
    if eval_data is None:
        return None
    samples = data.open(
        eval_data,
        models.signature(given.model),
        preprocess=preprocess,
        labels=labels,
        tokenizer=tokenizer,
        track=track,
    )
    found = evaluate([given.original, written], samples, track=track)[1]
    if found.accuracy is None:
        raise UsageError(found.notes[0] if found.notes else "it has no labels", where=eval_data, remedy="give --labels")
    return found.accuracy


def _compared_on(given: Given, has_held_out: bool) -> Literal["held-out samples", "samples", "random inputs"]:
    if given.samples is None or not given.samples.valid_for_accuracy:
        return "random inputs"
    return "held-out samples" if has_held_out else "samples"
