"""model, samples, target -> for every layer the forms worth choosing from, timed, and why others have none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import LayerInput, collect
from deploycompress.calibration.taps import tap
from deploycompress.factorization import Layer, macs
from deploycompress.factorization.candidates import Method, candidates
from deploycompress.factorization.factors import Factor
from deploycompress.flow.factor_choice import FASTER, Options, Timed, best
from deploycompress.flow.factor_fit import Moments, fitted
from deploycompress.flow.factor_times import Stopwatch
from deploycompress.pruning.mending import ROWS_OF_A_FEED
from deploycompress.quantization.candidates import key
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, Session, SessionConfig

_GRAM_BYTES = 2 << 30
_MOST_FEATURES = 8192  # a Gram matrix of 512 MiB
Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Found:
    """What may be chosen.

    Attributes:
        options: Of every layer that may be factorized.
        refused: Why the others may not, by the name of the output.
    """

    options: tuple[Options, ...]
    refused: dict[str, str]


def find(
    floats: ir.Model,
    methods: Sequence[Method],
    samples: tuple[Iterable[Feed], Iterable[Feed]] | None,
    *,
    timed: Feed,
    config: SessionConfig,
    excluded: frozenset[str],
    measure: bool,
    track: Track,
) -> Found:
    """The options of every layer of the main graph.

    Args:
        floats: The model after the exact rewrites.
        methods: Which ways are tried.
        samples: Those that fit and those that decide, re-iterable; None for none.
        timed: What is timed.
        config: Threads and providers.
        excluded: Keys of nodes that stay.
        measure: Whether forms are timed; else their multiplications are what they cost.
        track: Shows progress.
    """
    layers, refused = _layers(floats, excluded, has_samples=samples is not None)
    shapes = _shapes(floats, layers, timed, config)
    known = _moments(floats, layers, samples, config, track)
    watch = Stopwatch(config, dict(floats.opset_imports), floats.ir_version)
    found = []
    for layer in track(layers, "factorizing", len(layers)):
        each = _options(layer, methods, known.get(layer.name), shapes[layer.name], watch if measure else None)
        if isinstance(each, str):
            refused[layer.name] = each
        else:
            found.append(each)
    return Found(tuple(found), refused)


def _options(
    layer: Layer,
    methods: Sequence[Method],
    moments: Moments | None,
    shape: tuple[Shape, Shape],
    watch: Stopwatch | None,
) -> Options | str:
    """The forms of one layer, or why there is none; only those that are faster are worked out."""
    products = None if moments is None else moments.products(layer)
    own = float(_macs(layer, (_whole(layer),), *shape))
    counted = [(each, float(_macs(layer, each.hollow, *shape))) for each in candidates(layer, methods, products)]
    drafts = [each for each, macs in counted if macs < own]
    costs = [macs for _, macs in counted if macs < own]
    if not drafts:
        return "no form has fewer multiplications"
    if watch is not None:
        own, *costs = watch.times_us(layer, shape[0], [each.hollow for each in drafts])
    if min(costs) > FASTER * own:
        least = costs.index(min(costs))
        return f"no form is faster: the fastest, {drafts[least].called}, takes {costs[least] / own:.2f} of its time"
    fast = [number for number, each in enumerate(costs) if each <= FASTER * own]
    made = fitted(layer, [drafts[number] for number in fast], moments)
    return Options(
        layer, own, tuple(best([Timed(form, costs[number]) for form, number in zip(made, fast, strict=True)]))
    )


def _layers(floats: ir.Model, excluded: frozenset[str], *, has_samples: bool) -> tuple[list[Layer], dict[str, str]]:
    layers, refused = [], {}
    for node in floats.graph:
        layer = Layer.of(node)
        if isinstance(layer, str):
            refused[node.outputs[0].name or ""] = layer
        elif layer is not None and key(node) in excluded:
            refused[layer.name] = "it was excluded"
        elif layer is not None and has_samples and len(layer.matrix) > _MOST_FEATURES:
            refused[layer.name] = f"{len(layer.matrix)} features are too many for their second moments"
        elif layer is not None:
            layers.append(layer)
    return layers, refused


def _shapes(
    floats: ir.Model, layers: Sequence[Layer], timed: Feed, config: SessionConfig
) -> dict[str, tuple[Shape, Shape]]:
    """Shapes of what each layer reads and gives on the timed feed."""
    reads = {layer.name: str(layer.node.inputs[0].name) for layer in layers if layer.node.inputs[0] is not None}
    wanted = [name for name in dict.fromkeys([*reads.values(), *reads]) if name not in timed]
    if not wanted:
        return {}
    tapped, _ = tap(floats, wanted)
    run = Session(models.serialize(tapped), config, weights_dir=models.weights_dir(floats)).run(timed)
    lengths = {name: np.shape(value) for name, value in {**timed, **run}.items()}
    return {name: (lengths[read], lengths[name]) for name, read in reads.items()}


def _moments(
    floats: ir.Model,
    layers: Sequence[Layer],
    samples: tuple[Iterable[Feed], Iterable[Feed]] | None,
    config: SessionConfig,
    track: Track,
) -> dict[str, Moments]:
    if samples is None:
        return {}
    rows = {layer.name: LayerInput.of(layer.node) for layer in layers}
    wanted = list(dict.fromkeys(row for row in rows.values() if row is not None))
    fit, held_out = (
        collect(
            floats,
            [],
            part,
            weights_dir=models.weights_dir(floats),
            config=config,
            grams=wanted,
            memory_bytes=_GRAM_BYTES,
            gram_rows=ROWS_OF_A_FEED,
            track=track,
        ).grams
        for part in samples
    )
    return {name: Moments(fit[row], held_out[row]) for name, row in rows.items() if row is not None}


def _whole(layer: Layer) -> Factor:
    return Factor(layer.kernel, tuple(range(len(layer.lengths))))


def _macs(layer: Layer, factors: tuple[Factor, ...], source: Shape, result: Shape) -> int:
    axes = len(layer.lengths)
    rows = int(np.prod(result[: len(result) - axes - 1] if not axes else result[:1]))
    return rows * macs(factors, source[len(source) - axes :], result[len(result) - axes :])
