"""quantized graph -> the one whose first layers are float again, where the whole is then measured faster."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.flow.making import Made, Maker
from deploycompress.flow.prefix import best_prefix, layer_times_us, tagged, tags
from deploycompress.measurement.compare import quick_compare
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.runtime.session import Feed, Session, SessionConfig


def roll_back(
    floats: ir.Model, maker: Maker, excluded: frozenset[str], made: Made, feed: Feed, config: SessionConfig
) -> tuple[Made, tuple[str, ...]]:
    """Leaves the first layers float where that is measured faster.

    Args:
        floats: The float graph; its node names are unique.
        maker: Quantizes it.
        excluded: First output names of nodes that are float already.
        made: What the maker gave for them.
        feed: What is timed.
        config: How sessions are opened.

    Returns:
        The graph to go on with, and the first output names of the layers that became float.
    """
    tag_of = tags(floats)
    layers = {tag_of[str(node.name)]: key(node) for node in floats.graph if node.op_type in WEIGHTED}
    nodes = made.plan.nodes
    int8 = [tag for tag, name in layers.items() if name in nodes and nodes[name].form == "int8"]
    float_us = layer_times_us(tagged(floats, tag_of, tensors=True), feed, config)
    int8_us = layer_times_us(tagged(made.model, tag_of), feed, config)
    count = best_prefix(int8, float_us, int8_us)
    if count in (0, len(int8)):
        return made, ()
    prefix = tuple(layers[tag] for tag in int8[:count])
    released = maker(excluded | frozenset(prefix))
    sessions = [
        Session(models.serialize(each.model), config, weights_dir=models.weights_dir(each.model))
        for each in (made, released)
    ]
    if quick_compare(sessions[0], sessions[1], feed).verdict != "FASTER":
        return made, ()
    reasons = {
        name: replace(
            released.plan.nodes[name],
            reason=f"measured: {float_us[tag]:.0f} us float, {int8_us[tag]:.0f} us int8, at the start of the net",
        )
        for tag, name in zip(int8, prefix, strict=False)
    }
    plan = replace(released.plan, nodes={**released.plan.nodes, **reasons})
    return replace(released, plan=plan), prefix
