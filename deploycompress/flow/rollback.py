"""quantized graph -> the one whose first layers are float again, where the whole is then measured faster."""

from __future__ import annotations

from deploycompress import model as models
from deploycompress.flow.draft import Draft
from deploycompress.flow.making import Made
from deploycompress.flow.prefix import best_prefix, layer_times_us, tagged, tags
from deploycompress.measurement.compare import quick_compare
from deploycompress.quantization.candidates import WEIGHTED, key
from deploycompress.runtime.session import Feed, Session, SessionConfig


def roll_back(drafted: Draft, made: Made, feed: Feed, config: SessionConfig) -> tuple[Made, dict[str, str]]:
    """The graph to go on with, and the layers that are float in it because they are faster, with the reason.

    Args:
        drafted: Makes quantized graphs.
        made: The one that leaves float what the user excluded alone.
        feed: What is timed.
        config: How sessions are opened.
    """
    floats = drafted.floats
    tag_of = tags(floats)
    layers = {tag_of[str(node.name)]: key(node) for node in floats.graph if node.op_type in WEIGHTED}
    nodes = made.plan.nodes
    int8 = [tag for tag, name in layers.items() if name in nodes and nodes[name].form == "int8"]
    float_us = layer_times_us(tagged(floats, tag_of, tensors=True), feed, config)
    int8_us = layer_times_us(tagged(made.model, tag_of), feed, config)
    count = best_prefix(int8, float_us, int8_us)
    if count in (0, len(int8)):
        return made, {}
    released = {
        layers[tag]: f"measured: {float_us[tag]:.0f} us float, {int8_us[tag]:.0f} us int8, at the start of the net"
        for tag in int8[:count]
    }
    candidate = drafted.made(released)
    sessions = [
        Session(models.serialize(each.model), config, weights_dir=models.weights_dir(each.model))
        for each in (made, candidate)
    ]
    if quick_compare(sessions[0], sessions[1], feed).verdict != "FASTER":
        return made, {}
    return candidate, released
