"""Paths of a command, checked: the source opens in a process of its own first, the output is another, writable file."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.errors import ModelRejectedError, UsageError
from deploycompress.passes.explicit_broadcast import ExplicitBroadcast
from deploycompress.passes.unique_names import UniqueNames
from deploycompress.runtime.probe import probe
from deploycompress.runtime.session import Session


def open_source(path: Path, *, probed: bool = True) -> ir.Model:
    """The model at `path`, as passes want it: producers before users, every value name used once.

    ONNX Runtime insists on neither.

    Args:
        path: The file.
        probed: Whether ONNX Runtime must load it, in a process of its own; False where nothing is to be run.

    Raises:
        ModelRejectedError: The file is missing, damaged, hostile, or ONNX Runtime cannot load it.
    """
    model = models.load(path)
    if probed:
        probe(path)
    try:
        for graph in model.graphs():
            graph.sort()
    except ValueError as error:
        raise ModelRejectedError(f"its graph has a cycle: {error}", where=str(path)) from error
    return UniqueNames()(model).model


def mended(model: ir.Model, original: Session) -> tuple[ir.Model, Session]:
    """The model and the session to compare with: those given, or of a form that runs where the file does not.

    Args:
        model: The source, opened.
        original: A session of the source.
    """
    written_out = ExplicitBroadcast()(model)
    if not written_out.changes:
        return model, original
    content, weights_dir = models.serialize(written_out.model), models.weights_dir(written_out.model)
    return written_out.model, Session(content, original.config, weights_dir=weights_dir)


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
