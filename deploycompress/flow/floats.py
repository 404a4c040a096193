"""float ONNX file -> the float graph an int8 one stands on: opened, not quantized yet, rewritten exactly.

The names of its tensors depend on the rewrites, so statistics saved in a file are good for the same rewrites alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError
from deploycompress.flow.feeds import stable
from deploycompress.flow.gate import Gate
from deploycompress.flow.source import open_source
from deploycompress.passes.base import Pass
from deploycompress.passes.pipelines import BEFORE_QUANTIZATION
from deploycompress.quantization.qdq import MIN_OPSET
from deploycompress.runtime.session import Feed, Session, SessionConfig

_QUANTIZED_OPS = ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "MatMulInteger", "QGemm")


def open_float(source: Path, *, probed: bool = True) -> ir.Model:
    """The model at `source`; see `open_source`.

    Raises:
        ModelRejectedError: It is unusable, or quantized already.
    """
    model = open_source(source, probed=probed)
    found = [node.op_type for node in model.graph.all_nodes() if node.op_type in _QUANTIZED_OPS]
    if found:
        raise ModelRejectedError(
            f"it is quantized already ({len(found)} nodes such as {found[0]})",
            where=str(source),
            remedy="give the float model it was made from",
        )
    return model


def rewrite(
    model: ir.Model,
    original: Session,
    feeds: tuple[Feed, ...],
    config: SessionConfig,
    *,
    only: Sequence[str] | None = None,
) -> tuple[ir.Model, tuple[str, ...]]:
    """The rewritten graph and the names of the rewrites; one that changes an output is taken back.

    Args:
        model: The float graph.
        original: It, open.
        feeds: What outputs are compared on.
        config: How to open sessions.
        only: Names of the rewrites to try; all where None.
    """
    gate = Gate(feeds, stable(original, feeds), config, measure=False)
    steps = [("RaiseOpset", _raise_opset), *((type(step).__name__, _applied(step)) for step in BEFORE_QUANTIZATION)]
    kept = []
    for name, step in steps:
        after = step(model) if only is None or name in only else model
        if after is not model and gate.agrees(after):
            model = after
            kept.append(name)
    return model, tuple(kept)


def _raise_opset(model: ir.Model) -> ir.Model:
    return models.raise_opset(model, MIN_OPSET)


def _applied(step: Pass) -> Callable[[ir.Model], ir.Model]:
    return lambda model: step(model).model
