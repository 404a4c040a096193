"""model + calibration samples (+ evaluation samples) -> everything that is wrong with the samples, by name.

`examine` is `doctor --calib`; `admit` is the part of it that costs next to nothing and runs before every calibration.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import onnx_ir as ir

from deploycompress import data
from deploycompress import model as models
from deploycompress.data import Samples
from deploycompress.data.classes import balance
from deploycompress.data.comparison import drift, overlap
from deploycompress.data.content import content
from deploycompress.errors import DataRejectedError, ModelRejectedError
from deploycompress.flow.decisions import decisions
from deploycompress.flow.observing import observe, run_symptoms
from deploycompress.flow.scale_check import extremes, scale_symptoms
from deploycompress.flow.scale_movement import Settling, settling, too_few
from deploycompress.flow.source import open_source
from deploycompress.quantization.plan import required_tensors
from deploycompress.records.measured import Accuracy
from deploycompress.records.progress import Track, silent
from deploycompress.records.symptoms import Symptom, failures
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.targets import Target


@dataclass(frozen=True)
class InputRange:
    """What one input held over all samples."""

    name: str
    low: float
    high: float
    mean: float
    std: float


@dataclass(frozen=True)
class Examination:
    """What was found.

    Attributes:
        model: The model examined.
        source: Where the calibration samples came from.
        samples: How many are usable.
        fingerprint: Of them.
        inputs: What their inputs hold.
        settling: How far the scales have settled; None where that cannot be said.
        accuracy: Top-1 of the float model on labelled samples.
        symptoms: What is wrong, failures first.
        notes: What was converted or assumed while reading.
    """

    model: Path
    source: str
    samples: int
    fingerprint: str
    inputs: tuple[InputRange, ...]
    settling: Settling | None
    accuracy: Accuracy | None
    symptoms: tuple[Symptom, ...]
    notes: tuple[str, ...]


def examine(
    model: Path,
    calib: str,
    *,
    target: Target,
    evaluation: str | None = None,
    preprocess: str | None = None,
    labels: Path | None = None,
    tokenizer: Path | None = None,
    limit: int | None = None,
    track: Track = silent,
) -> Examination:
    """Examines the samples that are to calibrate a model.

    Args:
        model: A float ONNX file.
        calib: Calibration samples (see `data.open`).
        target: Its rules say which tensors are quantized, and with them which scales have to settle.
        evaluation: Evaluation samples, to be compared with the calibration samples.
        preprocess: How images become inputs, of both.
        labels: Table of the labels of `calib`.
        tokenizer: Tokenizer file for text samples.
        limit: At most so many samples of each.
        track: Shows progress.

    Raises:
        ModelRejectedError: The model is unusable.
        DataRejectedError: Not one sample is usable.
    """
    graph = open_source(model)
    signature = models.signature(graph)

    def read(source: str, table: Path | None) -> Samples:
        return data.open(
            source, signature, preprocess=preprocess, labels=table, tokenizer=tokenizer, limit=limit, track=track
        )

    samples = read(calib, labels)
    config = SessionConfig(threads=target.threads)
    found = [*content(samples)]
    if evaluation is not None:
        held_out = read(evaluation, None)
        found += [*overlap(samples.summaries, held_out.summaries), *drift(samples.summaries, held_out.summaries)]
    observed = observe(graph, required_tensors(graph, target), samples, config, track)
    settled = settling(observed.tensors, observed.lows, observed.highs)
    found += [*run_symptoms(observed, len(samples)), *batch_symptoms(model, samples, config)]
    found += [*scale_symptoms(graph, samples, config), *too_few(settled, samples.examples)]
    accuracy = None
    if observed.scores is not None and len(observed.scores) == samples.examples:
        symptoms, accuracy = decisions(observed.scores, samples.summaries)
        found += symptoms
    else:
        found += balance(samples.summaries)
    return Examination(
        model=model,
        source=calib,
        samples=samples.examples,
        fingerprint=samples.fingerprint,
        inputs=tuple(_input_ranges(samples)),
        settling=settled,
        accuracy=accuracy,
        symptoms=tuple(sorted(found, key=lambda symptom: symptom.severity != "failure")),
        notes=samples.notes,
    )


def admit(model: ir.Model, samples: Samples, config: SessionConfig, *, accept: bool = False) -> tuple[str, ...]:
    """The cheap checks, before calibration: warnings as notes.

    Args:
        model: The float graph.
        samples: What is to calibrate it.
        config: Threads and providers.
        accept: Turn failures into notes as well.

    Raises:
        DataRejectedError: A check failed, and `accept` was not asked for.
    """
    found = [*content(samples), *balance(samples.summaries), *scale_symptoms(model, samples, config)]
    failed = failures(found)
    if failed and not accept:
        first = failed[0]
        raise DataRejectedError(
            f"{first.check}: {first.found}",
            where=samples.source,
            remedy=f"{first.remedy}, or accept them with --accept-data",
        )
    told = ("unusable samples", "random samples")  # `quantize` says these in its own words
    return tuple(str(symptom) for symptom in found if symptom.check not in told)


def batch_symptoms(model: Path, samples: Samples, config: SessionConfig) -> Iterator[Symptom]:
    """A batch that the signature allows and the graph does not (a length of 1 written into a Reshape)."""
    pair = next(islice(samples.batches(2), 1), None)
    if pair is None or len(pair.names) != 2:
        return
    session = Session(model, config)
    try:
        session.run(next(iter(samples)).feed)
    except ModelRejectedError:
        return  # named by the pass that runs every sample
    try:
        session.run(pair.feed)
    except ModelRejectedError as error:
        if samples.examples == len(samples):
            yield Symptom(
                "batch baked in the file",
                "warning",
                f"the inputs allow any batch, and the graph does not run on two samples: {error.what}",
                " + ".join(pair.names),
                "samples are fed one by one in calibration; evaluation in batches fails",
                "export the model with a dynamic batch",
            )


def _input_ranges(samples: Samples) -> Iterator[InputRange]:
    for name in dict.fromkeys(name for each in samples.summaries for name in each.inputs):
        figures = [each.inputs[name] for each in samples.summaries if name in each.inputs]
        total = sum(each.size for each in figures)
        mean = sum(each.size * each.mean for each in figures) / total
        square = sum(each.size * (each.std**2 + each.mean**2) for each in figures) / total
        yield InputRange(name, *extremes(samples.summaries, name), mean, max(square - mean**2, 0.0) ** 0.5)
