"""Conv | ConvTranspose | Gemm -> BatchNormalization ==> Conv | ConvTranspose | Gemm.

y = gamma (W x + b - mean) / sqrt(var + epsilon) + beta, so with s = gamma / sqrt(var + epsilon):
W' = s W (along the output channels), b' = s (b - mean) + beta. Computed in float64, rounded once.

Source: ONNX operator BatchNormalization (opset 7-15), inference form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.base import Findings, PassResult
from deploycompress.passes.output_channels import Linear, rescale


@dataclass(frozen=True)
class FoldBatchNormalization:
    """Folds an inference BatchNormalization into the linear node before it."""

    exact: ClassVar[bool] = True

    def __call__(self, model: ir.Model) -> PassResult:
        """Rewrites a copy of `model`."""
        found = Findings()
        if not g.contains(model, "BatchNormalization"):
            return found.result(model, model)
        after = model.clone()
        for node in g.nodes(after):
            if not g.is_op(node, "BatchNormalization"):
                continue
            name = g.label(node)
            reason = _fold(after, node)
            if reason is None:
                found.changed(name, "BatchNormalization folded into the node before it")
            else:
                found.refused(name, reason)
        return found.result(model, after)


def _fold(model: ir.Model, node: ir.Node) -> str | None:
    """Folds one BatchNormalization, or says why not."""
    if _is_training(model, node):
        return "it is in training form"
    if g.opset(model) < 9 and g.int_attribute(node, "spatial", 1) != 1:
        return "spatial=0 normalizes every position by itself"
    linear = Linear.before(node, node.inputs[0])
    if isinstance(linear, str):
        return linear
    parameters = []
    for index, role in enumerate(("scale", "bias", "mean", "variance"), start=1):
        data = g.array(g.input_at(node, index))
        if data is None:
            return g.why_not_constant(role, g.input_at(node, index))
        if data.shape != (linear.channels,):
            return f"{role} has shape {data.shape}, not one value for each of {linear.channels} channels"
        parameters.append(data.astype(np.float64))
    gamma, beta, mean, variance = parameters
    epsilon = g.float_attribute(node, "epsilon", 1e-5)
    scale = gamma / np.sqrt(variance + epsilon)
    shift = beta - mean * scale
    return rescale(model, linear, scale, shift) or g.bypass(node, linear.node.outputs[0])


def _is_training(model: ir.Model, node: ir.Node) -> bool:
    version = g.opset(model)
    if version < 7:
        return g.int_attribute(node, "is_test", 0) != 1
    if version < 14:
        return len([output for output in node.outputs if output.name]) > 1
    return g.int_attribute(node, "training_mode", 0) != 0
