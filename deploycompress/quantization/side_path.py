"""h W + c + r   ==>   h W' + c + r + h[:, j] W[j, :],   W' = W with rows j zeroed: outlier channels stay float.

In trained encoders one or two of the thousand channels behind a GELU fire at 20 where all others stay below 6, for the
[CLS] token alone. A grid that holds them wastes two bits on everything else, one that clips them destroys that token.
A Gather of 1 to 4 columns and a product of as many rows, added where the residual is added, take them out of the 8-bit
product; its grid then spans the rest. In float nothing changes.

Source: Dettmers et al., "LLM.int8()", NeurIPS 2022 (arXiv:2208.07339), section 3.2, with columns known in advance.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from deploycompress.calibration.histogram import Histogram
from deploycompress.calibration.statistics import Statistics, TensorStatistics
from deploycompress.passes import graph as g
from deploycompress.quantization.candidates import FEW_FEATURES, constant, key
from deploycompress.quantization.writer import Writer, float_weight

Channels = tuple[int, ...]

_RANK = 12  # the channel that stands for the rest: up to four outliers and some that are merely large lie above it
_FACTOR = 1.6  # less than that gains under a bit of the grid and costs three nodes


def sites(model: ir.Model, int8: Collection[str]) -> dict[str, str]:
    """Products that can have a side path, each with the tensor it reads, by first output name.

    Args:
        model: The float graph.
        int8: First output names of the products that will run in 8 bits.
    """
    found = {}
    for node in model.graph:
        value = node.inputs[0] if key(node) in int8 and g.is_op(node, "Gemm", "MatMul") else None
        if value is not None and value.producer() is not None and not node.outputs[0].is_graph_output():
            found[key(node)] = str(value.name)
    return found


def outliers(seen: TensorStatistics) -> Channels:
    """The 1 to 4 channels that reach much further than the rest; none where there are more, or the rest is unknown."""
    absmax = seen.channel_absmax
    if absmax is None or absmax.size < 4 * _RANK:
        return ()
    order = np.argsort(-absmax, kind="stable")
    far = order[absmax[order] > _FACTOR * absmax[order[_RANK - 1]]]
    return tuple(sorted(int(channel) for channel in far)) if len(far) <= FEW_FEATURES else ()


def rest(seen: TensorStatistics, channels: Channels) -> TensorStatistics:
    """What was seen of the other channels; elements of `channels` within their range stay in the histogram."""
    assert seen.channel_low is not None
    assert seen.channel_high is not None
    kept = np.ones(seen.channel_low.size, bool)
    kept[list(channels)] = False
    low, high = float(seen.channel_low[kept].min()), float(seen.channel_high[kept].max())
    centers, half = seen.histogram.centers, seen.histogram.bound / seen.histogram.counts.size
    within = (centers + half >= low) & (centers - half <= high)
    histogram = Histogram(seen.histogram.exponent, np.where(within, seen.histogram.counts, 0))
    return replace(seen, low=low, high=high, histogram=histogram)


def without(seen: Statistics, sides: Mapping[str, Channels]) -> Statistics:
    """The statistics without the channels that a float product takes, by tensor."""
    known = {name: channels for name, channels in sides.items() if name in seen}
    narrowed = {name: rest(seen[name], channels) for name, channels in known.items()}
    return replace(seen, tensors={**seen.tensors, **narrowed}) if narrowed else seen


def side_path(model: ir.Model, chosen: Mapping[str, Channels]) -> ir.Model:
    """A copy of `model` in which these products leave these channels to a float product beside them."""
    copy = model.clone()
    writer = Writer(copy.graph)
    columns: dict[tuple[ir.Value, Channels], ir.Value] = {}
    for node in list(copy.graph):
        if key(node) in chosen:
            _write(copy, writer, node, chosen[key(node)], columns)
    return copy


def _write(
    model: ir.Model,
    writer: Writer,
    node: ir.Node,
    channels: Channels,
    columns: dict[tuple[ir.Value, Channels], ir.Value],
) -> None:
    source, out = node.inputs[0], node.outputs[0]
    assert source is not None
    weight = float_weight(node)[0].copy()
    rows = weight[list(channels)]
    weight[list(channels)] = 0.0
    stored = weight.T if g.int_attribute(node, "transB", 0) else weight
    g.set_weight(model, node, 1, f"{out.name}_rest", stored)
    if (source, channels) not in columns:
        index = writer.constant(f"{source.name}_outliers", np.asarray(channels, np.int64))
        picked = writer.node(
            "Gather", [source, index], [f"{source.name}_outlying"], after=source.producer(), attributes={"axis": -1}
        )
        columns[source, channels] = picked.outputs[0]
    kept = writer.constant(f"{out.name}_outlier_rows", rows)
    side = writer.node("MatMul", [columns[source, channels], kept], [f"{out.name}_side"], after=node).outputs[0]
    side.type, side.shape = out.type, out.shape
    assert side.producer() is not None
    _add(writer, out, side)


def _add(writer: Writer, out: ir.Value, side: ir.Value) -> None:
    """Adds `side` where the residual is added to `out`; else right behind it."""
    adder = g.sole_user(out)
    if adder is not None and adder.graph is writer.graph and _adds_alike(adder, out):
        adder.op_type = "Sum"
        adder.resize_inputs(len(adder.inputs) + 1)
        adder.replace_input_with(len(adder.inputs) - 1, side)
        return
    uses = list(out.uses())
    total = writer.node("Sum", [out, side], [f"{out.name}_whole"], after=side.producer()).outputs[0]
    total.type, total.shape = out.type, out.shape
    for use in uses:
        use.node.replace_input_with(use.idx, total)


def _adds_alike(adder: ir.Node, out: ir.Value) -> bool:
    """Whether an adder can take one more term of the shape of `out`: it adds a computed tensor, not a bias."""
    return g.is_op(adder, "Add", "Sum") and all(value is out or constant(value) is None for value in adder.inputs)
