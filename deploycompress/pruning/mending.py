"""model, its cut form, samples -> the cut form with every layer behind a cut refitted, where that helps (see `repair`).

Layers are taken in order, in at most `_PASSES` bundles; each bundle is refitted on what the model gives after the
bundles before it, so that a layer makes good what the layers before it got wrong as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress.calibration import Gram, LayerInput, collect
from deploycompress.passes import graph as g
from deploycompress.pruning.consumers import as_matrix, as_weight, feature_axis
from deploycompress.pruning.removal import Masks
from deploycompress.pruning.repair import Repair, repaired
from deploycompress.pruning.side_by_side import joined
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Feed, SessionConfig

ROWS_OF_A_FEED = 2048  # spread over each: neighbouring places of an image say nearly the same
_PASSES = 16
_WIDEST = 8192  # features before and after together: a Gram matrix of 512 MiB


@dataclass(frozen=True)
class LayerRepair:
    """What became of one layer behind a cut.

    Attributes:
        layer: Name of its output.
        is_kept: Whether it has new weights.
        reason: Why, with the share of its output's energy that is wrong on held-out samples before and after.
    """

    layer: str
    is_kept: bool
    reason: str


def mend(
    before: ir.Model,
    after: ir.Model,
    kept: Masks,
    fit: Iterable[Feed],
    held_out: Iterable[Feed],
    *,
    weights_dir: Path | None = None,
    config: SessionConfig | None = None,
    track: Track = silent,
) -> tuple[ir.Model, tuple[LayerRepair, ...]]:
    """A copy of `after` with repaired weights, and what became of each layer whose input was cut.

    Args:
        before: The original model.
        after: What `remove` made of it.
        kept: What is kept of its values.
        fit: Samples that weights are fitted on, re-iterable.
        held_out: Others, that decide.
        weights_dir: Folder of the external data, where the models have any.
        config: How sessions are opened.
        track: Shows progress.
    """
    mended, outcomes = after.clone(), list[LayerRepair]()
    layers = []
    for node in before.graph:
        rows = _cut_rows(node, kept)
        if rows is None:
            continue
        if rows.features * 2 > _WIDEST:
            outcomes.append(LayerRepair(g.label(node), False, f"{rows.features} features are too many to refit"))
        else:
            layers.append((node, rows))
    for bundle in track(_bundles(layers), "repairing"):
        axes = {rows.tensor: 1 if node.op_type == "Conv" else -1 for node, rows in bundle}
        whole, names = joined(before, mended, axes)
        twins = {node.outputs[0].name: node for node in mended.graph if node.outputs}
        pairs = {node: _joint(rows, names, twins[node.outputs[0].name]) for node, rows in bundle}
        wanted = list(pairs.values())
        moments = [
            collect(
                whole, [], feeds, weights_dir=weights_dir, config=config, grams=wanted, gram_rows=ROWS_OF_A_FEED
            ).grams
            for feeds in (fit, held_out)
        ]
        for node, rows in pairs.items():
            twin = twins[node.outputs[0].name]
            outcomes.append(refit(mended, node, twin, kept, *(grams[rows] for grams in moments)))
    return mended, tuple(outcomes)


def _cut_rows(node: ir.Node, kept: Masks) -> LayerInput | None:
    """What a layer multiplies, where its input lost features."""
    axis = feature_axis(node)
    if axis is None or node.inputs[1] is None:
        return None
    cut = kept.get(node.inputs[1].name or "")
    return LayerInput.of(node) if cut is not None and not cut[axis].all() else None


def _bundles(layers: Sequence[tuple[ir.Node, LayerInput]]) -> list[list[tuple[ir.Node, LayerInput]]]:
    size = max(1, -(-len(layers) // _PASSES))
    return [list(layers[start : start + size]) for start in range(0, len(layers), size)]


def _joint(rows: LayerInput, names: Mapping[str, str], twin: ir.Node) -> LayerInput:
    left = LayerInput.of(twin)
    assert left is not None
    return replace(rows, tensor=names[rows.tensor], features=rows.features + left.features)


def refit(model: ir.Model, node: ir.Node, twin: ir.Node, kept: Masks, fit: Gram, held_out: Gram) -> LayerRepair:
    """Gives `twin` of `model` the weights that come nearest to what `node` gave.

    Args:
        model: The cut model.
        node: A layer of the original.
        twin: What became of it.
        kept: What is kept of the original's values.
        fit: Moments of what both read, side by side.
        held_out: The same of other samples, that decide.
    """
    name = g.label(node)
    old, weight = node.inputs[1], twin.inputs[1]
    assert old is not None
    assert weight is not None
    whole = as_matrix(node, g.array(old))
    outputs = kept[old.name or ""][0 if node.op_type == "Conv" else 1 - (feature_axis(node) or 0)]
    data = g.array(weight)
    assert data is not None
    left = as_matrix(twin, data)
    found = repaired(whole[:, outputs], left, fit, held_out, has_bias=_may_shift(twin))
    if found is None:
        return LayerRepair(name, False, "no new weights are better on held-out samples")
    g.set_weight(model, twin, 1, f"{name}_weight", as_weight(twin, found.weight, data))
    if _may_shift(twin):
        bias = g.array(g.input_at(twin, 2))
        shifted = found.shift if bias is None else bias.astype(np.float64) + found.shift
        g.set_weight(model, twin, 2, f"{name}_bias", shifted.astype(data.dtype))
    return LayerRepair(name, True, _said(found))


def _may_shift(node: ir.Node) -> bool:
    """Whether the layer has a bias, or room for one, that is a vector added as it is."""
    bias = g.input_at(node, 2)
    plain = g.float_attribute(node, "alpha", 1) == g.float_attribute(node, "beta", 1) == 1
    room = bias is None or (g.array(bias) is not None and len(bias.shape or ()) == 1)
    return node.op_type in ("Conv", "Gemm") and plain and room


def _said(found: Repair) -> str:
    before, after = 100 * found.error_before, 100 * found.error_after
    return f"{before:.2f} % of its output's energy was wrong, now {after:.2f} %"
