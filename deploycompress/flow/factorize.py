"""ONNX file -> the same net with layers written as products: low rank, Tucker-2, CP, spatial, separable.

open -> exact rewrites -> for every layer: its forms, refitted on samples, errors on others, times on this machine ->
choose: within a share of energy, a share of the parameters, or along the front until the accuracy is just kept -> fit
once more behind one another -> save -> run the file: fidelity, latency, accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deploycompress import model as models
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.factorization.candidates import METHODS, Method
from deploycompress.flow.factor_choice import Chosen, Options
from deploycompress.flow.factor_options import Found, find
from deploycompress.flow.factor_search import Maker, choose
from deploycompress.flow.factor_wish import Wish
from deploycompress.flow.factored import FactorizeResult, FactorRow, FactorTrial
from deploycompress.flow.given import receive
from deploycompress.flow.held_out import shared_out
from deploycompress.flow.judge import judge_for
from deploycompress.flow.rewritten import rewritten
from deploycompress.flow.selection import nodes_named
from deploycompress.flow.source import check_output
from deploycompress.flow.written import accuracy, compared_on, opened
from deploycompress.measurement.compare import quick_compare
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.passes.pipelines import for_target
from deploycompress.pruning import cost
from deploycompress.records.progress import Track, silent
from deploycompress.targets import Target


def factorize(
    source: Path,
    output: Path,
    *,
    target: Target,
    wish: Wish,
    methods: Sequence[Method] | None = None,
    calib: str | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    exclude: Sequence[str] = (),
    repair: bool = True,
    eval_data: str | None = None,
    labels: Path | None = None,
    accept_data: bool = False,
    measure: bool = True,
    track: Track = silent,
) -> FactorizeResult:
    """Writes layers of `source` as products of smaller ones, each only where that is faster.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        target: The device; decides the exact rewrites and the threads.
        wish: How far to go.
        methods: Which ways are tried; all where None.
        calib: Samples (see `data.open`) that errors are measured and factors fitted on; without, weights decide alone.
        preprocess: How images become inputs.
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        exclude: Globs over node and tensor names of layers that stay.
        repair: Whether last factors are fitted once more behind one another.
        eval_data: Other samples, with labels, that accuracy is measured on; those of the goal where None.
        labels: File of labels, where `eval_data` does not hold them.
        accept_data: Use samples that the data doctor rejects.
        measure: Whether anything is timed; else multiplications stand for time.
        track: Shows progress.

    Raises:
        UsageError: The wish contradicts itself, samples are missing, or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        UnsupportedError: No layer is faster in any form that the wish allows, or the whole is not.
        ModelRejectedError: The source is unusable or quantized already.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        InvalidOutputError: What was made does not run; nothing is left.
    """
    wish.check()
    if methods is not None and "whitened" in methods and calib is None:
        raise UsageError("the method whitened needs samples", remedy="give --calib DIR, or --method svd")
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
    judge = None
    if wish.goal is not None:
        judge = judge_for(wish.goal, given, preprocess=preprocess, tokenizer=tokenizer, track=track)
    floats, rewrites = rewritten(given, for_target(target))
    fit, held_out, notes = shared_out(given.samples)
    samples = None if fit is None or held_out is None else (fit, held_out)
    tried = methods or tuple(each for each in METHODS if each != ("svd" if samples else "whitened"))
    found = find(
        floats,
        tried,
        samples,
        timed=given.timed,
        config=given.config,
        excluded=nodes_named(given.model, floats, given.excluded),
        measure=measure,
        track=track,
    )
    maker = Maker(floats, given, samples if repair else None, track)
    chosen, trials = choose(found, wish, maker, judge)
    if not chosen:
        raise UnsupportedError(_nothing(found, wish, trials), remedy="leave the layers as they are")
    made, repaired = maker.made(chosen)
    models.save(made, output, track=track)
    written = opened(output, given, "factorized")
    comparison = quick_compare(given.original, written, given.timed) if measure else None
    meter = FidelityMeter()
    for feed in held_out or given.feeds:
        meter.add(given.original.run(feed), written.run(feed))
    evaluation = _evaluation(wish, eval_data)
    judged = None
    if evaluation is not None:
        labels = labels or (None if wish.goal is None else wish.goal.labels)
        judged = accuracy(
            given, written, evaluation, labels=labels, preprocess=preprocess, tokenizer=tokenizer, track=track
        )
    shapes = {name: np.shape(value) for name, value in given.timed.items()}
    return FactorizeResult(
        source=source,
        output=output,
        target=target.name,
        asked=wish.asked,
        methods=tuple(tried),
        rewrites=rewrites,
        layers=_rows(found, chosen, measured=measure),
        trials=trials,
        repaired=repaired,
        parameters_before=cost.parameters(floats),
        parameters_after=cost.parameters(made),
        macs_before=cost.macs(floats, shapes),
        macs_after=cost.macs(made, shapes),
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        samples=0 if samples is None else sum(map(len, samples)),
        data="none" if given.origin is None else given.origin.source,
        skipped=() if given.samples is None else given.samples.skipped,
        fidelity=meter.result(),
        compared_on=compared_on(given, has_held_out=held_out is not None),
        comparison=comparison,
        accuracy=judged,
        notes=(*notes, *given.admitted, *(() if judge is None else judge.notes)),
    )


def _evaluation(wish: Wish, eval_data: str | None) -> str | None:
    """The labelled samples: those given, or those of a limit on a metric."""
    if eval_data is not None or wish.goal is None or wish.goal.max_drop is None:
        return eval_data
    return wish.goal.eval_data


def _rows(found: Found, chosen: Chosen, *, measured: bool) -> tuple[FactorRow, ...]:
    """A row for each layer with weights: those that were looked at, then those that could not be."""
    rows = [_row(each, chosen, measured=measured) for each in found.options]
    refused = (FactorRow(name, "", (), 0, 0, None, None, 0.0, why) for name, why in found.refused.items())
    return (*rows, *refused)


def _row(options: Options, chosen: Chosen, *, measured: bool) -> FactorRow:
    name, size = options.layer.name, options.layer.kernel.size
    before = options.cost if measured else None
    timed = chosen.get(name)
    if timed is None:
        return FactorRow(name, "", (), size, size, before, before, 0.0, _stays(options))
    form = timed.form
    after = timed.cost if measured else None
    reason = f"{options.cost / timed.cost:.2f} times as fast, {100 * form.error:.1f} % of its output's energy is wrong"
    return FactorRow(name, form.method, form.ranks, size, form.parameters, before, after, form.error, reason)


def _stays(options: Options) -> str:
    """Why a layer that was looked at keeps its weight."""
    nearest = min(options.forms, key=lambda timed: timed.form.error)
    return (
        f"no faster form is allowed: the nearest, {nearest.form.called}, has "
        f"{100 * nearest.form.parameters / options.layer.kernel.size:.0f} % of its parameters and gets "
        f"{100 * nearest.form.error:.1f} % of its output's energy wrong"
    )


def _nothing(found: Found, wish: Wish, trials: Sequence[FactorTrial]) -> str:
    """Why no layer was factorized, in one line."""
    if not found.options:
        reasons = list(dict.fromkeys(found.refused.values()))
        return f"no layer is faster in another form ({'; '.join(reasons[:3]) or 'it has no weights'})"
    said = f" ({trials[-1].said} with {trials[-1].layers})" if trials else ""
    return f"no faster form of any layer stays within {wish.asked}{said}"
