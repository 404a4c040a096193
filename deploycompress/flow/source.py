"""Paths of a command, checked: the source opens in a process of its own first, the output is another, writable file."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError, UsageError
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


def check_output(source: Path, output: Path) -> None:
    """Refuses an output that is the input or cannot be written, before any work is done.

    Raises:
        UsageError: Both paths name one file.
        EnvironmentLacksError: The folder of `output` is missing or not writable.
    """
    if models.same_file(source, output):
        raise UsageError(
            "the output is the input; the input is never overwritten", where=str(output), remedy="give another -o"
        )
    models.check_writable(output)
