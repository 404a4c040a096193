"""paths and options of `quantize` -> what it starts from: the float model, its samples and feeds, open and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from deploycompress import data
from deploycompress import model as models
from deploycompress.calibration.header import DataOrigin
from deploycompress.data import Samples
from deploycompress.errors import UsageError
from deploycompress.flow.data_doctor import admit
from deploycompress.flow.feeds import differential_feeds, timing_feed
from deploycompress.flow.floats import open_float
from deploycompress.flow.origins import Saved, data_origin, load_for
from deploycompress.flow.selection import names_matching
from deploycompress.flow.source import mended
from deploycompress.records.formats import Format
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import Target


@dataclass(frozen=True)
class Given:
    """A float model and what it is quantized with.

    Attributes:
        model: The graph.
        original: It, open.
        excluded: Names of the nodes the user keeps float, of their outputs and weights.
        samples: Calibration samples; None where there are none.
        saved: Saved statistics; None where there are none.
        origin: Where the samples came from, or those behind `saved`.
        admitted: What the data doctor remarks on the samples.
        feeds: What outputs are compared on.
        timed: What is timed.
        config: How sessions are opened.
    """

    model: ir.Model
    original: Session
    excluded: frozenset[str]
    samples: Samples | None
    saved: Saved | None
    origin: DataOrigin | None
    admitted: tuple[str, ...]
    feeds: tuple[Feed, ...]
    timed: Feed
    config: SessionConfig


def receive(
    source: Path,
    *,
    calib: str | None,
    calibration: Path | None,
    target: Target,
    preprocess: str | None,
    tokenizer: Path | None,
    limit: int | None,
    exclude: Sequence[str],
    calibrates: bool,
    accept_data: bool,
    track: Track,
) -> Given:
    """Opens everything; see `quantize` for the arguments.

    Args:
        source: A float ONNX file.
        calib: Calibration samples.
        calibration: Saved statistics.
        target: Its threads are used.
        preprocess: How images become inputs.
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples.
        exclude: Globs over node and tensor names.
        calibrates: Whether ranges are found on the samples, so that the data doctor must admit them.
        accept_data: Whether samples that it rejects are used all the same.
        track: Shows progress.

    Raises:
        ModelRejectedError: The source is unusable or quantized already.
        UnknownNameError: An `exclude` pattern matches nothing.
        DataRejectedError: No sample is usable, or the data doctor rejects them.
        CalibrationRejectedError: `calibration` is unusable, or of another model or other samples.
    """
    model = open_float(source)
    excluded = names_matching(model, exclude)
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
    admitted = () if samples is None or not calibrates else admit(model, samples, config, accept=accept_data)
    feeds = differential_feeds(original, signature, calib, preprocess=preprocess, tokenizer=tokenizer)
    return Given(
        model=model,
        original=original,
        excluded=excluded,
        samples=samples,
        saved=saved,
        origin=origin,
        admitted=admitted,
        feeds=feeds,
        timed=timing_feed(original, signature, feeds, calib),
        config=config,
    )


def require_samples(form: Format, calib: str | None, calibration: Path | None) -> None:
    """Refuses a form that needs samples without any, and saved statistics for one that has no use for them.

    Raises:
        UsageError: Says what to give, or to leave out.
    """
    if form.kind == "static" and calib is None and calibration is None:
        raise UsageError(
            "static int8 needs samples", remedy="give --calib DIR, --calibration FILE, or --dynamic for none"
        )
    if form.kind == "weights" and form.calibrates and calib is None:
        raise UsageError(f"--algorithm {form.algorithm} needs samples", remedy="give --calib DIR, or leave it out")
    if calibration is not None and form.kind != "static":
        raise UsageError(f"{form.name} has no use for saved ranges", remedy="leave --calibration out")
