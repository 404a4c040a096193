"""torch.nn.Module in eval mode -> ONNX file, through one of torch's two exporters.

`dynamo` captures with torch.export and keeps Python shape arithmetic symbolic; `legacy` traces the operators that run
for the example, which also takes modules with data-dependent Python branches, but freezes them.

Source: torch.onnx.export, `dynamo=True` with `dynamic_shapes`, `dynamo=False` with `dynamic_axes`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import onnx_ir as ir
import torch

from deploycompress import model as onnx_file
from deploycompress.training.example import Inputs

DYNAMO_OPSET = 18  # torch's recommended opset for this exporter; older ones need the version converter
LEGACY_OPSET = 17
_SINGLE_FILE_BYTES = 1_500_000_000


def dynamo(
    module: torch.nn.Module | torch.export.ExportedProgram,
    inputs: Inputs,
    output_names: Sequence[str],
    path: Path,
    opset: int,
) -> None:
    """Writes `path` by way of torch.export; an ExportedProgram keeps the dynamic axes it was made with."""
    program = torch.onnx.export(
        module,
        () if inputs.by_keyword else inputs.tensors,
        kwargs=dict(zip(inputs.names, inputs.tensors, strict=True)) if inputs.by_keyword else None,
        input_names=list(inputs.names),
        output_names=list(output_names),
        dynamic_shapes=None if isinstance(module, torch.export.ExportedProgram) else _arranged(module, inputs),
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None  # dynamo=True returns a program
    state = module.state_dict if isinstance(module, torch.export.ExportedProgram) else module.state_dict()
    weight_bytes = sum(tensor.nbytes for tensor in state.values())
    program.save(path, external_data=weight_bytes > _SINGLE_FILE_BYTES)


def legacy(module: torch.nn.Module, inputs: Inputs, output_names: Sequence[str], path: Path, opset: int | None) -> None:
    """Writes `path` by tracing; axes of the outputs follow from those of the inputs where torch can tell."""
    axes = {name: dict(symbols) for name, symbols in zip(inputs.names, inputs.symbols, strict=True) if symbols}
    batch = next((symbols[0] for symbols in inputs.symbols if 0 in symbols), None)
    if batch is not None:
        axes |= {name: {0: batch} for name in output_names}
    torch.onnx.export(
        module,
        () if inputs.by_keyword else inputs.tensors,
        path,
        kwargs=dict(zip(inputs.names, inputs.tensors, strict=True)) if inputs.by_keyword else None,
        input_names=list(inputs.names),
        output_names=list(output_names),
        dynamic_axes=axes,
        opset_version=opset,
        dynamo=False,
    )


def export(
    kind: Literal["dynamo", "legacy"],
    module: torch.nn.Module,
    inputs: Inputs,
    output_names: Sequence[str],
    path: Path,
    opset: int,
) -> int:
    """Writes `path` through one exporter, without its notes, whole or not at all; processes may race for one path.

    Returns:
        The opset that the exporter wrote; the file may be stamped with a lower one that means the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        draft = Path(folder, path.name)
        with torch.no_grad():
            (dynamo if kind == "dynamo" else legacy)(module, inputs, output_names, draft, opset)
        written = onnx_file.load(draft)
        found = written.opset_imports[""]
        strip_notes(written)
        onnx_file.save(written, path)
    return found


def _arranged(module: torch.nn.Module, inputs: Inputs) -> dict[str, dict[int, str]] | tuple[object, ...]:
    """Dynamic shapes in the form of the call: by keyword, by position, or below one `*args`."""
    shapes = [dict(axes) for axes in inputs.symbols]
    if inputs.by_keyword:
        return dict(zip(inputs.names, shapes, strict=True))
    takes_any_number = bool(module.forward.__code__.co_flags & 0x04)
    return (tuple(shapes),) if takes_any_number else tuple(shapes)


def strip_notes(model: ir.Model) -> None:
    """Takes out what the exporters note for themselves: stack traces with the paths of this machine, and their like."""
    for graph in (model.graph, *(function.graph for function in model.functions.values())):
        graph.metadata_props.clear()
        for value in (*graph.inputs, *graph.initializers.values()):
            value.metadata_props.clear()
        for node in ir.traversal.RecursiveGraphIterator(graph):
            node.metadata_props.clear()
            for value in node.outputs:
                value.metadata_props.clear()
    model.metadata_props.clear()


def cause(error: BaseException) -> str:
    """The line of an exporter's error that says what happened, and where in the user's code."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    summary = text.split("## Exception summary", 1)[-1]
    lines = [line.strip() for line in summary.splitlines() if line.strip()]
    first = re.sub(r"^<class '(?:\w+\.)*(\w+)'>", r"\1", lines[0]) if lines else type(error).__name__
    where = next((line for line in lines if line.startswith("Caused by:")), "")
    shown = f"{first} {where}".strip()
    return shown if len(shown) <= 400 else shown[:397] + "..."
