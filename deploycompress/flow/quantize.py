"""float ONNX file + samples + target -> quantized ONNX file, checked against the float one on every count.

open -> exact rewrites (compared) -> quantize in the form asked for -> roll back what is faster float -> save ->
load and run the file -> fidelity, latency, census of what the runtime really fused.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from deploycompress import model as models
from deploycompress.calibration import RangeMethod
from deploycompress.calibration.header import DataOrigin
from deploycompress.data import Samples
from deploycompress.flow import verdict as words
from deploycompress.flow.draft import draft, require_some
from deploycompress.flow.gathering import ended
from deploycompress.flow.given import receive, require_samples
from deploycompress.flow.goal import Goal, gives_class_scores
from deploycompress.flow.judge import baseline, judge_for
from deploycompress.flow.keeping import Kept, keep_accuracy
from deploycompress.flow.quantized import QuantizeResult
from deploycompress.flow.rollback import RolledBack, roll_back
from deploycompress.flow.self_check import self_check
from deploycompress.flow.source import check_output
from deploycompress.measurement.environment import environment
from deploycompress.quantization.plan import require_int8
from deploycompress.quantization.saturation import Saturation, saturation
from deploycompress.quantization.wide import computed_in_float, with_activation_bits
from deploycompress.records.formats import Format
from deploycompress.records.measured import Fidelity
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import CPU
from deploycompress.targets import Target

_FIDELITY_SAMPLES = 128
_LEAST_SQNR_DB = 10.0  # an error of a third of the signal
_MIN_SAMPLES = 8  # fewer leave the ranges to chance
_STATIC = Format()


def quantize(
    source: Path,
    output: Path,
    *,
    target: Target,
    form: Format = _STATIC,
    calib: str | None = None,
    calibration: Path | None = None,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    method: RangeMethod = "mse",
    all_samples: bool = False,
    exclude: Sequence[str] = (),
    accept_data: bool = False,
    measure: bool = True,
    keep_slower: bool = False,
    goal: Goal | None = None,
    track: Track = silent,
) -> QuantizeResult:
    """Writes a quantized form of `source` to `output`.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        target: The device whose rules decide the form of the graph.
        form: What the weights and activations become.
        calib: Calibration samples (see `data.open`); None only with `calibration` or a form that needs none.
        calibration: A file of `calibrate` to take the statistics from; `calib` then serves comparison alone.
        preprocess: How images become inputs (see `data.open`).
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        method: How ranges are chosen from the statistics.
        all_samples: Calibrate on every sample instead of ending when the ranges have settled.
        exclude: Globs over node and tensor names of `source` to leave float.
        accept_data: Calibrate on samples that the data doctor rejects; what it found stands in the notes.
        measure: Whether latency takes part: layers that are faster float stay float, and the result is timed.
        keep_slower: Keep static int8 for its size where it is slower than float; else every layer goes back then.
        goal: What accuracy or agreement it must keep; layers get wider codes or are left float until it does.
        track: Shows progress.

    Raises:
        UsageError: No samples and a form that needs them; options that contradict; or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        UnsupportedError: The target has no kernels of this form, or nothing in the model can use them.
        ModelRejectedError: The source is unusable or quantized already.
        CalibrationRejectedError: `calibration` is unusable, or of another model or other samples.
        InvalidOutputError: The file written does not load or run; it was removed.
    """
    require_samples(form, calib, calibration)
    if form.kind in ("static", "dynamic"):
        require_int8(target)
    target = with_activation_bits(target, form.activation_bits)
    check_output(source, output)
    given = receive(
        source,
        calib=calib,
        calibration=calibration,
        target=target,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        exclude=exclude,
        calibrates=form.calibrates,
        accept_data=accept_data,
        track=track,
    )
    here = environment()
    measured_here = measure and _runs_on_cpu(target) and words.elsewhere(target, here.machine, here.cpu_flags) is None

    judge = None if goal is None else judge_for(goal, given, preprocess=preprocess, tokenizer=tokenizer, track=track)
    floats = None if judge is None else baseline(judge, track)
    drafted = draft(given, form, target, method=method, all_samples=all_samples, timed=measured_here, track=track)
    made = drafted.made()
    require_some(made)
    rolled = RolledBack(made, {})
    if form.kind == "static" and measured_here:
        rolled = roll_back(drafted, made, given.original, given.timed, keep_slower=keep_slower)
        made = rolled.made
    kept: Kept | None = None
    if judge is not None and floats is not None:
        timed = given.timed if measured_here else None
        made, kept = keep_accuracy(drafted, made, rolled.released, judge, floats, given, timed=timed, track=track)
    models.save(made.model, output, track=track)
    samples, origin = given.samples, given.origin
    compared = given.feeds if samples is None else (sample.feed for sample in islice(samples, _FIDELITY_SAMPLES))
    checked = self_check(output, made.plan, given.original, compared, given.timed, timed=measured_here)
    pairs = None
    if form.kind == "static" and made.plan.pair_safe:
        pairs = saturation(drafted.floats, made.plan, made.model, given.feeds, given.config)
    return QuantizeResult(
        source=source,
        output=output,
        target=target.name,
        form=form.name,
        nodes=tuple(made.plan.nodes.values()),
        rewrites=drafted.rewrites,
        preparations=drafted.preparations,
        float_layers=tuple(rolled.released),
        given_up=rolled.given_up,
        samples=made.samples,
        available=0 if origin is None or not made.samples else origin.feeds,
        ended="no sample was needed" if origin is None or not made.samples else ended(made.samples, origin.feeds),
        data="none" if origin is None else origin.source,
        fingerprint="" if origin is None else origin.fingerprint,
        skipped=() if samples is None else samples.skipped,
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        int8_nodes=checked.int8_nodes,
        kernels=checked.kernels,
        padded=checked.padded,
        weights_dequantized=checked.weights_dequantized,
        fidelity=checked.fidelity,
        gives_scores=gives_class_scores(given.model),
        compared_on="samples" if samples is not None and samples.valid_for_accuracy else "random inputs",
        comparison=checked.comparison,
        goal=kept,
        saturation=pairs,
        notes=(
            *_far(checked.fidelity),
            *_notes(samples, origin, made.samples, target),
            *given.admitted,
            *rolled.notes,
            *_told(pairs),
        ),
    )


def _told(pairs: Saturation | None) -> tuple[str, ...]:
    return () if pairs is None or not pairs.layers else (pairs.sentence,)


def _runs_on_cpu(target: Target) -> bool:
    """Whether the provider that the target prefers is the one that every machine has."""
    return target.providers[0] == CPU


def _far(fidelity: Fidelity) -> tuple[str, ...]:
    if fidelity.sqnr_db >= _LEAST_SQNR_DB:
        return ()
    advice = "more bits, a smaller --block, an --algorithm with samples, or --min-agreement may mend it"
    return (f"THE OUTPUTS ARE FAR FROM THE FLOAT MODEL'S ({fidelity.sqnr_db:.1f} dB): {advice}",)


def _notes(samples: Samples | None, origin: DataOrigin | None, used: int, target: Target) -> tuple[str, ...]:
    here = environment()
    notes = [words.elsewhere(target, here.machine, here.cpu_flags), computed_in_float(target)]
    if not _runs_on_cpu(target):
        notes.append(f"checked on the CPU and not timed: {target.name} runs on {target.providers[0]}")
    notes += [] if samples is None else samples.notes
    if origin is not None and not origin.valid_for_accuracy:
        notes.append("CALIBRATED ON RANDOM DATA: the ranges are meaningless, accuracy figures are void")
    if 0 < used < _MIN_SAMPLES:
        notes.append(f"only {used} calibration samples: ranges rest on chance; 100 or more are usual")
    return tuple(note for note in notes if note)
