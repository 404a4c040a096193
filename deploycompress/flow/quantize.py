"""float ONNX file + samples + target -> int8 ONNX file, checked against the float one on every count.

probe -> load -> exact rewrites (compared) -> calibrate -> plan -> emit -> leave float what is faster float -> save ->
load and run the file -> fidelity, latency, census of what the runtime really fused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from deploycompress import data
from deploycompress import model as models
from deploycompress.calibration import RangeMethod
from deploycompress.calibration.header import DataOrigin
from deploycompress.data import Samples, Skipped
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UnsupportedError, UsageError
from deploycompress.flow import census
from deploycompress.flow import verdict as words
from deploycompress.flow.data_doctor import admit
from deploycompress.flow.executed import execute
from deploycompress.flow.feeds import differential_feeds, timing_feed
from deploycompress.flow.floats import open_float, rewrite
from deploycompress.flow.gathering import FromSamples, Gather, ended
from deploycompress.flow.origins import FromFile, data_origin, load_for
from deploycompress.flow.planner import Planner, release_prefix
from deploycompress.flow.selection import names_matching, nodes_named
from deploycompress.flow.source import check_output, mended
from deploycompress.measurement.compare import quick_compare
from deploycompress.measurement.environment import environment
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.quantization.candidates import WEIGHTED
from deploycompress.quantization.dynamic import emit_dynamic
from deploycompress.quantization.plan import plan_dynamic, require_int8
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.spec import NodePlan, QuantPlan
from deploycompress.records.measured import Comparison, Fidelity
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import Target

_FIDELITY_SAMPLES = 128
_MIN_SAMPLES = 8  # fewer leave the ranges to chance


@dataclass(frozen=True)
class QuantizeResult:
    """What `quantize` did and what it bought.

    Attributes:
        source: The model as given.
        output: The model written.
        target: Name of the target.
        form: Static or dynamic int8.
        nodes: What became of every node that holds weights or moves 8-bit values, with the reason.
        rewrites: Exact rewrites applied first.
        float_layers: Layers left float because they were measured faster there.
        samples: Calibration samples used (feeds, for a model of a fixed batch); 0 for dynamic int8.
        available: How many there are.
        ended: Why no more of them were used.
        data: Where they came from.
        fingerprint: Of all of them.
        skipped: Unusable files, with reasons.
        bytes_before: Size of the source, external data included.
        bytes_after: Size of the output.
        int8_nodes: Nodes of the executed graph that compute in 8 bits.
        weights_dequantized: Weights turned back to float on every run (each one costs more than int8 gains).
        fidelity: Outputs against the float model.
        compared_on: What the two were run on: calibration samples, or random inputs where none were given.
        comparison: Latency against the float model, or None where this machine is not the target.
        notes: What the figures do not say by themselves.
    """

    source: Path
    output: Path
    target: str
    form: Literal["static int8", "dynamic int8"]
    nodes: tuple[NodePlan, ...]
    rewrites: tuple[str, ...]
    float_layers: tuple[str, ...]
    samples: int
    available: int
    ended: str
    data: str
    fingerprint: str
    skipped: tuple[Skipped, ...]
    bytes_before: int
    bytes_after: int
    int8_nodes: int
    weights_dequantized: int
    fidelity: Fidelity
    compared_on: Literal["samples", "random inputs"]
    comparison: Comparison | None
    notes: tuple[str, ...]

    @property
    def is_slower(self) -> bool:
        """Whether the output was measured slower than the float model, beyond noise."""
        return self.comparison is not None and self.comparison.verdict == "SLOWER"


def quantize(
    source: Path,
    output: Path,
    *,
    calib: str | None = None,
    calibration: Path | None = None,
    target: Target,
    dynamic: bool = False,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    method: RangeMethod = "mse",
    all_samples: bool = False,
    exclude: Sequence[str] = (),
    accept_data: bool = False,
    measure: bool = True,
    track: Track = silent,
) -> QuantizeResult:
    """Writes an int8 form of `source` to `output`.

    Args:
        source: A float ONNX file.
        output: Where to write; never `source`.
        calib: Calibration samples (see `data.open`); None only with `calibration` or `dynamic`.
        calibration: A file of `calibrate` to take the statistics from; `calib` then serves comparison alone.
        target: The device whose rules decide the form of the graph.
        dynamic: Find activation scales at run time instead of calibrating.
        preprocess: How images become inputs (see `data.open`).
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        method: How ranges are chosen from the statistics.
        all_samples: Calibrate on every sample instead of ending when the ranges have settled.
        exclude: Globs over node and tensor names of `source` to leave float.
        accept_data: Calibrate on samples that the data doctor rejects; what it found stands in the notes.
        measure: Whether latency takes part: layers that are faster float stay float, and the result is timed.
        track: Shows progress.

    Raises:
        UsageError: No samples and not `dynamic`; or the output is the input.
        UnknownNameError: An `exclude` pattern matches nothing.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        UnsupportedError: The target has no int8 kernels, or nothing in the model can use them.
        ModelRejectedError: The source is unusable or quantized already.
        CalibrationRejectedError: `calibration` is unusable, or of another model or other samples.
        InvalidOutputError: The file written does not load or run; it was removed.
    """
    if dynamic and calibration is not None:
        raise UsageError("dynamic int8 finds its scales at run time", remedy="leave --calibration or --dynamic out")
    if calib is None and calibration is None and not dynamic:
        raise UsageError(
            "static int8 needs samples", remedy="give --calib DIR, --calibration FILE, or --dynamic for none"
        )
    require_int8(target)
    check_output(source, output)
    model = open_float(source)
    names = names_matching(model, exclude)
    saved = None if calibration is None else load_for(calibration, source, preprocess, tokenizer)
    signature = models.signature(model)
    samples = (
        None
        if calib is None
        else data.open(calib, signature, preprocess=preprocess, tokenizer=tokenizer, limit=limit, track=track)
    )
    origin = None if samples is None else data_origin(samples, preprocess, tokenizer)
    if saved is not None:
        origin = saved.data_of(origin)
    config = SessionConfig(threads=target.threads)
    model, original = mended(model, Session(source, config))
    admitted = () if samples is None or dynamic else admit(model, samples, config, accept=accept_data)
    feeds = differential_feeds(original, signature, calib, preprocess=preprocess, tokenizer=tokenizer)
    timed = timing_feed(original, signature, feeds, calib)
    floats, rewrites = rewrite(model, original, feeds, config, only=saved.rewrites if saved else None)
    excluded = nodes_named(model, floats, names)
    measured_here = measure and words.elsewhere(target, environment().machine, environment().cpu_flags) is None
    float_layers: tuple[str, ...] = ()
    used = 0
    if dynamic:
        chosen = plan_dynamic(floats, target, excluded)
        _require_some(chosen)
        quantized = emit_dynamic(floats, chosen)
    else:
        gather: Gather
        if saved is not None:
            gather = FromFile(saved, rewrites)
        else:
            assert samples is not None
            gather = FromSamples(floats, samples, config, None if all_samples else method, track)
        planner = Planner(floats, target, method, gather, config)
        chosen = planner.plan(excluded)
        _require_some(chosen)
        quantized = emit_qdq(floats, chosen)
        assert planner.statistics is not None
        used = planner.statistics.samples
        if measured_here:
            chosen, quantized, float_layers = release_prefix(planner, excluded, chosen, quantized, timed)
    models.save(quantized, output, track=track)
    compared = feeds if samples is None else (sample.feed for sample in islice(samples, _FIDELITY_SAMPLES))
    checked = _check(output, original, compared, timed, config, timed=measured_here)
    return QuantizeResult(
        source=source,
        output=output,
        target=target.name,
        form="dynamic int8" if dynamic else "static int8",
        nodes=tuple(chosen.nodes.values()),
        rewrites=rewrites,
        float_layers=float_layers,
        samples=used,
        available=0 if origin is None or dynamic else origin.feeds,
        ended="no sample was needed" if origin is None or dynamic else ended(used, origin.feeds),
        data="none" if origin is None else origin.source,
        fingerprint="" if origin is None else origin.fingerprint,
        skipped=() if samples is None else samples.skipped,
        bytes_before=models.size_bytes(source),
        bytes_after=models.size_bytes(output),
        int8_nodes=checked.int8_nodes,
        weights_dequantized=checked.weights_dequantized,
        fidelity=checked.fidelity,
        compared_on="samples" if samples is not None and samples.valid_for_accuracy else "random inputs",
        comparison=checked.comparison,
        notes=(*_notes(samples, origin, used, target), *admitted),
    )


@dataclass(frozen=True)
class _Checked:
    """What the file that was written turned out to be; fields as in `QuantizeResult`."""

    int8_nodes: int
    weights_dequantized: int
    fidelity: Fidelity
    comparison: Comparison | None


def _require_some(chosen: QuantPlan) -> None:
    if not any(planned.form != "float" and planned.op_type in WEIGHTED for planned in chosen.nodes.values()):
        reasons = list(dict.fromkeys(f"{planned.op_type}: {planned.reason}" for planned in chosen.nodes.values()))
        raise UnsupportedError(
            f"no layer can run in int8 on {chosen.target} ({'; '.join(reasons[:3]) or 'there is none with weights'})"
        )


def _notes(samples: Samples | None, origin: DataOrigin | None, used: int, target: Target) -> tuple[str, ...]:
    here = environment()
    notes = [words.elsewhere(target, here.machine, here.cpu_flags), *(samples.notes if samples is not None else ())]
    if origin is not None and not origin.valid_for_accuracy:
        notes.append("CALIBRATED ON RANDOM DATA: the ranges are meaningless, accuracy figures are void")
    if 0 < used < _MIN_SAMPLES:
        notes.append(f"only {used} calibration samples: ranges rest on chance; 100 or more are usual")
    return tuple(note for note in notes if note)


def _check(
    output: Path,
    original: Session,
    compared: Iterable[Feed],
    feed: Feed,
    config: SessionConfig,
    *,
    timed: bool,
) -> _Checked:
    """Runs the file that was written; removes it where it does not run."""
    try:
        written = Session(output, config)
        meter = FidelityMeter()
        for each in compared:
            meter.add(original.run(each), written.run(each))
        executed = execute(models.load(output), feed, config, runs=1)
    except (ModelRejectedError, UnsupportedError) as error:
        output.unlink(missing_ok=True)
        raise InvalidOutputError(f"the quantized model does not run: {error.what}", where=str(output)) from error
    found = census.take(executed.model)
    return _Checked(
        int8_nodes=sum(kind == "int8" for kind in found.kinds.values()),
        weights_dequantized=len(found.dequantized_weights),
        fidelity=meter.result(),
        comparison=quick_compare(original, written, feed) if timed else None,
    )
