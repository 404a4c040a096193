"""layer, calibration samples -> share of its 16-bit pair sums that would saturate on x86 without VNNI.

    s = a0 w0 + a1 w1 with a in 0..255 and w in -127..127;  `vpmaddubsw` clips s to [-32768, 32767]

The inner axis of a product is cut in pairs from 0; that of a convolution runs over channels first, because the runtime
computes 8-bit convolutions channels-last. `affine.pair_safe_scale` widens the scale of those output channels alone in
which a pair could saturate on some input; what it spares a model is counted here on inputs that the model really sees,
with the codes that full-range scales would give. Whether any pair of the written codes could saturate needs no data.

Source: Intel intrinsics guide, `_mm256_maddubs_epi16`; MLAS packs the inner axis in groups of four from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress import model as models
from deploycompress.calibration.gram import LayerInput
from deploycompress.calibration.taps import tap
from deploycompress.quantization.affine import PAIR_LIMIT, Grid, largest_pair_sums, quantize
from deploycompress.quantization.candidates import WEIGHTED, constant, is_depthwise, key
from deploycompress.quantization.spec import QuantPlan
from deploycompress.quantization.writer import float_weight, weight_codes
from deploycompress.runtime.session import Feed, Session, SessionConfig

_ROWS = 64  # of a sample and a layer, evenly spread
_BLOCK = 1 << 22  # pair sums held at a time: 16 MiB
_WEIGHT_INPUT = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "MatMulInteger": 1}


@dataclass(frozen=True)
class LayerSaturation:
    """One 8-bit layer with full-range weights.

    Attributes:
        node: Name of its first output.
        share: Of its pair sums that saturate, over the samples looked at.
        channels_at_risk: Output channels with a pair that saturates on some input.
        channels: Output channels.
    """

    node: str
    share: float
    channels_at_risk: int
    channels: int


@dataclass(frozen=True)
class Saturation:
    """What 16-bit pair sums would cost, and whether the written file is free of them.

    Attributes:
        layers: Every 8-bit layer with weights, in order of the graph.
        unsafe: Output channels of the written file with a pair of codes that could saturate, by layer.
        samples: Samples looked at.
    """

    layers: tuple[LayerSaturation, ...]
    unsafe: dict[str, int]
    samples: int

    @property
    def at_risk(self) -> tuple[LayerSaturation, ...]:
        """Layers in which a pair could saturate with full-range weights, worst first."""
        risky = (layer for layer in self.layers if layer.channels_at_risk)
        return tuple(sorted(risky, key=lambda layer: -layer.share))

    @property
    def sentence(self) -> str:
        """One line for a verdict."""
        left = f"{sum(self.unsafe.values())} output channels of the file still can" if self.unsafe else "none can now"
        if not self.at_risk:
            return f"no pair sum could saturate 16 bits with full-range weights; {left}"
        worst = self.at_risk[0]
        return (
            f"with full-range weights {len(self.at_risk)} of {len(self.layers)} layers could saturate 16-bit pair sums "
            f"(worst: {worst.node}, {worst.share:.2%} of them on {self.samples} samples); {left}"
        )


def saturation(
    floats: ir.Model, plan: QuantPlan, written: ir.Model, feeds: Iterable[Feed], config: SessionConfig | None = None
) -> Saturation:
    """The pair sums of every 8-bit layer of a static plan with uint8 activations.

    Args:
        floats: The float graph that was planned.
        plan: The plan.
        written: The quantized graph.
        feeds: Samples to look at; a few say enough.
        config: How the float graph is run.
    """
    layers = list(_layers(floats, plan))
    counts = {layer.node: np.zeros(2, np.int64) for layer in layers}
    copy, taps = tap(
        floats, [name for name in dict.fromkeys(layer.rows.tensor for layer in layers) if _made(floats, name)]
    )
    session = Session(models.serialize(copy), config, weights_dir=models.weights_dir(floats))
    samples = 0
    for feed in feeds:
        samples += 1
        outputs = session.run(feed, [tapped.output for tapped in taps.values()] or None)
        for layer in layers:
            tapped = taps.get(layer.rows.tensor)
            values = feed[layer.rows.tensor] if tapped is None else outputs[tapped.output]
            counts[layer.node] += layer.saturating(np.asarray(values))
    shares = {name: float(found[0] / max(1, found[1])) for name, found in counts.items()}
    return Saturation(
        tuple(
            LayerSaturation(layer.node, shares[layer.node], layer.channels_at_risk, len(layer.codes))
            for layer in layers
        ),
        unsafe_channels(written),
        samples,
    )


def unsafe_channels(model: ir.Model) -> dict[str, int]:
    """Output channels of a quantized graph with a pair of codes that could saturate, by first output of the layer.

    Layers whose codes are not int8 and depthwise convolutions have none.
    """
    found = {}
    for node in model.graph.all_nodes():
        codes = _stored_codes(node)
        if codes is None:
            continue
        risky = int((largest_pair_sums(codes, depthwise=is_depthwise(node, codes.shape)) > PAIR_LIMIT).sum())
        if risky:
            found[key(node)] = risky
    return found


@dataclass(frozen=True)
class _Layer:
    """A layer with full-range codes [O, K] in the order of the kernel, and its input."""

    node: str
    rows: LayerInput
    grid: Grid
    codes: NDArray[np.int8]
    channels_at_risk: int

    def saturating(self, values: NDArray[np.floating]) -> NDArray[np.int64]:
        """(pair sums that saturate, pair sums) of one input."""
        found = np.zeros(2, np.int64)
        groups = self.rows.groups
        weights = self.codes.reshape(groups, len(self.codes) // groups, -1)
        for block in self.rows.rows(values[:1], _ROWS):
            inputs = quantize(_kernel_order(block, self.rows), self.grid).astype(np.int32)
            for rows, weight in zip(inputs, weights, strict=True):
                found += _count(rows, weight.astype(np.int32)) if self.channels_at_risk else (0, _pairs(rows, weight))
        return found


def _layers(floats: ir.Model, plan: QuantPlan) -> Iterator[_Layer]:
    full_range = replace(plan, pair_safe=False)
    for node in floats.graph:
        planned = plan.nodes.get(key(node))
        rows = LayerInput.of(node) if node.op_type in WEIGHTED else None
        if planned is None or planned.form != "int8" or rows is None:
            continue
        to = plan.activations[rows.tensor].grid
        if to.dtype != "uint8":
            continue
        weight, axis = float_weight(node)
        depthwise = is_depthwise(node, weight.shape)
        codes = np.moveaxis(weight_codes(weight, axis, full_range, depthwise=depthwise).codes, axis, 0).astype(np.int8)
        at_risk = int((largest_pair_sums(codes, depthwise=depthwise) > PAIR_LIMIT).sum())
        ordered = np.moveaxis(codes, 1, -1) if codes.ndim > 2 else codes
        yield _Layer(key(node), rows, to, ordered.reshape(len(codes), -1), at_risk)


def _count(rows: NDArray[np.int32], weight: NDArray[np.int32]) -> NDArray[np.int64]:
    """(saturating, all) pair sums of input codes [R, K] and weight codes [O, K]; only pairs that can are computed."""
    inputs = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2))).reshape(len(rows), -1, 2)
    pairs = np.pad(weight, ((0, 0), (0, weight.shape[1] % 2))).reshape(len(weight), -1, 2)
    output, pair = np.nonzero(np.abs(pairs.sum(axis=2)) > PAIR_LIMIT)
    found, step = 0, max(1, _BLOCK // max(1, len(rows)))
    for start in range(0, len(output), step):
        taken = slice(start, start + step)
        sums = (inputs[:, pair[taken]] * pairs[output[taken], pair[taken]]).sum(axis=2)
        found += int(np.count_nonzero((sums > np.iinfo(np.int16).max) | (sums < np.iinfo(np.int16).min)))
    return np.array([found, _pairs(rows, weight)], np.int64)


def _pairs(rows: NDArray[np.generic], weight: NDArray[np.generic]) -> int:
    return len(rows) * len(weight) * ((int(weight.shape[1]) + 1) // 2)


def _kernel_order(rows: NDArray[np.float64], layer: LayerInput) -> NDArray[np.float64]:
    """Rows [groups, R, channels x kernel] of a convolution as [groups, R, kernel x channels]."""
    if layer.patches is None:
        return rows
    positions = int(np.prod(layer.patches.kernel))
    apart = rows.reshape(*rows.shape[:2], -1, positions)
    return np.moveaxis(apart, 2, 3).reshape(rows.shape)


def _made(model: ir.Model, name: str) -> bool:
    return all(value.name != name for value in model.graph.inputs)


def _stored_codes(node: ir.Node) -> NDArray[np.int8] | None:
    """int8 codes [O, ...] that a layer of a quantized graph holds, or None."""
    if node.op_type in WEIGHTED and len(node.inputs) > 1 and node.inputs[1] is not None:
        producer = node.inputs[1].producer()
        stored = producer.inputs[0] if producer is not None and producer.op_type == "DequantizeLinear" else None
    elif node.op_type in _WEIGHT_INPUT:
        stored = node.inputs[_WEIGHT_INPUT[node.op_type]]
    else:
        return None
    tensor = constant(stored)
    if tensor is None or tensor.dtype != ir.DataType.INT8 or len(tensor.shape) < 2:
        return None
    codes: NDArray[np.int8] = tensor.numpy()
    if node.op_type in ("Conv", "QLinearConv"):
        return codes
    return codes if node.attributes.get_int("transB", 0) else np.moveaxis(codes, -1, 0)
