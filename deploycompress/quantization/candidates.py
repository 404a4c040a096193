"""graph + target rules -> which nodes can run in 8 bits, which tensors would then be quantized, and every refusal.

A tensor is quantized in one of two places:

* at its **output**, when the kernel that makes it writes 8-bit values (Conv needs that, Add and pools then chain);
* at the **input** of its 8-bit consumers, when a float kernel makes it or when float output is the faster form
  (Gemm and MatMul: the int32 accumulator goes straight to float, and one shared Q feeds all consumers).

Operators that only move values hand the grid of their input on. Everything else stays float.

Source: ONNX Runtime QDQ selectors, `qdq_selectors.cc`: an 8-bit kernel is chosen only where every activation input
comes from a DequantizeLinear and the output goes to QuantizeLinear alone (optional for Gemm and MatMul).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from deploycompress.targets import Target

WEIGHTED = ("Conv", "Gemm", "MatMul")
MOVERS = (
    "Reshape",
    "Flatten",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Pad",
    "MaxPool",
)
JOINERS = ("Add", "Concat", "AveragePool", "GlobalAveragePool")
FEW_FEATURES = 4  # the 8-bit kernels work on groups of four; a side path of outlier channels is as narrow as that
_CLAMPS = ("Relu", "Clip")


@dataclass
class Candidates:
    """The structural half of a plan, before any statistics.

    Attributes:
        int8: Nodes that run in 8 bits, with the reason, by first output name.
        floats: Nodes with weights that stay float, with the reason.
        outputs: Names of tensors quantized where they are made.
        inputs: Names of tensors quantized on the way into 8-bit consumers.
        shared: Output of a mover -> the tensor whose grid it takes.
        absorbed: First output of a node -> first output of the Relu or Clip its output grid may replace.
    """

    int8: dict[str, str] = field(default_factory=dict)
    floats: dict[str, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)
    absorbed: dict[str, str] = field(default_factory=dict)


def find(model: ir.Model, target: Target, exclude: frozenset[str] = frozenset()) -> Candidates:
    """Which nodes of the main graph can run in 8 bits on `target`.

    Args:
        model: The float graph.
        target: Supplies the operators with 8-bit kernels and whether outputs are quantized.
        exclude: First output names of nodes the user keeps float.
    """
    found = Candidates()
    for node in model.graph:
        if node.op_type in WEIGHTED and node.domain in ("", "ai.onnx"):
            refusal = "excluded by the user" if key(node) in exclude else why_float(node, target)
            if refusal:
                found.floats[key(node)] = refusal
                continue
            found.int8[key(node)] = f"{node.op_type} with constant weights has an 8-bit kernel"
            if target.quant.quantize_outputs and (node.op_type == "Conv" or target.quant.quantize_products):
                clamp = clamp_behind(node)
                if clamp is not None:
                    found.absorbed[key(node)] = key(clamp)
                found.outputs.append(key(clamp) if clamp is not None else key(node))
        elif target.quant.quantize_outputs:
            _chain(node, target, exclude, found)
    _drop_useless_movers(model, found)
    in_chain = set(found.outputs)
    for node in model.graph:
        if key(node) not in found.int8 or key(node) in found.shared:
            continue
        for source in node.inputs[:1] if node.op_type in WEIGHTED else node.inputs:
            if source is not None and source.name not in in_chain and source.name not in found.inputs:
                found.inputs.append(str(source.name))
    return found


def key(node: ir.Node) -> str:
    """The name of a node's first output: unique, unlike node names."""
    return str(node.outputs[0].name)


def is_depthwise(node: ir.Node, weight_shape: tuple[int, ...]) -> bool:
    """Whether a node with a weight [O, I / groups, ...] is a convolution of which each channel reads one of its own."""
    return node.attributes.get_int("group", 1) == weight_shape[0] > 1 == weight_shape[1]


def constant(value: ir.Value | None) -> ir.TensorProtocol | None:
    """The tensor behind a value that no user can change, or None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return value.const_value


def why_float(node: ir.Node, target: Target) -> str:
    """Why a Conv, Gemm or MatMul cannot run in 8 bits, or "" where it can."""
    if node.op_type not in target.quant.int8_ops:
        return f"{target.name} has no faster 8-bit {node.op_type}"
    if len(node.inputs) < 2 or node.inputs[0] is None:
        return "it lacks an input"
    weight = node.inputs[1]
    if weight is not None and weight.is_graph_input() and (node.op_type != "MatMul" or weight.const_value is not None):
        return f"weight {weight.name!r} is a graph input"
    tensor = constant(weight)
    if tensor is None:
        return (
            "both operands are computed at run time"
            if node.op_type == "MatMul"
            else "the weight is computed at run time"
        )
    if tensor.dtype != ir.DataType.FLOAT:
        return f"the weight is {tensor.dtype.name.lower()}, not float32"
    if tensor.size == 0:
        return "the weight is empty"
    if constant(node.inputs[0]) is not None:
        return "its input is constant"
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None and constant(bias) is None:
        return f"bias {bias.name!r} is computed at run time"
    return _why_form_refused(node, tensor, bias)


def _why_form_refused(node: ir.Node, weight: ir.TensorProtocol, bias: ir.Value | None) -> str:
    if node.op_type != "Conv" and len(weight.shape) == 2:
        features = weight.shape[1] if _number(node, "transB", 0) else weight.shape[0]
        if isinstance(features, int) and features <= FEW_FEATURES:
            return f"it sums {features} products; its input would cost more to convert"
    if node.op_type == "MatMul":
        return "" if len(weight.shape) == 2 else f"the weight has {len(weight.shape)} axes; the kernel takes 2"
    if node.op_type == "Conv":
        rank = len(weight.shape)
        return "" if rank in (3, 4) else f"the {rank - 2}-dimensional convolution has no 8-bit kernel"
    alpha, beta = _number(node, "alpha", 1.0), _number(node, "beta", 1.0)
    if alpha != 1.0 or (beta != 1.0 and bias is not None):
        return f"alpha {alpha:g} and beta {beta:g} are not 1"
    if _number(node, "transA", 0):
        return "its input is transposed"
    outputs = weight.shape[0] if _number(node, "transB", 0) else weight.shape[1]
    if bias is not None and constant(bias) is not None and constant(bias).size not in (1, outputs):  # type: ignore[union-attr]
        return "the bias varies along the batch"
    return ""


def _chain(node: ir.Node, target: Target, exclude: frozenset[str], found: Candidates) -> None:
    """Adds a joiner or mover whose activation inputs are all quantized already."""
    joins = node.op_type in JOINERS and node.op_type in target.quant.int8_ops
    moves = node.op_type in MOVERS and (node.op_type != "MaxPool" or "MaxPool" in target.quant.int8_ops)
    if not (joins or moves) or node.domain not in ("", "ai.onnx") or key(node) in exclude:
        return
    sources = [value for value in (node.inputs if joins else node.inputs[:1]) if value is not None]
    quantized = set(found.outputs)
    missing = [value for value in sources if value.name not in quantized]
    # One 8-bit operand makes an 8-bit Add worth the conversion of the other; anything else joins 8-bit values only.
    convertible = node.op_type == "Add" and len(missing) < len(sources) and all(constant(v) is None for v in missing)
    if not sources or (missing and not convertible):
        return
    if len(node.outputs) != 1 or (node.op_type == "Pad" and not _pads_with_zero(node)):
        return
    if moves:
        source = str(sources[0].name)
        found.int8[key(node)] = "it moves 8-bit values without changing them"
        found.shared[key(node)] = found.shared.get(source, source)
        found.outputs.append(key(node))
        return
    clamp = clamp_behind(node)
    if clamp is not None:
        found.absorbed[key(node)] = key(clamp)
    reason = "one input is" if missing else "all inputs are"
    found.int8[key(node)] = f"{reason} 8-bit already, and {node.op_type} has an 8-bit kernel"
    found.outputs.append(key(clamp) if clamp is not None else key(node))


def _drop_useless_movers(model: ir.Model, found: Candidates) -> None:
    """Takes back chain nodes whose result no 8-bit node reads: they would round once more for nothing."""
    for node in reversed(list(model.graph)):
        name = key(node)
        if name not in found.int8 or node.op_type in WEIGHTED:
            continue
        result = found.absorbed.get(name, name)
        value = node.outputs[0] if result == name else next(iter(node.outputs[0].consumers())).outputs[0]
        if any(key(consumer) in found.int8 for consumer in value.consumers()):
            continue
        del found.int8[name]
        found.floats[name] = "no 8-bit node reads its result"
        found.outputs.remove(result)
        found.shared.pop(name, None)
        found.absorbed.pop(name, None)


def clamp_behind(node: ir.Node) -> ir.Node | None:
    """The Relu or Clip that alone reads a node's output, which saturation to the output grid can replace."""
    output = node.outputs[0]
    consumers: Sequence[ir.Node] = tuple(output.consumers())
    if len(consumers) != 1 or output.is_graph_output() or len(output.uses()) != 1:
        return None
    clamp = consumers[0]
    if clamp.op_type not in _CLAMPS or clamp.graph is not node.graph:
        return None
    if any(value is not None and constant(value) is None for value in clamp.inputs[1:]):
        return None
    return clamp


def _pads_with_zero(node: ir.Node) -> bool:
    """Whether a Pad brings in no value beyond zero, which every grid holds."""
    mode = node.attributes.get("mode")
    if mode is not None and mode.value != "constant":
        return True
    if len(node.inputs) < 3 or node.inputs[2] is None:
        return "value" not in node.attributes or float(node.attributes["value"].value) == 0.0
    fill = constant(node.inputs[2])
    return fill is not None and fill.size == 1 and float(fill.numpy().reshape(())) == 0.0


def _number(node: ir.Node, name: str, default: float) -> float:
    attribute = node.attributes.get(name)
    return float(attribute.value) if attribute is not None else default
