"""`deploycompress export SOURCE -o model.onnx`: PyTorch network to an ONNX file that agrees with it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, write_json


class Exporter(StrEnum):
    """Which exporter to use; auto tries them in turn."""

    AUTO = "auto"
    DYNAMO = "dynamo"
    LEGACY = "legacy"
    OPTIMUM = "optimum"


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="module:factory or file.py:factory, a .pt2 program, a Hugging Face checkpoint folder, or hf:org/name.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="ONNX file to write.", show_default=False)],
    checkpoint: Annotated[
        Path | None, typer.Option(help="Weights for a factory: safetensors, or a state dict of torch.save.")
    ] = None,
    trust_checkpoint: Annotated[
        bool,
        typer.Option("--trust-checkpoint", help="Run the code a pickled checkpoint carries. Only for your own files."),
    ] = False,
    opset: Annotated[
        int | None, typer.Option(min=7, help="Opset to export with (default: 18 with dynamo, 17 with legacy).")
    ] = None,
    target: Annotated[str | None, typer.Option(help="Target profile whose highest opset is kept.")] = None,
    exporter: Annotated[Exporter, typer.Option(help="Exporter; auto tries them in turn.")] = Exporter.AUTO,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="An example input, name=dtype[sizes], e.g. ids=int64[batch,sequence=16] (several times)."
        ),
    ] = None,
    static_batch: Annotated[bool, typer.Option("--static-batch", help="Fix the batch at that of the example.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Export a network in eval mode and compare the file with torch at batches that the exporter never saw."""
    from deploycompress.flow.host import resolve
    from deploycompress.training.export import export as run

    show_settings(
        "export",
        {
            "source": source,
            "checkpoint": checkpoint,
            "output": output,
            "exporter": exporter.value,
            "opset": opset or "the exporter's default",
            "target": target,
            "input": ", ".join(inputs or []) or "the network's own example",
            "batch": "static" if static_batch else "dynamic",
        },
    )
    result = run(
        source,
        output,
        checkpoint=checkpoint,
        trust=trust_checkpoint,
        opset=opset,
        max_opset=None if target is None else resolve(target).max_opset,
        exporter=exporter.value,
        dynamic_batch=not static_batch,
        inputs=inputs or [],
    )
    for attempt in result.attempts:
        if attempt.error is not None:
            stderr(f"  {attempt.exporter} exporter: {attempt.error}")
    for line in result.frozen:
        stderr(f"  note: {line}")
    (stderr if str(json_path) == "-" else stdout)(result.summary())
    write_json(result, json_path)
