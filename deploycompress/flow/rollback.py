"""quantized graph -> the one whose layers are float again where that is measured faster, conversions counted.

Every layer has a time in float and one in 8 bits, and a tensor between two layers of different form is converted. The
layers that stay in 8 bits are one side of a minimum cut (see `min_cut`), so that a single slow layer between two fast
ones stays where two conversions would cost more, and the first layers of a convolutional net, with their few channels
and large images, go back together. What the cut promises is then measured: the whole graph against the one before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.flow.draft import Draft
from deploycompress.flow.layer_times import LayerTimes, profiled, tagged, tags
from deploycompress.flow.making import Choice, Made
from deploycompress.flow.min_cut import SINK, SOURCE, Network
from deploycompress.measurement.compare import MIN_EFFECT, quick_compare
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.quantization.spec import FLOAT, QuantPlan
from deploycompress.runtime.session import Feed, Session, SessionConfig

_MARGIN = 0.05  # of the time in 8 bits: a layer that is faster float by less is within the noise of a profile
_LEAST_GAIN = 0.01  # of all kernels: less is not worth a larger file
_FASTEST_US_PER_ELEMENT = 2e-4  # of a conversion, where no profile shows one
_NEVER = float("inf")
_PATIENCE_S = 6.0
_EVERY = "no layer is faster in int8 than in float on this machine: int8 saves bytes alone; `optimize` is for speed"


@dataclass(frozen=True)
class RolledBack:
    """What measuring took back.

    Attributes:
        made: The graph to go on with.
        released: Layers that are float in it because they are faster, with the reason, by first output name.
        notes: What is to be known about it.
    """

    made: Made
    released: dict[str, Choice]
    notes: tuple[str, ...] = ()


def roll_back(drafted: Draft, made: Made, feed: Feed, config: SessionConfig) -> RolledBack:
    """Leaves layers float that are measured faster there, where the whole graph is then no slower.

    Args:
        drafted: Makes quantized graphs.
        made: The one that leaves float what the user excluded alone.
        feed: What is timed.
        config: How sessions are opened.
    """
    tag_of = tags(drafted.floats)
    before, after = profiled(tagged(drafted.floats, tag_of, floats=True), tagged(made.model, tag_of), feed, config)
    released, gain_us = Costs(drafted.floats, made.plan, before, after, tag_of).cheapest()
    total_us = sum(after.by_tag.values())
    nodes = made.plan.nodes.items()
    layers = {name for name, planned in nodes if planned.form == "int8" and planned.op_type in WEIGHTED}
    if not layers & released.keys() or gain_us < _LEAST_GAIN * total_us:
        return RolledBack(made, {})
    if layers <= released.keys():
        return RolledBack(made, {}, (_EVERY,))
    candidate = drafted.made(released)
    if not _pays(made, candidate, feed, config, gain_us / total_us):
        return RolledBack(made, {})
    return RolledBack(candidate, released)


def _pays(made: Made, candidate: Made, feed: Feed, config: SessionConfig, promised: float) -> bool:
    """Whether the candidate is faster; where noise hides the promised share, whether nothing speaks against it."""
    old, new = (
        Session(models.serialize(each.model), config, weights_dir=models.weights_dir(each.model))
        for each in (made, candidate)
    )
    found = quick_compare(old, new, feed)
    if found.verdict == "TOO NOISY":
        found = quick_compare(old, new, feed, budget_s=_PATIENCE_S)
    if found.verdict in ("FASTER", "SLOWER"):
        return found.verdict == "FASTER"
    return found.speedup >= 1 and (found.verdict == "TOO NOISY" or promised < 2 * MIN_EFFECT)


@dataclass(frozen=True)
class Costs:
    """What each layer costs in both forms, and each conversion between them.

    Attributes:
        floats: The float graph.
        plan: What is quantized.
        before: Times in float.
        after: Times in 8 bits.
        tag_of: Tag by node name.
    """

    floats: ir.Model
    plan: QuantPlan
    before: LayerTimes
    after: LayerTimes
    tag_of: dict[str, str]

    def cheapest(self) -> tuple[dict[str, Choice], float]:
        """The quantized layers that are better float, with the reason, by first output; and the microseconds saved."""
        network = Network()
        layers = dict(self._layers())
        for name, (float_us, int8_us) in layers.items():
            network.edge(SOURCE, name, float_us)
            network.edge(name, SINK, (1 - _MARGIN) * int8_us)
        for tensor in self.plan.activations:
            self._conversion(network, tensor, layers.keys())
        stay = network.source_side()
        back = {name: layers[name] for name in layers if name not in stay}
        gain = sum(int8_us - float_us for float_us, int8_us in back.values())
        return {name: Choice(FLOAT, _reason(*times)) for name, times in back.items()}, gain

    @cached_property
    def _tags(self) -> dict[str, str]:
        """Tag by first output."""
        return {key(node): self.tag_of[str(node.name)] for node in self.floats.graph}

    @cached_property
    def _values(self) -> dict[str, ir.Value]:
        graph = self.floats.graph
        return {str(value.name): value for value in (*graph.inputs, *(v for node in graph for v in node.outputs))}

    def _layers(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Microseconds (float, int8) of every node in 8 bits; a layer whose time is not known stays as it is."""
        for name, planned in self.plan.nodes.items():
            if planned.form != "int8" or name not in self._tags:
                continue
            float_us, int8_us = (times.by_tag.get(self._tags[name]) for times in (self.before, self.after))
            if planned.op_type in WEIGHTED and (float_us is None or int8_us is None):
                yield name, (_NEVER, 0.0)
            else:
                yield name, (float_us or 0.0, int8_us or 0.0)

    def _conversion(self, network: Network, tensor: str, layers: Collection[str]) -> None:
        """Adds what it costs where the maker of a tensor and a reader of it differ in form, once for all readers."""
        value = self._values.get(tensor)
        if value is None:
            return
        users = [key(node) for node in value.consumers()]
        readers = [name for name in users if name in layers]
        maker = next((n for n, p in self.plan.nodes.items() if n in layers and tensor in (n, p.absorbs)), None)
        if self.plan.activations[tensor].placement == "input":
            maker = None
        cost_us = self._cost_us(tensor, maker or next(iter(readers), ""))
        quantized, dequantized = ("quantized", tensor), ("dequantized", tensor)
        for name in readers:
            network.edge(name, quantized, _NEVER)
        network.edge(quantized, SINK if maker is None else maker, cost_us)
        if maker is not None:
            network.edge(maker, dequantized, cost_us)
            others = len(readers) < len(users) or value.is_graph_output()
            for end in [SINK] if others else readers:
                network.edge(dequantized, end, _NEVER)

    def _cost_us(self, tensor: str, near: str) -> float:
        """Microseconds of one conversion: as measured for this tensor, else by the number of elements near it."""
        conversions = self.after.conversions
        for name, (time_us, _) in conversions.items():
            if name.startswith((f"{tensor}_quantized/", f"{tensor}_dequantized/")):
                return time_us
        tag = self._tags.get(near, "")
        elements = max(times.elements.get(tag, 0) for times in (self.before, self.after))
        total_us, total = (sum(each[column] for each in conversions.values()) for column in (0, 1))
        return elements * max(total_us / total if total else 0.0, _FASTEST_US_PER_ELEMENT)


def _reason(float_us: float, int8_us: float) -> str:
    return f"measured: {float_us:.0f} us float, {int8_us:.0f} us int8 without the conversions that it needs"
