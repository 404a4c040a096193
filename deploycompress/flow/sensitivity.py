"""layers -> how much each one costs in accuracy, from models in which it alone is quantized; the worst first.

    noise_i = mean_x ||f(x) - f_i(x)||^2 / ||f(x)||^2      f: float, f_i: layer i quantized and nothing else

One layer at a time rather than all but one: where a single layer spoils the result, taking another one back changes
nothing that could be seen, and the order behind the worst would be noise. Errors of several layers partly cancel, so
the sum of these figures is no forecast of the whole; they give an order, and the search judges whole models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from deploycompress import model as models
from deploycompress.calibration.settling import rounds
from deploycompress.data import Samples
from deploycompress.flow.draft import Draft
from deploycompress.flow.making import Made
from deploycompress.measurement.fidelity import FidelityMeter
from deploycompress.quantization.candidates import WEIGHTED
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, Session, SessionConfig

_SAMPLES = 32
_BATCH = 8


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs.

    Attributes:
        node: Name of its first output.
        name: Its name.
        op_type: Operator.
        sqnr_db: Signal to noise at the outputs with this layer alone quantized, in decibels; inf where nothing changes.
    """

    node: str
    name: str
    op_type: str
    sqnr_db: float


def sensitivities(
    drafted: Draft, made: Made, released: Mapping[str, str], original: Session, samples: Samples, track: Track
) -> tuple[Sensitivity, ...]:
    """The quantized layers of `made`, the most harmful first.

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
    found = []
    for name in track(layers, "quantizing one layer at a time", len(layers)):
        alone = drafted.made({**released, **{other: "" for other in layers if other != name}})
        planned = made.plan.nodes[name]
        noise = _sqnr_db(alone, feeds, reference, original.config)
        found.append(Sensitivity(name, planned.name, planned.op_type, noise))
    return tuple(sorted(found, key=lambda each: each.sqnr_db))


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
