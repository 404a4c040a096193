"""`deploycompress explain`: where the time and the bytes of a model go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, write_json

if TYPE_CHECKING:
    from deploycompress.flow.explain import ExplainResult


def explain(
    model: Annotated[Path, typer.Argument(help="ONNX file to run and explain.")],
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    data: Annotated[
        str | None, typer.Option(help="Samples to run: folder, file, module:function (default: a random feed).")
    ] = None,
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs under the profiler.")] = 20,
    top: Annotated[int, typer.Option(min=1, help="Nodes to list.")] = 10,
    json_path: JsonOption = None,
) -> None:
    """Run a model and say which operators take the time, what runs in int8, what stayed float and why."""
    from deploycompress.flow.explain import explain as run
    from deploycompress.flow.host import described, resolve

    chosen = resolve(target)
    show_settings(
        "explain",
        {
            "model": model,
            "target": described(target, chosen),
            "data": data or "random",
            "preprocess": preprocess,
            "runs": runs,
        },
    )
    result = run(
        model,
        target=chosen,
        data=data,
        preprocess=preprocess,
        tokenizer=tokenizer,
        runs=runs,
        top=top,
    )
    _print(result, stderr if str(json_path) == "-" else stdout)
    write_json(result, json_path)


def _print(result: ExplainResult, write: Callable[[str], None]) -> None:
    from deploycompress.cli.tables import render

    ops = [(r.op_type, r.kind, r.count, f"{r.time_us:.0f}", f"{r.share:.1%}") for r in result.ops]
    write(render(("operator", "kind", "nodes", "us", "share"), ops))
    slowest = [
        (
            r.name,
            r.op_type,
            r.kind,
            f"{r.time_us:.0f}",
            f"{r.share:.1%}",
            "-" if r.of_peak is None else f"{r.of_peak:.0%}",
        )
        for r in result.slowest
    ]
    write(render(("dearest nodes", "operator", "kind", "us", "share", "of peak"), slowest))
    if result.stayed_float:
        rows = [(r.name, r.op_type, f"{r.time_us:.0f}", r.reason) for r in result.stayed_float]
        write(render(("stayed float", "operator", "us", "why"), rows))
    if result.dequantized_weights:
        weights = [(r.name, r.dtype, r.size_bytes, f"{r.time_us:.0f}") for r in result.dequantized_weights]
        write(render(("weight dequantized on every run", "type", "bytes", "us"), weights))
    stored = ", ".join(f"{dtype} {count}" for dtype, count in result.bytes_by_dtype.items()) or "none"
    write(f"weights in bytes: {stored}")
    write(f"{result.nodes} nodes in the file, {result.executed_nodes} executed by {result.placement.effective}")
    write(
        f"conversions (Q, DQ, Cast, layout): {result.conversion_share:.1%} of the time; "
        f"transposes: {result.transpose_share:.1%}"
    )
    write(
        f"peak of this machine's kernels: {result.peaks.float_gops:.0f} GFLOP/s in float, "
        f"{result.peaks.int8_gops:.0f} GOP/s in int8; "
        f"the arithmetic alone takes {result.limit_us / 1e3:.3f} ms at that rate"
    )
    write(
        f"one run: {result.latency_us / 1e3:.3f} ms; its nodes add up to {result.time_us / 1e3:.3f} ms "
        f"({result.time_us / result.latency_us:.0%})"
    )
    write(f"{result.source}: {result.verdict}")
