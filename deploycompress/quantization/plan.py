"""graph + target + statistics -> QuantPlan: which tensor gets which grid, which node which form, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration.gram import LayerInput
from deploycompress.calibration.ranges import RANGE_METHODS, RangeMethod
from deploycompress.calibration.statistics import Statistics
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.affine import Grid, grid
from deploycompress.quantization.candidates import JOINERS, MOVERS, WEIGHTED, Candidates, constant, find, key, why_float
from deploycompress.quantization.embeddings import plan_tables
from deploycompress.quantization.observed import why_no_grid
from deploycompress.quantization.spec import NodeForm, NodePlan, QuantPlan, QuantSpec, WeightSpec
from deploycompress.quantization.wide import WIDE
from deploycompress.targets import Target


def require_int8(target: Target) -> None:
    """Refuses a target without 8-bit kernels.

    Raises:
        UnsupportedError: With the sentence the profile gives.
    """
    if not target.quant.int8:
        raise UnsupportedError(f"target {target.name} cannot run int8: {target.quant.why}")


def required_tensors(model: ir.Model, target: Target, exclude: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Names of the tensors a static plan needs statistics of; nothing else is worth tapping."""
    found = find(model, target, exclude)
    clamps = {key(node): node for node in model.graph}
    # A range seen behind a clamp lies within its bounds, so only the grid built on it can overshoot them.
    in_doubt = [name for name, clamp in found.absorbed.items() if _may_overshoot(clamps[clamp], target)]
    outputs = [name for name in found.outputs if name not in found.shared]
    # What a layer reads may be a moved tensor, whose grid is that of another one; its channels are its own.
    moved = [name for name in _read(model, found, WEIGHTED) if name in found.shared]
    return tuple(dict.fromkeys([*found.inputs, *outputs, *in_doubt, *moved]))


def observable_tensors(model: ir.Model, target: Target) -> tuple[str, ...]:
    """Names of all tensors that a static plan can need statistics of, whichever nodes are excluded.

    Excluding a node takes candidates away and brings none, so a tensor in question is one that a candidate reads or
    writes; the output of a float producer is looked at where an 8-bit consumer reads it.
    """
    read = _read(model, find(model, target), (*WEIGHTED, *JOINERS, *MOVERS))
    return tuple(dict.fromkeys([*required_tensors(model, target), *read]))


def _read(model: ir.Model, found: Candidates, op_types: tuple[str, ...]) -> list[str]:
    """Names of the activations that 8-bit nodes of these operators read."""
    return [
        str(value.name)
        for node in model.graph
        if key(node) in found.int8 and node.op_type in op_types
        for value in (node.inputs if node.op_type in JOINERS else node.inputs[:1])
        if value is not None and constant(value) is None
    ]


def layer_inputs(model: ir.Model) -> tuple[LayerInput, ...]:
    """What the constant weights of the main graph multiply; layers that read one tensor alike share an entry."""
    layers = [node for node in model.graph if node.op_type in WEIGHTED and len(node.inputs) > 1]
    found = (LayerInput.of(node) for node in layers if node.inputs[1] is not None and constant(node.inputs[1]))
    return tuple(dict.fromkeys(layer for layer in found if layer is not None))


def channel_axes(model: ir.Model) -> dict[str, int]:
    """Axis of the channels of every input of a layer with weights; means along it correct the bias."""
    layers = [node for node in model.graph if node.op_type in WEIGHTED and node.inputs and node.inputs[0] is not None]
    return {str(node.inputs[0].name): 1 if node.op_type == "Conv" else -1 for node in layers if node.inputs[0]}


def plan(
    model: ir.Model,
    target: Target,
    statistics: Statistics,
    *,
    method: RangeMethod = "minmax",
    exclude: frozenset[str] = frozenset(),
) -> QuantPlan:
    """The static int8 plan of `model` for `target`.

    Args:
        model: The float graph, already rewritten for the target.
        target: Its quantization rules decide dtype, symmetry, granularity and placement.
        statistics: Of every tensor in `required_tensors`; with Gram matrices, weights are rounded by GPTQ.
        method: How ranges are chosen.
        exclude: First output names of nodes to keep float.

    Raises:
        UnsupportedError: The target has no 8-bit kernels.
        DataRejectedError: A tensor held NaN or infinity.
    """
    require_int8(target)
    statistics.require_finite()
    rules = target.quant
    if rules.activation in WIDE and method == "mse":
        method = "minmax"  # the error of 65,536 levels is that of what they leave out
    found = find(model, target, exclude)
    unusable = _without_range(model, found, statistics)
    if unusable:
        made = plan(model, target, statistics, method=method, exclude=exclude | unusable.keys())
        told = {
            key(node): NodePlan(key(node), node.name or "", node.op_type, "float", unusable[key(node)])
            for node in model.graph
            if key(node) in unusable
        }
        return replace(made, nodes={**made.nodes, **told})
    grids: dict[str, Grid] = {}
    for name in (*found.inputs, *(output for output in found.outputs if output not in found.shared)):
        low, high = RANGE_METHODS[method](statistics[name])
        grids[name] = grid(low, high, rules.activation, symmetric=rules.activation_symmetric)
    _release_clamps(model, found, grids, statistics, target, method)
    specs = {name: QuantSpec(grids[name], "input", method) for name in found.inputs}
    for name in found.outputs:
        like = found.shared.get(name)
        specs[name] = (
            QuantSpec(grids[name], "output", method)
            if like is None
            else QuantSpec(grids[like], "output", "shared", like=like)
        )
    return QuantPlan(
        target.name,
        specs,
        _nodes(model, found, "int8", statistics.grams) | plan_tables(model, exclude),
        pair_safe=rules.pair_safe,
        per_channel=rules.per_channel,
        quantize_bias=rules.quantize_bias,
        dedicated_pairs=rules.dedicated_pairs,
        input_means=_means(specs, statistics),
        grams=statistics.grams,
    )


def _without_range(model: ir.Model, found: Candidates, statistics: Statistics) -> dict[str, str]:
    """8-bit nodes that read or write a tensor over which no grid can be laid, with the reason."""
    gridded = (*found.inputs, *(name for name in found.outputs if name not in found.shared))
    refused = {name: why for name in gridded if (why := why_no_grid(statistics.get(name)))}
    unusable: dict[str, str] = {}
    for node in model.graph if refused else ():
        if key(node) in found.int8:
            touched = [*(str(v.name) for v in node.inputs if v is not None), found.absorbed.get(key(node), key(node))]
            origins = [found.shared.get(name, name) for name in touched]
            name = next((origin for origin in origins if origin in refused), None)
            if name is not None:
                unusable[key(node)] = f"{name!r} {refused[name]}"
    return unusable


def _means(names: Iterable[str], statistics: Statistics) -> dict[str, NDArray[np.float64]]:
    found = {name: statistics[name].channel_means for name in names if name in statistics}
    return {name: means for name, means in found.items() if means is not None}


def plan_dynamic(model: ir.Model, target: Target, exclude: frozenset[str] = frozenset()) -> QuantPlan:
    """The dynamic int8 plan: MatMul and Gemm with constant weights; activation scales are found at run time.

    Raises:
        UnsupportedError: The target has no dynamic int8 kernels, or no node can use them.
    """
    require_int8(target)
    if not target.quant.dynamic:
        raise UnsupportedError(f"target {target.name} has no dynamic int8 kernels", remedy="calibrate with --calib")
    found = Candidates()
    for node in model.graph:
        if node.op_type not in WEIGHTED or node.domain not in ("", "ai.onnx"):
            continue
        if key(node) in exclude:
            found.floats[key(node)] = "excluded by the user"
        elif node.op_type == "Conv":
            found.floats[key(node)] = "ConvInteger is slower than the float convolution; static int8 is the fast form"
        elif refusal := why_float(node, target):
            found.floats[key(node)] = refusal
        else:
            found.int8[key(node)] = "constant weights; the activation scale is found at run time"
    return QuantPlan(
        target.name,
        {},
        _nodes(model, found, "dynamic int8") | plan_tables(model, exclude),
        pair_safe=target.quant.pair_safe,
        per_channel=target.quant.per_channel,
        quantize_bias=False,
    )


def _nodes(
    model: ir.Model, found: Candidates, form: NodeForm, grams: Collection[LayerInput] = ()
) -> dict[str, NodePlan]:
    plans = {}
    for node in model.graph:
        name = key(node)
        if name in found.int8:
            plans[name] = NodePlan(
                name,
                node.name or "",
                node.op_type,
                form,
                found.int8[name],
                found.absorbed.get(name),
                WeightSpec(8, rounding="gptq") if LayerInput.of(node) in grams else None,
            )
        elif name in found.floats:
            plans[name] = NodePlan(name, node.name or "", node.op_type, "float", found.floats[name])
    for graph in model.graph.subgraphs():
        for node in graph:
            if node.op_type in WEIGHTED and node.domain in ("", "ai.onnx"):
                plans[key(node)] = NodePlan(
                    key(node), node.name or "", node.op_type, "float", "it lies inside a control-flow body"
                )
    return plans


def _release_clamps(
    model: ir.Model,
    found: Candidates,
    grids: dict[str, Grid],
    statistics: Statistics,
    target: Target,
    method: RangeMethod,
) -> None:
    """Keeps a Relu or Clip whose bounds the output grid does not imply; the node in front is then quantized instead."""
    clamps = {key(node): node for node in model.graph}
    for name, clamp in list(found.absorbed.items()):
        low, high = clamp_bounds(clamps[clamp])
        if not _may_overshoot(clamps[clamp], target):
            continue
        span = grids[clamp]
        # An overshoot below half a step is smaller than the rounding error of the grid itself.
        if span.low >= low - span.scale / 2 and span.high <= high + span.scale / 2:
            continue
        del found.absorbed[name]
        raw_low, raw_high = RANGE_METHODS[method](statistics[name])
        grids[name] = grid(raw_low, raw_high, target.quant.activation, symmetric=target.quant.activation_symmetric)
        found.outputs[found.outputs.index(clamp)] = name
        found.inputs.append(clamp)


def _may_overshoot(clamp: ir.Node, target: Target) -> bool:
    """Whether a grid that holds every value behind `clamp` may reach beyond its bounds: by symmetry, or to reach 0."""
    low, high = clamp_bounds(clamp)
    return target.quant.activation_symmetric or low > 0.0 or high < 0.0


def clamp_bounds(node: ir.Node) -> tuple[float, float]:
    """Lower and upper bound of a Relu or Clip (attributes before opset 11, inputs since)."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    bounds = [float("-inf"), float("inf")]
    for position, name in enumerate(("min", "max")):
        if name in node.attributes:
            bounds[position] = float(node.attributes[name].value)
        elif len(node.inputs) > position + 1 and node.inputs[position + 1] is not None:
            tensor = constant(node.inputs[position + 1])
            assert tensor is not None
            bounds[position] = float(np.asarray(tensor.numpy()).reshape(()))
    return bounds[0], bounds[1]
