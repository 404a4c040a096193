"""`deploycompress bench a.onnx b.onnx`: latency, size, accuracy and memory, side by side."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from deploycompress.cli import console
from deploycompress.cli.shares import share
from deploycompress.errors import GateError


def bench(
    models: Annotated[list[Path], typer.Argument(help="ONNX files; the first is the baseline.", show_default=False)],
    eval_data: Annotated[
        str | None, typer.Option("--eval", help="Evaluation samples: a folder, a file, or module:function.")
    ] = None,
    preprocess: Annotated[str | None, typer.Option(help="Image preprocessing: a preset or a file.")] = None,
    labels: Annotated[Path | None, typer.Option(help="File of labels, where the samples do not hold them.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file, for text.")] = None,
    output: Annotated[str | None, typer.Option(help="Output that is judged; the first by default.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            help="top-1, top-5, f1, f1-macro, matthews, pearson, spearman, psnr, nll, perplexity, or module:function "
            "of (output, label) or (outputs, labels); by default what fits the labels."
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples.")] = None,
    target: Annotated[str | None, typer.Option(help="Target profile: its providers, threads and budgets.")] = None,
    provider: Annotated[
        str | None, typer.Option(help="Execution providers to measure on, with commas: cpu,cuda.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option(help="Threads; the target's or all available. Several with commas: a sweep.")
    ] = None,
    batch: Annotated[str, typer.Option(help="Samples per run in the latency measurement: 1 or 1,8.")] = "1",
    seq: Annotated[
        str | None, typer.Option(help="Sequence lengths to time at: 8,128, or name=8,128 where several axes are free.")
    ] = None,
    instances: Annotated[
        str | None, typer.Option(help="Also count samples a second of so many processes at once: 2 or 1,2,4.")
    ] = None,
    pin: Annotated[bool, typer.Option("--pin", help="Confine each process to processors of its own.")] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Also time every node, and measure the error of every layer.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="At least so many interleaved rounds.")] = 30,
    seconds: Annotated[float, typer.Option(min=0, help="At least so many seconds per model.")] = 3.0,
    launches: Annotated[int, typer.Option(min=2, help="Fresh processes per model.")] = 5,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 5 where a provider is absent or leaves work to another.")
    ] = False,
    require_speedup: Annotated[
        float | None, typer.Option(min=0, help="Exit 1 unless every other model is so many times faster.")
    ] = None,
    max_drop: Annotated[
        str | None, typer.Option(help="Exit 1 if a model loses more accuracy, in points: 1% or 0.01.")
    ] = None,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            help="Exit 1 where a model meets this: 'accuracy_drop > 0.5pt or p95_ms > 20'. Figures: accuracy, "
            "accuracy_drop, median_ms, p95_ms, p99_ms, load_ms, speedup, smaller, size_bytes, peak_memory_bytes, "
            "agreement, sqnr_db and more (README)."
        ),
    ] = None,
    steps: Annotated[
        list[Path] | None, typer.Option(help="What optimize --json wrote about a model, to be shown in the report.")
    ] = None,
    json_path: console.JsonOption = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the report as Markdown to this file.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one HTML file.")] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the report as JUnit XML, a test case a model and limit.")
    ] = None,
) -> None:
    """Measures models side by side: latency, size, accuracy and memory, with intervals.

    Each model runs in fresh processes, in interleaved rounds. FASTER and SLOWER are said only beyond the noise.
    """
    drop = None if max_drop is None else share(max_drop, "--max-drop")
    batches, thread_counts, parallel = (
        _counts(batch, "--batch"),
        _counts(threads, "--threads"),
        _counts(instances, "--instances"),
    )
    axis, _, lengths = (seq or "").rpartition("=")

    from deploycompress.cli.reports import check_writable, write
    from deploycompress.flow.bench import bench as measure
    from deploycompress.flow.host import resolve
    from deploycompress.flow.steps_file import read_steps
    from deploycompress.flow.sweep import Lengths

    profile = None if target is None else resolve(target)
    providers = [name for name in (provider or "").split(",") if name.strip()] or None
    for path in (json_path, markdown, html, junit):
        check_writable(path)
    console.show_settings(
        "bench",
        {
            "models": ", ".join(map(str, models)),
            "evaluation": eval_data or "random inputs, no accuracy",
            "metric": metric or ("what fits the labels" if eval_data else None),
            "target": target,
            "providers": ", ".join(providers or (profile.providers if profile else ("cpu",))),
            "threads": threads or (profile.threads if profile else None) or "all available",
            "pinned": "yes" if pin else "no",
            "batch": batch,
            "sequence length": seq or "as the samples have it",
            "processes at once": instances,
            "stop rule": f"{launches} processes a model, at least {rounds} rounds and {seconds:g} s a model",
            "speed-up at least": require_speedup,
            "drop at most": max_drop,
            "fail if": " or ".join(fail_if) if fail_if else None,
        },
    )
    report = measure(
        models,
        target=profile,
        eval_data=eval_data,
        preprocess=preprocess,
        labels=labels,
        tokenizer=tokenizer,
        output=output,
        metric=metric,
        limit=limit,
        execution_providers=providers,
        threads=thread_counts,
        batches=batches,
        lengths=Lengths(_counts(lengths, "--seq"), axis or None) if seq else None,
        instances=parallel,
        pin=pin,
        layers=layers,
        rounds=rounds,
        seconds=seconds,
        launches=launches,
        strict=strict,
        require_speedup=require_speedup,
        max_drop=drop,
        fail_if=fail_if or (),
        steps=[step for path in steps or () for step in read_steps(path)],
        command=shlex.join(["deploycompress", *sys.argv[1:]]),
        track=console.track,
    )
    write(report, json_path=json_path, markdown=markdown, html=html, junit=junit)
    failed = [gate for gate in report.gates if not gate.met]
    if failed:
        raise GateError("; ".join(f"{gate.name} was not met ({gate.detail})" for gate in failed))


def _counts(text: str | None, option: str) -> tuple[int, ...]:
    """(1, 8) from "1,8", each once; empty from None.

    Raises:
        typer.BadParameter: It is no list of positive numbers.
    """
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise typer.BadParameter(f"{text!r} is no list of positive numbers; write 1 or 1,8", param_hint=option)
    return tuple(dict.fromkeys(int(word) for word in words))
