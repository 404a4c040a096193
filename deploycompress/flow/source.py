"""path -> model, after the runtime opened it in a process of its own: a file that crashes it must not crash us."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError
from deploycompress.passes.unique_names import UniqueNames
from deploycompress.runtime.probe import probe


def open_source(path: Path) -> ir.Model:
    """The model at `path`, as passes want it: producers before users, every value name used once.

    ONNX Runtime insists on neither.

    Raises:
        ModelRejectedError: The file is missing, damaged, hostile, or ONNX Runtime cannot load it.
    """
    model = models.load(path)
    probe(path)
    try:
        for graph in model.graphs():
            graph.sort()
    except ValueError as error:
        raise ModelRejectedError(f"its graph has a cycle: {error}", where=str(path)) from error
    return UniqueNames()(model).model
