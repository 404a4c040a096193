"""float graph + samples -> the same function, in a form that loses less in 8 bits; what each step bought.

    smoothing            outlier channels of normalizations become even (`quantization.smoothing`)
    side path            outlier channels behind an activation stay float (`quantization.side_path`)
    GPTQ                 weights rounded for their inputs (`quantization.gptq_int8`)

The first two change nothing in float. Each is tried on the whole model: quantized with the first samples, run on
samples that it was not calibrated on, and kept where the error of the outputs falls and time, where it is measured,
does not rise by more than a twentieth. Where a graph has no place for the first two nothing is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import LayerInput, RangeMethod, Statistics
from deploycompress.data import Samples
from deploycompress.flow.gathering import Feeds, FromSamples
from deploycompress.flow.output_error import relative_error
from deploycompress.measurement.compare import quick_compare
from deploycompress.quantization import side_path, smoothing
from deploycompress.quantization.candidates import find, key
from deploycompress.quantization.plan import plan, required_tensors
from deploycompress.quantization.qdq import emit_qdq
from deploycompress.quantization.side_path import Channels
from deploycompress.records.progress import silent
from deploycompress.runtime.session import Feed, Session, SessionConfig
from deploycompress.targets import Target

ALPHA = 0.75  # of 0.5 to 0.9 the least error on a sentence encoder, by little; 1.0 lets rare inputs leave the range
_CALIBRATED = 192  # samples of a trial; on a few dozen the range of every smoothed channel is found too small
_HELD_OUT = 32
_FEWEST = 8
_MOST_FEATURES = 8192  # a Gram matrix of 512 MiB; its factor takes as much again
GRAM_BYTES = 1 << 30  # of Gram matrices in one pass over the samples
GRAM_ROWS = 64  # of a sample: more say little new about a sequence, and cost as much as all else together
_LEAST_GAIN = 0.95  # of the error, where nodes are added; less is not worth them
_MOST_TIME = 1.05


@dataclass(frozen=True)
class Preparation:
    """One step that was tried.

    Attributes:
        name: What it does.
        kept: Whether it is part of the result.
        reason: Why, in words, with the numbers.
        places: How many tensors or products it changes.
    """

    name: str
    kept: bool
    reason: str
    places: int


@dataclass(frozen=True)
class Prepared:
    """A float graph ready to be quantized.

    Attributes:
        floats: The graph.
        steps: What was tried.
        sides: Channels that a float product takes, by the tensor they are channels of.
        layers: Inputs of the products whose weights are to be rounded for them.
    """

    floats: ir.Model
    steps: tuple[Preparation, ...] = ()
    sides: Mapping[str, Channels] = field(default_factory=dict)
    layers: tuple[LayerInput, ...] = ()


def prepare(
    floats: ir.Model,
    target: Target,
    samples: Samples | None,
    *,
    excluded: frozenset[str],
    method: RangeMethod,
    config: SessionConfig,
    timed: Feed | None,
) -> Prepared:
    """Tries every step and keeps those that help.

    Args:
        floats: The float graph, already rewritten for the target.
        target: Its rules decide what runs in 8 bits.
        samples: Calibration samples; None where statistics come from a file.
        excluded: First output names of nodes that stay float.
        method: How ranges are chosen.
        config: How sessions are opened.
        timed: What is timed; None where time is not measured.
    """
    products = _products(floats, target, excluded)
    smooth, _ = smoothing.sites(floats, products)
    sides = _beside(floats, products)
    if not smooth and not sides:
        return Prepared(floats)
    if samples is None or not samples.valid_for_accuracy or len(samples) < _FEWEST:
        why = "no samples" if samples is None else f"{len(samples)} samples" if samples.valid_for_accuracy else "noise"
        reason = f"left out: it is judged on samples that it was not calibrated on, and there are {why}"
        names = (("smoothing", len(smooth)), ("side path", len(sides)))
        return Prepared(floats, tuple(Preparation(name, False, reason, count) for name, count in names if count))
    trials = _Trials(_session(floats, config), target, samples, excluded, method, config, timed)
    current, said = trials.first(floats), dict[str, Preparation]()
    # What smoothing gains can hide behind the error of outliers: taken back before a side path, it gets another turn.
    for step in (_smoothed, _with_side_paths, _smoothed, _rounded):
        again = step is _smoothed and "smoothing" in said
        if again and (said["smoothing"].kept or not current.sides):
            continue
        tried = step(current, trials)
        if tried is not None:
            current, said[tried.name] = trials.judged(current, tried)
    return Prepared(current.floats, tuple(said.values()), current.sides, tuple(current.seen.grams))


@dataclass(frozen=True)
class _Tried:
    """A float graph and how good its quantized form is."""

    name: str
    floats: ir.Model
    seen: Statistics
    sides: Mapping[str, Channels]
    places: int = 0
    error: float = float("inf")
    session: Session | None = None


@dataclass(frozen=True)
class _Trials:
    """What every trial shares: `reference` runs the graph as it was given, the other fields are as in `prepare`.

    No step changes what the float graph computes, so one reference serves them all.
    """

    reference: Session
    target: Target
    samples: Samples
    excluded: frozenset[str]
    method: RangeMethod
    config: SessionConfig
    timed: Feed | None

    @property
    def calibrated(self) -> int:
        """How many samples a trial is calibrated on."""
        return min(_CALIBRATED, len(self.samples) * 3 // 4)

    def first(self, floats: ir.Model) -> _Tried:
        """The graph as it is."""
        return self.weighed(_Tried("nothing", floats, self.seen(floats, self.required(floats)), {}))

    def required(self, floats: ir.Model) -> Sequence[str]:
        """Tensors that a plan needs statistics of."""
        return required_tensors(floats, self.target, self.excluded)

    def seen(self, floats: ir.Model, tensors: Sequence[str]) -> Statistics:
        """Statistics over the samples of a trial."""
        found = FromSamples(floats, self.samples, self.config, self.method, silent)(tensors, self.calibrated)
        found.require_finite()
        return found

    def weighed(self, tried: _Tried) -> _Tried:
        """Quantizes the graph and measures the error of its outputs."""
        seen = side_path.without(tried.seen, tried.sides)
        chosen = plan(tried.floats, self.target, seen, method=self.method, exclude=self.excluded)
        made = emit_qdq(tried.floats, chosen)
        session = _session(made, self.config)
        feeds = islice(Feeds(self.samples, spread=True), self.calibrated, self.calibrated + _HELD_OUT)
        pairs = ((feed, self.reference.run(feed), session.run(feed)) for feed in feeds)
        return replace(tried, error=relative_error(pairs), session=session)

    def judged(self, before: _Tried, tried: _Tried) -> tuple[_Tried, Preparation]:
        """The graph to go on with, and why."""
        after = self.weighed(tried)
        what = f"error {before.error:.4f} -> {after.error:.4f} on samples it was not calibrated on"
        same_graph = tried.floats is before.floats  # other numbers in it take the same time
        if not after.error < (1.0 if same_graph else _LEAST_GAIN) * before.error:
            return before, Preparation(tried.name, False, f"taken back: {what}", tried.places)
        if not same_graph and self.timed is not None and before.session is not None and after.session is not None:
            times = [quick_compare(before.session, after.session, self.timed) for _ in range(2)]
            fastest = max(times, key=lambda comparison: comparison.interval.high)
            what += f", x{fastest.speedup:.2f} the speed"
            if fastest.interval.high * _MOST_TIME < 1.0:
                return before, Preparation(tried.name, False, f"taken back: {what}", tried.places)
        return after, Preparation(tried.name, True, what, tried.places)


def _session(model: ir.Model, config: SessionConfig) -> Session:
    return Session(models.serialize(model), config, weights_dir=models.weights_dir(model))


def _smoothed(before: _Tried, trials: _Trials) -> _Tried | None:
    """Every normalization that 8-bit products read, smoothed."""
    products = _products(before.floats, trials.target, trials.excluded)
    sites = smoothing.sites(before.floats, products)[0]
    found = {site.tensor: smoothing.smoothing(site, before.seen[site.read], ALPHA) for site in sites}
    chosen = {name: by for name, by in found.items() if by is not None}
    if not chosen:
        return None
    after = smoothing.smooth(before.floats, chosen)
    changed = {site.tensor for site in sites} | {products[name] for site in sites for name in site.products}
    more = trials.seen(after, [n for n in trials.required(after) if n in changed or n not in before.seen])
    seen = replace(before.seen, tensors={**before.seen.tensors, **more.tensors})
    return replace(before, name="smoothing", floats=after, seen=seen, places=len(chosen))


def _with_side_paths(before: _Tried, trials: _Trials) -> _Tried | None:
    """Every 8-bit product with outlier channels in its input, these in float."""
    products = _products(before.floats, trials.target, trials.excluded)
    found = {name: side_path.outliers(before.seen[tensor]) for name, tensor in _beside(before.floats, products).items()}
    chosen = {name: channels for name, channels in found.items() if channels}
    if not chosen:
        return None
    sides = {products[name]: channels for name, channels in chosen.items()}
    after = side_path.side_path(before.floats, chosen)
    return replace(before, name="side path", floats=after, sides=sides, places=len(chosen))


def _rounded(before: _Tried, trials: _Trials) -> _Tried | None:
    """Every 8-bit product, its weights rounded for its input."""
    products = _products(before.floats, trials.target, trials.excluded)
    found = (LayerInput.of(node) for node in before.floats.graph if key(node) in products)
    layers = tuple(dict.fromkeys(layer for layer in found if layer is not None and layer.features <= _MOST_FEATURES))
    if not layers:
        return None
    gather = FromSamples(
        before.floats, trials.samples, trials.config, trials.method, silent, layers, GRAM_BYTES, GRAM_ROWS
    )
    grams = gather([], trials.calibrated).grams
    return replace(before, name="GPTQ", seen=replace(before.seen, grams=grams), places=len(layers))


def _beside(floats: ir.Model, products: Mapping[str, str]) -> dict[str, str]:
    """Products that may get a side path, with what they read: smoothing serves the others, and costs less."""
    smooth = {site.read for site in smoothing.sites(floats, products)[0]}
    return {name: tensor for name, tensor in side_path.sites(floats, products).items() if tensor not in smooth}


def _products(floats: ir.Model, target: Target, excluded: frozenset[str]) -> dict[str, str]:
    """8-bit products, by first output name, each with the float tensor it reads."""
    found = find(floats, target, excluded)
    inputs = set(found.inputs)
    return {
        key(node): str(node.inputs[0].name)
        for node in floats.graph
        if key(node) in found.int8
        and node.op_type in ("Gemm", "MatMul")
        and node.inputs[0] is not None
        and node.inputs[0].name in inputs
    }
