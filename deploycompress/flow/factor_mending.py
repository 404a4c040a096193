"""model, its factorized form, samples -> the form with every last factor fitted once more, on what it really reads.

A form was fitted on what the layer reads in the original. Behind other forms it reads something else: its last factor
V and the bias b are the least squares of what the layer gave, Y, on what the factors before it give now, Z (see
`pruning.repair`, with Y in the place of X W). In at most `_PASSES` bundles, in order, as `pruning.mending` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration import Gram, LayerInput, collect
from deploycompress.calibration.gram import Patches
from deploycompress.passes import graph as g
from deploycompress.pruning.mending import ROWS_OF_A_FEED
from deploycompress.pruning.repair import repaired
from deploycompress.pruning.side_by_side import joined
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Feed, SessionConfig

_PASSES = 16
Vector = NDArray[np.float64]


def mend(
    before: ir.Model,
    after: ir.Model,
    layers: Iterable[str],
    fit: Iterable[Feed],
    held_out: Iterable[Feed],
    *,
    weights_dir: Path | None,
    config: SessionConfig,
    track: Track,
) -> tuple[ir.Model, tuple[str, ...]]:
    """A copy of `after` with new last factors, and the layers for which they are better on held-out samples.

    Args:
        before: The original model.
        after: It with factors in place of some layers; outputs keep their names.
        layers: Names of the outputs of those layers.
        fit: Samples that weights are fitted on, re-iterable.
        held_out: Others, that decide.
        weights_dir: Folder of the external data, where the models have any.
        config: How sessions are opened.
        track: Shows progress.
    """
    mended, better = after.clone(), list[str]()
    wanted = set(layers)
    order = [g.label(node) for node in mended.graph if g.label(node) in wanted and _is_pointwise(node)]
    size = max(1, -(-len(order) // _PASSES))
    for start in track(range(0, len(order), size), "repairing"):
        nodes = {g.label(node): node for node in mended.graph}
        bundle = {name: nodes[name] for name in order[start : start + size]}
        axes = {name: 1 if node.op_type == "Conv" else -1 for name, node in bundle.items()}
        whole, names = joined(before, mended, axes, {name: _read(node) for name, node in bundle.items()})
        rows = {name: _rows(node, names[name]) for name, node in bundle.items()}
        found = [
            collect(
                whole,
                [],
                part,
                weights_dir=weights_dir,
                config=config,
                grams=list(rows.values()),
                gram_rows=ROWS_OF_A_FEED,
            ).grams
            for part in (fit, held_out)
        ]
        better += [name for name, node in bundle.items() if _refit(mended, node, rows[name], found)]
    return mended, tuple(better)


def _read(node: ir.Node) -> str:
    """The name of what a layer multiplies."""
    source = node.inputs[0]
    assert source is not None
    return str(source.name)


def _is_pointwise(node: ir.Node) -> bool:
    """Whether the last factor of a layer is one product at every place, with a bias that is a vector, or none."""
    weight, bias = g.array(g.input_at(node, 1)), g.input_at(node, 2)
    if weight is None or (bias is not None and (g.array(bias) is None or len(bias.shape or ()) != 1)):
        return False
    return node.op_type != "Conv" or weight[0, 0].size == 1


def _rows(node: ir.Node, tensor: str) -> LayerInput:
    """[Y, Z] at every place."""
    weight = g.array(node.inputs[1])
    assert weight is not None
    if node.op_type != "Conv":
        return LayerInput(tensor, sum(weight.shape))
    ones = (1,) * (weight.ndim - 2)
    return LayerInput(tensor, sum(weight.shape[:2]), patches=Patches(ones, ones, ones, (0,) * 2 * len(ones)))


def _refit(model: ir.Model, node: ir.Node, rows: LayerInput, moments: list[Mapping[LayerInput, Gram]]) -> bool:
    weight, bias = g.array(node.inputs[1]), g.array(g.input_at(node, 2))
    assert weight is not None
    last = weight.reshape(weight.shape[:2]).T if node.op_type == "Conv" else weight
    outputs = last.shape[1]
    added = np.zeros(outputs) if bias is None else bias.astype(np.float64)
    fit, held_out = (_less(grams[rows], added) for grams in moments)
    has_bias = node.op_type != "MatMul"
    found = repaired(np.eye(outputs), last.astype(np.float64), fit, held_out, has_bias=has_bias)
    if found is None:
        return False
    data = found.weight.T if node.op_type == "Conv" else found.weight
    name = g.label(node)
    g.set_weight(model, node, 1, f"{name}_weight", data.reshape(weight.shape).astype(weight.dtype))
    if has_bias:
        g.set_weight(model, node, 2, f"{name}_bias", (added + found.shift).astype(weight.dtype))
    return True


def _less(gram: Gram, bias: Vector) -> Gram:
    """The moments of [Y - bias, Z] from those of [Y, Z]."""
    moved = np.zeros(gram.sums.shape[1])
    moved[: len(bias)] = bias
    crossed = np.outer(gram.sums[0], moved)
    products = gram.products[0] - crossed - crossed.T + gram.count * np.outer(moved, moved)
    return Gram(gram.count, gram.sums - gram.count * moved, products[None])
