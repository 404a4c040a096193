"""float ONNX file + samples + target -> saved statistics, whole or a share; shares -> the whole.

probe -> load -> exact rewrites (compared) -> one pass over every sample of the share -> X.calib.json and X.calib.npz.
The file serves every range method and every set of excluded layers, so it looks at all tensors a plan can ask for and
at all samples: there are no ranges yet that could settle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploycompress import __version__, data
from deploycompress import model as models
from deploycompress.calibration import files, shards
from deploycompress.calibration.files import Calibration
from deploycompress.calibration.header import Origin, Shard
from deploycompress.data import Samples, Skipped
from deploycompress.errors import UsageError
from deploycompress.flow.data_doctor import admit
from deploycompress.flow.feeds import differential_feeds
from deploycompress.flow.floats import open_float, rewrite
from deploycompress.flow.gathering import FromSamples
from deploycompress.flow.origins import data_origin
from deploycompress.flow.source import check_output, mended
from deploycompress.quantization.plan import layer_inputs, observable_tensors, require_int8
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.targets import Target


@dataclass(frozen=True)
class CalibrateResult:
    """What was written.

    Attributes:
        output: The JSON file; its arrays lie beside it.
        model: The model it is for.
        target: Name of the target.
        rewrites: Exact rewrites applied first.
        tensors: Number of tensors looked at.
        grams: Number of Gram matrices.
        samples: Number of samples they were looked at on.
        available: Number of samples there are.
        shard: The share, i/n; None for all samples.
        data: Where the samples came from.
        fingerprint: Of all of them.
        skipped: Unusable files, with reasons.
        size_bytes: Size of both files.
        notes: What the figures do not say by themselves.
    """

    output: Path
    model: str
    target: str
    rewrites: tuple[str, ...]
    tensors: int
    grams: int
    samples: int
    available: int
    shard: str | None
    data: str
    fingerprint: str
    skipped: tuple[Skipped, ...]
    size_bytes: int
    notes: tuple[str, ...]


def calibrate(
    source: Path,
    output: Path,
    *,
    calib: str,
    target: Target,
    preprocess: str | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    shard: Shard | None = None,
    grams: bool = False,
    memory_bytes: int | None = None,
    accept_data: bool = False,
    track: Track = silent,
) -> CalibrateResult:
    """Writes the statistics that `quantize` reads with `calibration`.

    Args:
        source: A float ONNX file.
        output: Where to write, `*.json`.
        calib: Calibration samples (see `data.open`).
        target: The device whose rules decide which tensors matter.
        preprocess: How images become inputs (see `data.open`).
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples, all shares together.
        shard: The share of the samples to look at; None for all.
        grams: Whether to add `X^T X` of the input of every layer with weights.
        memory_bytes: What the Gram matrices may take at a time; more than that go over the samples again.
        accept_data: Calibrate on samples that the data doctor rejects; what it found stands in the notes.
        track: Shows progress.

    Raises:
        UsageError: The output is not called `*.json`, the share is empty, or one Gram matrix exceeds `memory_bytes`.
        UnsupportedError: The target has no int8 kernels.
        ModelRejectedError: The source is unusable or quantized already.
        DataRejectedError: No sample is usable, the data doctor rejects them, or a tensor held NaN or infinity.
    """
    files.check_name(output)
    require_int8(target)
    check_output(source, output)
    model = open_float(source)
    signature = models.signature(model)
    samples = data.open(calib, signature, preprocess=preprocess, tokenizer=tokenizer, limit=limit, track=track)
    config = SessionConfig(threads=target.threads)
    model, original = mended(model, Session(source, config))
    admitted = admit(model, samples, config, accept=accept_data)
    feeds = differential_feeds(original, signature, calib, preprocess=preprocess, tokenizer=tokenizer)
    floats, rewrites = rewrite(model, original, feeds, config)
    layers = layer_inputs(floats) if grams else ()
    share = _share(samples, shard)
    gather = FromSamples(floats, share, config, None, track, layers, memory_bytes)
    statistics = gather(observable_tensors(floats, target))
    statistics.require_finite()
    origin = Origin(
        package_version=__version__,
        model=str(source),
        model_sha256=models.fingerprint(source),
        target=target.name,
        rewrites=rewrites,
        data=data_origin(samples, preprocess, tokenizer),
        shard=shard,
    )
    return _saved(Calibration(origin, statistics), output, samples.skipped, (*samples.notes, *admitted))


def merge(paths: Sequence[Path], output: Path) -> CalibrateResult:
    """Joins the calibration files of all shares into one.

    Raises:
        UsageError: No file was named, or the output is one of them.
        CalibrationRejectedError: A file is unusable, or the files are not the shares of one calibration.
    """
    if not paths:
        raise UsageError("there is nothing to merge", remedy="name the calibration file of every share")
    files.check_name(output)
    for path in paths:
        check_output(path, output)
        if paths.count(path) > 1:
            raise UsageError("it is named twice", where=str(path), remedy="name each share once")
    parts = {path: files.load(path) for path in paths}
    return _saved(shards.joined(parts), output, (), ())


def _share(samples: Samples, shard: Shard | None) -> Samples:
    if shard is None:
        return samples
    positions = shard.positions(len(samples))
    if not positions:
        raise UsageError(
            f"share {shard} of {len(samples)} samples is empty", where="--shard", remedy="make fewer shares"
        )
    return samples.picked(positions)


def _saved(
    calibration: Calibration, output: Path, skipped: tuple[Skipped, ...], notes: tuple[str, ...]
) -> CalibrateResult:
    files.save(calibration, output)
    origin, statistics = calibration.origin, calibration.statistics
    if not origin.data.valid_for_accuracy:
        notes = (*notes, "CALIBRATED ON RANDOM DATA: the ranges are meaningless, accuracy figures are void")
    return CalibrateResult(
        output=output,
        model=origin.model,
        target=origin.target,
        rewrites=origin.rewrites,
        tensors=len(statistics),
        grams=len(statistics.grams),
        samples=statistics.samples,
        available=origin.data.feeds,
        shard=None if origin.shard is None else str(origin.shard),
        data=origin.data.source,
        fingerprint=origin.data.fingerprint,
        skipped=skipped,
        size_bytes=sum(path.stat().st_size for path in (output, files.arrays_path(output))),
        notes=notes,
    )
