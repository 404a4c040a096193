"""MatMul or Gemm with packed weights -> the same in a form that ONNX Runtime's earlier fusions leave alone.

They turn MatMul + Add into Gemm before DequantizeLinear + MatMul or Gemm is looked for, and a Gemm whose third input is
no constant vector dequantizes its weight on every run. So a bias becomes a vector, and where something else is added
(a residual), a Sum adds it, which becomes no Gemm.

Source: ONNX Runtime, `matmul_add_fusion.cc`, `qdq_selectors.cc`.
"""

from __future__ import annotations

import onnx_ir as ir

from deploycompress.quantization.candidates import constant
from deploycompress.quantization.writer import Writer


def free(writer: Writer, node: ir.Node) -> None:
    """Flattens the bias of a Gemm or of the Add behind a MatMul; an Add of anything else becomes a Sum."""
    if node.op_type == "Gemm":
        _flatten(writer, node, 2)
        return
    readers = [use.node for use in node.outputs[0].uses()]
    if len(readers) != 1 or readers[0].op_type != "Add":
        return
    add, source = readers[0], node.inputs[0]
    place = 1 if add.inputs[0] is node.outputs[0] else 0
    if source is not None and len(source.shape or ()) >= 2:  # else [1, N] would give the sum an axis more
        _flatten(writer, add, place)
    bias = constant(add.inputs[place])
    if bias is None or len(bias.shape) != 1:
        add.op_type = "Sum"


def _flatten(writer: Writer, node: ir.Node, place: int) -> None:
    """[1, N] -> [N], where the input is a constant of such a shape."""
    bias = node.inputs[place] if place < len(node.inputs) else None
    tensor = constant(bias)
    if bias is not None and tensor is not None and len(tensor.shape) > 1 and tensor.shape[-1] == tensor.size:
        node.replace_input_with(place, writer.constant(f"{bias.name}_vector", tensor.numpy().reshape(-1)))
