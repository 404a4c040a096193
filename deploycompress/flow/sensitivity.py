"""layers -> how much each one costs in accuracy, from models in which it alone is quantized; the worst first.

    noise_i = mean_x ||f(x) - f_i(x)||^2 / ||f(x)||^2      f: float, f_i: layer i quantized and nothing else

One layer at a time rather than all but one: where a single layer spoils the result, taking another one back changes
nothing that could be seen, and the order behind the worst would be noise. Errors of several layers partly cancel, so
the sum of these figures is no forecast of the whole; they give an order, and the search judges whole models.

Where the form has wider codes, each layer has a step from each width to the next: 2 bits -> 4 -> 8 -> float. It is
measured in the width of the form, and each bit more takes 6.02 dB off its noise: the step of a uniform grid halves. The
steps of all layers are in one order, by what is lost where the step is not taken.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deploycompress import model as models
from deploycompress.calibration.settling import rounds
from deploycompress.data import Samples
from deploycompress.flow.draft import Draft
from deploycompress.flow.making import Choice, Made
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.quantization.candidates import WEIGHTED
from deploycompress.quantization.spec import FLOAT, Width
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, Session, SessionConfig

_SAMPLES = 32
_BATCH = 8
_DB_OF_A_BIT = 20 * math.log10(2)


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs at one width, and the width that would mend it.

    Attributes:
        node: Name of its first output.
        name: Its name.
        op_type: Operator.
        sqnr_db: Signal to noise at the outputs with this layer alone quantized, in decibels; inf where nothing changes;
            estimated where `width` is given.
        width: Bits of its weight there; None for what the form gives it.
        wider: The next width it can have; 32 is float.
    """

    node: str
    name: str
    op_type: str
    sqnr_db: float
    width: Width | None
    wider: Width


def sensitivities(
    drafted: Draft, made: Made, released: Mapping[str, Choice], original: Session, samples: Samples, track: Track
) -> tuple[Sensitivity, ...]:
    """The steps that the quantized layers of `made` can take, the most harmful not to take first.

    Steps of one layer are in order of width.

    Args:
        drafted: Makes quantized graphs.
        made: The one whose layers are in question.
        released: Layers that are float in it.
        original: The float model.
        samples: A few of them are run, spread evenly.
        track: Shows progress.
    """
    layers = quantized_layers(made)
    first = next(iter(rounds(len(samples))), range(len(samples)))
    feeds = [batch.feed for batch in islice(samples.picked(list(first)[:_SAMPLES]).batches(_BATCH), _SAMPLES)]
    reference = [original.run(feed) for feed in feeds]
    found: list[Sensitivity] = []
    for name in track(layers, "quantizing one layer at a time", len(layers)):
        others = {other: Choice(FLOAT, "") for other in layers if other != name}
        noise = _sqnr_db(drafted.made({**released, **others}), feeds, reference, original.config)
        planned = made.plan.nodes[name]
        for width, wider, more in _steps(drafted, made, name):
            sqnr_db = noise + _DB_OF_A_BIT * more
            found.append(Sensitivity(name, planned.name, planned.op_type, sqnr_db, width, wider))
    return tuple(sorted(found, key=lambda each: each.sqnr_db))


def _steps(drafted: Draft, made: Made, name: str) -> Iterator[tuple[Width | None, Width, int]]:
    """Each width that a layer can have, the next wider one, and how many bits more than the form's it has."""
    spec = made.plan.nodes[name].weight
    width: Width | None = None
    for wider in (*(bits for bits in drafted.maker.wider if spec is None or bits > spec.bits), FLOAT):
        yield width, wider, 0 if width is None or spec is None else width - spec.bits
        width = wider


def quantized_layers(made: Made) -> tuple[str, ...]:
    """First output names of the nodes with quantized weights, in order of the graph."""
    return tuple(
        name
        for name, planned in made.plan.nodes.items()
        if planned.form != "float" and (planned.op_type in WEIGHTED or planned.weight is not None)
    )


def _sqnr_db(made: Made, feeds: Sequence[Feed], reference: Sequence[dict[str, Any]], config: SessionConfig) -> float:
    session = Session(models.serialize(made.model), config, weights_dir=models.weights_dir(made.model))
    meter = FidelityMeter()
    for feed, expected in zip(feeds, reference, strict=True):
        meter.add(expected, session.run(feed))
    return meter.result().sqnr_db
