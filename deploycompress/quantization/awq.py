"""weights that read one tensor, X^T X of it -> scale s of its channels: x / s,  s W  lose less when s W is rounded.

    s_j = rms(x_j)^r, normalized so that sqrt(max s * min s) = 1;  r = 0, 0.05, .. 0.95

Channels with large inputs get larger weights and so a smaller relative error. Of the grid of r the one is taken whose
output error, tr(D^T X^T X D) with D = W - Q(s W) / s, is least over all weights that read the tensor; r = 0 is rounding
to nearest. 1 / s goes into what makes the tensor (`smoothing`), so nothing is computed at run time; where it cannot,
the layers stay without, and their plan says so.

Source: Lin et al., AWQ, MLSys 2024 (arXiv:2306.00978), section 3.2; the magnitude here is the root mean square, which
the Gram matrix holds, where the paper takes the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.quantization.blocks import quantize_blocks
from deploycompress.quantization.candidates import key
from deploycompress.quantization.smoothing import Smoothing, sites, smooth
from deploycompress.quantization.spec import QuantPlan, WeightSpec
from deploycompress.quantization.writer import is_transposed, matrix

EXPONENTS = tuple(np.arange(20) / 20)
_LEAST_MAGNITUDE = 1e-4

Readers = tuple[tuple[str, WeightSpec], ...]
Scale = tuple[NDArray[np.float64], float]


def channel_scale(gram: NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    """The s [K] of one exponent."""
    magnitude = np.sqrt(np.diagonal(gram))
    mean = magnitude.mean()
    scale = np.maximum(magnitude / mean if mean > 0 else np.ones(len(gram)), _LEAST_MAGNITUDE) ** exponent
    normalized: NDArray[np.float64] = scale / np.sqrt(scale.max() * scale.min())
    return normalized


def best_scale(
    weights: Sequence[tuple[NDArray[np.floating], WeightSpec]], gram: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The s [K] with the least output error of all `weights` [K, N] that read a tensor, and its exponent."""
    best, least = (np.ones(len(gram)), 0.0), np.inf
    for exponent in EXPONENTS:
        scale = channel_scale(gram, exponent)[:, None]
        error = 0.0
        for weight, spec in weights:
            scaled = (weight * scale).astype(np.float32)
            difference = weight - quantize_blocks(scaled, spec).dequantize() / scale
            error += float(np.einsum("kn,kn->", difference, gram @ difference))
        if error < least:
            best, least = (scale[:, 0], float(exponent)), error
    return best


def rescaled(
    model: ir.Model, plan: QuantPlan, grams: Mapping[LayerInput, Gram], known: dict[Readers, Scale]
) -> tuple[ir.Model, dict[LayerInput, Gram], dict[str, str]]:
    """The float graph with the inputs of its weight-only layers rescaled; its outputs are the same up to rounding.

    Args:
        model: The float graph.
        plan: Which layers are weight-only, and how their weights are stored.
        grams: Second moments of their inputs.
        known: Scales found before for this model and these moments: those are not searched again, the rest is added.

    Returns:
        The graph; the second moments of what its layers read; and a sentence on each layer, by first output name.
    """
    specs = {name: p.weight for name, p in plan.nodes.items() if p.form == "weight-only" and p.weight is not None}
    nodes = {key(node): node for node in model.graph if key(node) in specs and node.op_type != "Gather"}
    found, refusals = sites(model, nodes)
    chosen: dict[str, Smoothing] = {}
    words: dict[str, str] = {}
    moved = dict(grams)
    for site in found:
        layers = {name: LayerInput.of(nodes[name]) for name in site.products if name in nodes}
        layer = next(iter(layers.values()), None)
        if layer is None or not grams.keys() >= set(layers.values()) or len(layers) < len(site.products):
            refusals[site.tensor] = "a layer that reads it is not stored in few bits"
            continue
        rounded = {name: replace(specs[name], rounding="nearest") for name in layers}
        readers = tuple(rounded.items())
        if readers not in known:
            weights = [(_matrix(nodes[name]), spec) for name, spec in readers]
            known[readers] = best_scale(weights, grams[layer].products[0])
        scale, exponent = known[readers]
        words |= dict.fromkeys(layers, f"input channels rescaled with exponent {exponent:.2f}")
        if exponent > 0.0:
            chosen[site.tensor] = Smoothing(scale, np.zeros(len(scale)))
            for each in layers.values():  # several where some read it through a Reshape
                if each is not None:
                    moved[each] = _divided(grams[each], scale)
    for name, node in nodes.items():
        tensor = str(node.inputs[0].name) if node.inputs[0] is not None else ""
        words.setdefault(name, f"not rescaled: {refusals.get(tensor, 'its input is an input of the model')}")
    return smooth(model, chosen) if chosen else model, moved, words


def _divided(gram: Gram, scale: NDArray[np.float64]) -> Gram:
    """The moments of x / s."""
    return Gram(gram.count, gram.sums / scale, gram.products / np.multiply.outer(scale, scale))


def _matrix(node: ir.Node) -> NDArray[np.floating]:
    weight = node.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    return matrix(weight.const_value, transposed=is_transposed(node))
