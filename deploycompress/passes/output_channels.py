"""a linear node y = W x + b -> the same node with y' = s * y + t, one s and t for each output channel.

Output channels lie along axis 0 of a Conv weight [out, in/group, ...]; along axis 1 of a ConvTranspose weight
[in, out/group, ...], the groups one after the other; along the last axis of a Gemm weight [in, out], or the first of
[out, in] with transB=1.

Source: ONNX operators Conv, ConvTranspose, Gemm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g

_LINEAR = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True)
class Linear:
    """A Conv, ConvTranspose or Gemm with constant weights that one node alone reads.

    Attributes:
        node: The linear node.
        weight: Its weight.
        bias: Its bias as one float64 value per output channel (zeros where there is none).
        channels: Number of output channels.
    """

    node: ir.Node
    weight: np.ndarray
    bias: np.ndarray
    channels: int

    @classmethod
    def before(cls, reader: ir.Node, value: ir.Value | None) -> Linear | str:
        """The linear node that makes `value`, or the reason it cannot take in its only reader."""
        producer = None if value is None else value.producer()
        if value is None or producer is None or not g.is_op(producer, *_LINEAR):
            made_by = producer.op_type if producer is not None else "a graph input or initializer"
            return f"its input comes from {made_by}, not from Conv, ConvTranspose or Gemm"
        if producer.graph is not reader.graph:
            return f"the {producer.op_type} before it is outside this control-flow body"
        if g.sole_user(value) is not reader:
            return f"the {producer.op_type} before it has other users"
        weight_value, bias_value = g.input_at(producer, 1), g.input_at(producer, 2)
        weight = g.array(weight_value)
        if weight is None or weight_value is None:
            return g.why_not_constant("weight", weight_value)
        if g.shared(weight_value):
            return f"weight {weight_value.name!r} is shared with {g.shared(weight_value)} other uses"
        if weight.dtype.name not in ("float16", "float32", "float64"):
            return f"weight {weight_value.name!r} is {weight.dtype.name}"
        channels = _channels(producer, weight)
        bias = np.zeros(channels)
        if bias_value is not None:
            data = g.array(bias_value)
            if data is None:
                return g.why_not_constant("bias", bias_value)
            if data.size not in (1, channels) or (data.ndim > 0 and data.shape[-1] != data.size):
                return f"bias {bias_value.name!r} of shape {data.shape} is not one value per output channel"
            bias = np.broadcast_to(data.reshape(-1), (channels,)).astype(np.float64)
        if producer.op_type == "Gemm":
            bias = bias * g.float_attribute(producer, "beta", 1.0)
        return cls(producer, weight, bias, channels)


def rescale(model: ir.Model, linear: Linear, scale: np.ndarray, shift: np.ndarray) -> str | None:
    """Writes y' = scale * y + shift (float64, [channels] each) into the node; or says why it cannot."""
    node, weight = linear.node, linear.weight
    with np.errstate(over="ignore", invalid="ignore"):
        new_weight = _scaled(node, weight, scale).astype(weight.dtype)
        new_bias = (scale * linear.bias + shift).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return f"the folded weights overflow {weight.dtype.name}"
    name = node.inputs[1].name if node.inputs[1] is not None else g.label(node)
    g.set_weight(model, node, 1, f"{name}_folded", new_weight)
    if np.any(new_bias) or g.input_at(node, 2) is not None:
        g.set_weight(model, node, 2, f"{name}_bias", new_bias)
    if node.op_type == "Gemm":
        node.attributes.pop("beta", None)
    return None


def _channels(node: ir.Node, weight: np.ndarray) -> int:
    shape: tuple[int, ...] = weight.shape
    if node.op_type == "ConvTranspose":
        return shape[1] * g.int_attribute(node, "group", 1)
    if node.op_type == "Gemm":
        return shape[0 if g.int_attribute(node, "transB", 0) else 1]
    return shape[0]


def _scaled(node: ir.Node, weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The weight with every output channel multiplied, in float64."""
    group = g.int_attribute(node, "group", 1)
    kernel = (1,) * (weight.ndim - 2)
    match node.op_type:
        case "Conv":
            factors = scale.reshape(-1, 1, *kernel)
        case "Gemm":
            factors = scale.reshape((-1, 1) if g.int_attribute(node, "transB", 0) else (1, -1))
        case _:
            by_group = scale.reshape(group, 1, weight.shape[1], *kernel)
            factors = np.broadcast_to(by_group, (group, weight.shape[0] // group, weight.shape[1], *kernel))
            factors = factors.reshape(weight.shape[0], weight.shape[1], *kernel)
    scaled: np.ndarray = weight.astype(np.float64) * factors
    return scaled
