"""MatMul or Gemm with packed weights -> the same in surroundings in which ONNX Runtime fuses it to MatMulNBits.

Two things keep it from that, and the weight is then dequantized on every run:

* MatMul + Add has become a Gemm whose third input is no constant vector. So a bias is made a vector, and a Sum, which
  becomes no Gemm, adds anything else (a residual).
* A Relu or Clip with readers of its own follows: it is taken for one that a quantized output would make redundant. So a
  Sum adds the bias in front of it, or copies where there is none.

Source: ONNX Runtime, `matmul_add_fusion.cc`, `qdq_selectors.cc` (`GetRedundantClipNode`).
"""

from __future__ import annotations

import onnx_ir as ir

from deploycompress.quantization.candidates import constant
from deploycompress.quantization.writer import Writer

_CLAMPS = ("Relu", "Clip")


def free(writer: Writer, node: ir.Node) -> None:
    """Rewrites the bias and what follows it; a Gemm in front of a clamp becomes MatMul and Sum."""
    if node.op_type == "Gemm":
        _flatten(writer, node, 2)
        if _only_reader(node, *_CLAMPS) is not None:
            _split(writer, node)
        return
    if _only_reader(node, *_CLAMPS) is not None:
        _split(writer, node)
    add = _only_reader(node, "Add")
    if add is None:
        return
    place, source = 1 if add.inputs[0] is node.outputs[0] else 0, node.inputs[0]
    bias = constant(add.inputs[place])
    # Of a bias with more axes than the product the sum has them too.
    if bias is not None and source is not None and len(source.shape or ()) >= max(2, len(bias.shape)):
        _flatten(writer, add, place)
    bias = constant(add.inputs[place])
    if bias is None or len(bias.shape) != 1 or _only_reader(add, *_CLAMPS) is not None:
        add.op_type = "Sum"


def _split(writer: Writer, node: ir.Node) -> None:
    """MatMul(x, W) or Gemm(x, W, b) -> Sum(MatMul(x, W)[, b])."""
    out = node.outputs[0]
    name, about = str(out.name), {"dtype": out.dtype, "shape": out.shape}
    product = writer.node("MatMul", node.inputs[:2], [f"{name}_product"], before=node, **about)  # type: ignore[arg-type]
    added = [product.outputs[0], *node.inputs[2:3]]
    total = writer.node("Sum", added, [f"{name}_sum"], before=node, **about).outputs[0]  # type: ignore[arg-type]
    out.replace_all_uses_with(total)
    writer.graph.remove(node, safe=True)
    total.name = name


def _only_reader(node: ir.Node, *op_types: str) -> ir.Node | None:
    """The one node that reads the output of `node`, where it is one of these operators and nobody else does."""
    out = node.outputs[0]
    readers = [use.node for use in out.uses()]
    return readers[0] if len(readers) == 1 and readers[0].op_type in op_types and not out.is_graph_output() else None


def _flatten(writer: Writer, node: ir.Node, place: int) -> None:
    """[1, N] -> [N], where the input is a constant of such a shape."""
    bias = node.inputs[place] if place < len(node.inputs) else None
    tensor = constant(bias)
    if bias is not None and tensor is not None and len(tensor.shape) > 1 and tensor.shape[-1] == tensor.size:
        node.replace_input_with(place, writer.constant(f"{bias.name}_vector", tensor.numpy().reshape(-1)))
