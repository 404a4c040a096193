"""times of the layers in both forms, and of the conversions between them -> the layers that are better float.

The layers that stay in 8 bits are one side of a minimum cut (see `min_cut`). A layer costs its kernel, and what changes
around it: the layout of the float convolutions that it leaves, an activation that no longer fuses into it. An edge
between two layers of different form costs the conversion of the tensor, and between two convolutions its way from one
layout into the other (NCHWc for float kernels, NHWC for 8-bit ones).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx_ir as ir

from deploycompress.flow.layer_times import LayerTimes, nearest
from deploycompress.flow.making import Choice
from deploycompress.flow.min_cut import SINK, SOURCE, Network
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.quantization.spec import FLOAT, QuantPlan

_MARGIN = 0.05  # of the time in 8 bits: a layer that is faster float by less is within the noise of a profile
_SAME = 0.25  # of the longer time: what differs by less is the same kernel on the same values
_FASTEST_US_PER_ELEMENT = 2e-4  # of a conversion, where no profile shows one
_NEVER = float("inf")


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
        """The quantized layers that are better float, with the reason, by first output; and the microseconds saved.

        What is saved counts the conversions that fall away and those that come.
        """
        layers = dict(self._layers())
        stay = self._network(layers, margin=_MARGIN).source_side()
        true = self._network(layers, margin=0.0)
        outside = {start for start, ends in true.capacities.items() if ends.get(SINK) == _NEVER}
        gain_us = true.cost(true.capacities.keys() - outside - {SINK}) - true.cost(stay)
        return {name: Choice(FLOAT, _reason(*times)) for name, times in layers.items() if name not in stay}, gain_us

    def _network(self, layers: Mapping[str, tuple[float, float]], *, margin: float) -> Network:
        """Cut through, it costs what a choice of forms costs; on the side of the source are those in 8 bits."""
        network = Network()
        for name, (float_us, int8_us) in layers.items():
            network.edge(SOURCE, name, float_us)
            network.edge(name, SINK, (1 - margin) * int8_us)
        for tensor in self.plan.activations:
            self._conversion(network, tensor, layers.keys())
        return network

    @cached_property
    def _nodes(self) -> dict[str, ir.Node]:
        """Node by first output."""
        return {key(node): node for node in self.floats.graph}

    @cached_property
    def _values(self) -> dict[str, ir.Value]:
        graph = self.floats.graph
        return {str(value.name): value for value in (*graph.inputs, *(v for node in graph for v in node.outputs))}

    def _tag(self, name: str) -> str:
        return self.tag_of[str(self._nodes[name].name)] if name in self._nodes else ""

    def _layers(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Microseconds (float, int8) of every node in 8 bits; a layer whose time is not known stays as it is."""
        beside = self._beside()
        for name, planned in self.plan.nodes.items():
            if planned.form != "int8" or name not in self._nodes:
                continue
            float_us, int8_us = (times.by_tag.get(self._tag(name)) for times in (self.before, self.after))
            if planned.op_type in WEIGHTED and (float_us is None or int8_us is None):
                yield name, (_NEVER, 0.0)
            else:
                more_float_us, more_int8_us = beside.get(name, (0.0, 0.0))
                yield name, ((float_us or 0.0) + more_float_us, (int8_us or 0.0) + more_int8_us)

    def _beside(self) -> dict[str, tuple[float, float]]:
        """Microseconds (float, int8), by layer, of the nodes around it that are not in 8 bits and cost more in one."""
        int8 = {name for name, planned in self.plan.nodes.items() if planned.form == "int8"}
        absorbed = {planned.absorbs for planned in self.plan.nodes.values()}
        found: dict[str, tuple[float, float]] = {}
        for name, node in self._nodes.items():
            times = tuple(each.by_tag.get(self._tag(name), 0.0) for each in (self.before, self.after))
            if name in int8 or name in absorbed or max(times) - min(times) <= _SAME * max(times):
                continue
            layer = nearest(node, lambda other: key(other) in int8 and other.op_type in WEIGHTED)
            if layer is not None:
                float_us, int8_us = found.get(key(layer), (0.0, 0.0))
                found[key(layer)] = (float_us + times[0], int8_us + times[1])
        return found

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
        if maker is not None and all("Conv" in self.plan.nodes[name].op_type for name in (maker, *readers)):
            cost_us += self._layout_us(maker)
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
        for name, (time_us, _) in self.after.conversions.items():
            if name.startswith((f"{tensor}_quantized/", f"{tensor}_dequantized/")):
                return time_us
        return self._elements(near) * max(_us_per_element(self.after.conversions), _FASTEST_US_PER_ELEMENT)

    def _layout_us(self, near: str) -> float:
        """Microseconds from the layout of 8-bit convolutions into that of float ones, by the elements of a layer."""
        return self._elements(near) * sum(_us_per_element(each.layouts) for each in (self.before, self.after))

    def _elements(self, name: str) -> int:
        return max(times.elements.get(self._tag(name), 0) for times in (self.before, self.after))


def _us_per_element(times: dict[str, tuple[float, int]]) -> float:
    total_us, elements = (sum(each[column] for each in times.values()) for column in (0, 1))
    return total_us / elements if elements else 0.0


def _reason(float_us: float, int8_us: float) -> str:
    return f"measured: {float_us:.0f} us float, {int8_us:.0f} us int8 without the conversions that it needs"
