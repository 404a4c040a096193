"""LN(x; g, b) = y,  y W + c   ==>   LN(x; g / s, (b - t) / s) = y',  y' (s W) + (c + t W),  s y' + t for others.

A few channels of a normalized activation are tens of times larger than the rest and hardly vary in sign: one grid for
the whole tensor spends its codes on them. Dividing each channel by s and moving its middle to zero hands part of the
range to the weights, which have a scale per output channel. In float nothing changes.

    s_j = max|y_j - t_j|^a / max|W_j|^(1-a)  (W over all products that read y),   t_j = (max y_j + min y_j) / 2

Producers are LayerNormalization, RMSNormalization and a Mul by a constant vector; the last two have no bias, so t = 0.
A residual reads s y': one Mul. Its t goes into the bias of the product that it is added to; where there is none, t = 0.

Source: Xiao et al., SmoothQuant, ICML 2023 (arXiv:2211.10438), equation 4; the shift: Wei et al., Outlier Suppression+,
EMNLP 2023 (arXiv:2304.09145), section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.passes import graph as g
from deploycompress.quantization.candidates import key
from deploycompress.quantization.writer import Writer, float_weight

_NORMS = ("LayerNormalization", "RMSNormalization")
_SMALLEST = 1e-5  # of the largest channel: what is below counts as that much
_ADDERS = ("Add", "Sum")


class Usage(NamedTuple):
    """One place where a value is read."""

    node: ir.Node
    idx: int


@dataclass(frozen=True)
class Site:
    """A tensor whose channels can be rescaled.

    Attributes:
        tensor: Name of the tensor.
        read: Name of what the first product reads: the tensor, or its rows.
        products: First output names of the products with constant weights that read it.
        weight_absmax: Largest magnitude of the weights of each channel [channels] over all of them.
        shifts: Whether a shift costs nothing: every reader takes it into a bias.
    """

    tensor: str
    read: str
    products: tuple[str, ...]
    weight_absmax: NDArray[np.float64]
    shifts: bool


@dataclass(frozen=True)
class Smoothing:
    """What becomes of the channels of one tensor, y' = (y - shift) / scale.

    Attributes:
        scale: [channels], positive.
        shift: [channels].
    """

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def sites(model: ir.Model, int8: Collection[str]) -> tuple[tuple[Site, ...], dict[str, str]]:
    """The tensors of the main graph that can be smoothed, and why others cannot, by tensor.

    Args:
        model: The float graph.
        int8: First output names of the products that will run in 8 bits.
    """
    found, refusals = [], {}
    for node in model.graph:
        tensor = node.outputs[0]
        products, others = _readers(tensor)
        if not any(key(product) in int8 for product in products):
            continue
        reason = _why_not(node, products)
        if reason:
            refusals[str(tensor.name)] = reason
            continue
        absmax = np.max([np.abs(_weight(product)).max(axis=1) for product in products], axis=0)
        shifts = (
            g.is_op(node, "LayerNormalization")
            and not tensor.is_graph_output()
            and all(g.is_op(product, "Gemm") for product in products)
            and all(_partner(use) is not None for use in others)
        )
        names = tuple(key(product) for product in products)
        found.append(Site(str(tensor.name), _read(products[0]), names, absmax.astype(np.float64), shifts))
    return tuple(found), refusals


def smoothing(site: Site, seen: TensorStatistics, alpha: float) -> Smoothing | None:
    """The rescaling of a site from what was seen of it; None where its channels are not known.

    Args:
        site: The tensor and its readers.
        seen: Statistics of the tensor with extremes of its channels.
        alpha: Share of the range that goes into the weights, 0 to 1.
    """
    low, high = seen.channel_low, seen.channel_high
    if low is None or high is None or low.shape != site.weight_absmax.shape:
        return None
    shift = (low + high) / 2 if site.shifts else np.zeros(low.shape)
    reach = np.maximum(high - shift, shift - low)
    scale = _floored(reach) ** alpha / _floored(site.weight_absmax) ** (1 - alpha)
    return Smoothing(scale / np.exp(np.log(scale).mean()), shift)


def smooth(model: ir.Model, chosen: Mapping[str, Smoothing]) -> ir.Model:
    """A copy of `model` with these tensors rescaled and its outputs unchanged up to rounding."""
    copy = model.clone()
    writer = Writer(copy.graph)
    for node in list(copy.graph):
        if key(node) in chosen:
            _apply(copy, writer, node, chosen[key(node)])
    return copy


def _apply(model: ir.Model, writer: Writer, node: ir.Node, by: Smoothing) -> None:
    tensor = node.outputs[0]
    products, others = _readers(tensor)
    for product in products:
        weight = _weight(product).astype(np.float64)
        if by.shift.any():
            _add_to_bias(model, product, by.shift @ weight)
        scaled = weight * by.scale[:, None]
        stored = scaled.T if g.int_attribute(product, "transB", 0) else scaled
        g.set_weight(model, product, 1, f"{key(product)}_smooth_weight", stored.astype(np.float32))
    if others or tensor.is_graph_output():
        _restore(model, writer, node, by, others)
    place = 1 if g.is_op(node, *_NORMS) else _vector_index(node)
    gain = g.array(node.inputs[place])
    assert gain is not None
    g.set_weight(model, node, place, f"{tensor.name}_gain", (gain / by.scale).astype(np.float32))
    bias = g.array(g.input_at(node, 2)) if g.is_op(node, "LayerNormalization") else None
    if bias is not None or by.shift.any():
        moved = (0.0 if bias is None else bias.astype(np.float64)) - by.shift
        g.set_weight(model, node, 2, f"{tensor.name}_bias", (moved / by.scale).astype(np.float32))


def _restore(model: ir.Model, writer: Writer, node: ir.Node, by: Smoothing, others: list[Usage]) -> None:
    """Gives the other readers s y'; the products they add it to take t."""
    tensor, name = node.outputs[0], str(node.outputs[0].name)
    scale = writer.constant(f"{name}_channels", by.scale.astype(np.float32))
    made = writer.node("Mul", [tensor, scale], [f"{name}_whole"], after=node, dtype=tensor.dtype, shape=tensor.shape)
    whole = made.outputs[0]
    for use in others:
        partner = _partner(use)
        if by.shift.any() and partner is not None:
            _add_to_bias(model, partner, by.shift)
        use.node.replace_input_with(use.idx, whole)
    if tensor.is_graph_output():
        for position, output in enumerate(model.graph.outputs):
            if output is tensor:
                model.graph.outputs[position] = whole
        tensor.name, whole.name = writer.name(f"{name}_smoothed"), name


def _readers(tensor: ir.Value) -> tuple[list[ir.Node], list[Usage]]:
    """Products with constant weights that read `tensor` along its last axis, and all other uses."""
    products: list[ir.Node] = []
    others: list[Usage] = []
    for use in (Usage(*found) for found in tensor.uses()):
        through = _through_rows(use)
        if _is_product(use):
            products.append(use.node)
        elif through:
            products += through
        else:
            others.append(use)
    return products, others


def _through_rows(use: Usage) -> list[ir.Node]:
    """The products behind a Reshape to rows as long as their weights take, where they alone read it.

    A site has one gain for each of those features, which is the length of its last axis: the Reshape keeps that axis.
    """
    node = use.node
    target = g.array(node.inputs[1]) if g.is_op(node, "Reshape") and use.idx == 0 else None
    behind = [Usage(*found) for found in node.outputs[0].uses()]
    if target is None or node.outputs[0].is_graph_output() or not all(map(_is_product, behind)):
        return []
    kept = all(_weight(reader.node).shape[0] == target[-1] for reader in behind)
    return [reader.node for reader in behind] if kept else []


def _is_product(use: Usage) -> bool:
    if not g.is_op(use.node, "Gemm", "MatMul"):
        return False
    tensor = g.constant(use.node.inputs[1])
    return tensor is not None and len(tensor.shape) == 2 and tensor.dtype == ir.DataType.FLOAT and _plain(use.node)


def _plain(node: ir.Node) -> bool:
    """Whether a Gemm is x W + c with a constant c for each column."""
    if node.op_type == "MatMul":
        return True
    factors = (g.float_attribute(node, name, 1.0) for name in ("alpha", "beta"))
    if g.int_attribute(node, "transA", 0) or any(factor != 1.0 for factor in factors):
        return False
    bias = g.array(g.input_at(node, 2))
    return g.input_at(node, 2) is None or (bias is not None and bias.size == math.prod(bias.shape[-1:]))


def _partner(use: Usage) -> ir.Node | None:
    """The product that the tensor is added to, where nothing else reads its result."""
    if not g.is_op(use.node, *_ADDERS):
        return None
    for index, value in enumerate(use.node.inputs):
        producer = None if value is None or index == use.idx else value.producer()
        if producer is None or value is None or not g.is_op(producer, "Gemm") or g.sole_user(value) is not use.node:
            continue
        constant = g.constant(producer.inputs[1]) is not None and _plain(producer)
        if constant and _weight(producer).shape[1] > 1:  # one column stands for all, and cannot shift each its way
            return producer
    return None


def _why_not(node: ir.Node, products: list[ir.Node]) -> str:
    if node.graph is None or not (g.is_op(node, *_NORMS) or g.is_op(node, "Mul")):
        return f"{node.op_type} has no gain that could take a scale"
    if g.is_op(node, *_NORMS):
        axis, shape = g.int_attribute(node, "axis", -1), node.outputs[0].shape
        if axis != -1 and (shape is None or axis != len(shape) - 1):
            return "it normalizes more than the last axis"
        for index, role in ((1, "gain"), (2, "bias")):
            value = g.input_at(node, index)
            if value is not None and g.constant(value) is None:
                return g.why_not_constant(role, value)
        gain = g.constant(node.inputs[1])
    else:
        place = _vector_index(node)
        gain = None if place < 0 else g.constant(node.inputs[place])
    if gain is None:
        return "it does not multiply by one constant a channel"
    channels = {_weight(product).shape[0] for product in products}
    if gain.dtype != ir.DataType.FLOAT or channels != {gain.size}:
        return f"its gain is {gain.dtype.name.lower()}{list(gain.shape)}, not one float32 for each channel"
    return ""


def _vector_index(node: ir.Node) -> int:
    """Which input of a Mul is a constant vector; -1 for none."""
    found = [
        i for i, value in enumerate(node.inputs) if (t := g.constant(value)) is not None and len(t.shape) == 1 < t.size
    ]
    return found[0] if len(found) == 1 else -1


def _read(product: ir.Node) -> str:
    value = product.inputs[0]
    return "" if value is None else str(value.name)


def _weight(product: ir.Node) -> NDArray[np.float32]:
    """[channels, outputs]."""
    return float_weight(product)[0]


def _add_to_bias(model: ir.Model, product: ir.Node, amount: NDArray[np.float64]) -> None:
    old = g.array(g.input_at(product, 2))
    total = amount if old is None else amount + old.astype(np.float64).ravel()
    g.set_weight(model, product, 2, f"{key(product)}_bias", total.astype(np.float32))


def _floored(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` with a floor, so that a channel that is never used divides nothing."""
    floor = max(_SMALLEST * float(values.max(initial=0.0)), float(np.finfo(np.float32).tiny))
    return np.maximum(values, np.float64(floor))
