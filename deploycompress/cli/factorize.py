"""`deploycompress factorize`: layers as products of smaller ones, each only where it is measured faster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.cli.shares import share
from deploycompress.errors import UnknownNameError

if TYPE_CHECKING:
    from deploycompress.flow.factored import FactorizeResult

_METHODS = ("svd", "whitened", "tucker", "cp", "spatial", "separable")


def factorize(
    model: Annotated[Path, typer.Argument(help="Float ONNX file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write (default: MODEL.factorized.onnx beside the input)."),
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(help="auto, or some of svd, whitened, tucker, cp, spatial, separable (default: auto, all)."),
    ] = None,
    energy: Annotated[
        float | None, typer.Option(help="Keep at least this share of the energy of every layer's output, e.g. 0.95.")
    ] = None,
    ratio: Annotated[
        float | None, typer.Option(help="Leave a factorized layer at most this share of its parameters, e.g. 0.5.")
    ] = None,
    max_drop: Annotated[
        str | None, typer.Option(help="Go as far as the metric on --eval allows, e.g. 1% or 0.5pt.")
    ] = None,
    min_agreement: Annotated[
        str | None, typer.Option(help="Go as far as this share of equal decisions allows, e.g. 99% (no labels).")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="Samples to fit and to measure errors with: folder, file, module:function.")
    ] = None,
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples of --calib.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave layers as they are: glob on node or tensor names.")
    ] = None,
    no_repair: Annotated[
        bool, typer.Option("--no-repair", help="Do not fit the last factors once more behind one another.")
    ] = False,
    eval_data: Annotated[
        str | None, typer.Option("--eval", help="Labelled samples that accuracy is measured on, other than --calib.")
    ] = None,
    eval_limit: Annotated[
        int | None, typer.Option(min=1, help="Judge --max-drop and --min-agreement on at most so many samples.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="File of labels, where --eval does not hold them.")] = None,
    accept_data: Annotated[
        bool, typer.Option("--accept-data", help="Use samples that the data doctor rejects.")
    ] = False,
    no_measure: Annotated[
        bool, typer.Option("--no-measure", help="Do not time anything: fewer multiplications stand for faster.")
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Write layers as products of smaller ones (low rank, Tucker-2, CP, spatial, separable) where that is faster."""
    methods = [] if method in (None, ["auto"]) else list(method or [])
    for name in methods:
        if name not in _METHODS:
            raise UnknownNameError("method", name, ("auto", *_METHODS), where="--method")
    from deploycompress.flow.factor_wish import Wish
    from deploycompress.flow.factorize import factorize as run
    from deploycompress.flow.goal import Goal
    from deploycompress.flow.host import described, resolve

    goal = None
    if max_drop is not None or min_agreement is not None:
        goal = Goal(
            max_drop=None if max_drop is None else share(max_drop, "--max-drop"),
            min_agreement=None if min_agreement is None else share(min_agreement, "--min-agreement"),
            eval_data=eval_data,
            labels=labels,
            limit=eval_limit,
        )
    wish = Wish(energy, ratio, goal)
    wish.check()
    chosen = resolve(target)
    output = output or model.with_name(f"{model.stem}.factorized.onnx")
    settings = {
        "model": model,
        "output": output,
        "target": described(target, chosen),
        "how far": wish.asked,
        "methods": ", ".join(methods) or "auto",
        "samples": calib,
        "exclude": ", ".join(exclude or []) or None,
        "repair": "no" if no_repair or calib is None else "least squares, kept where it helps",
        "evaluation": eval_data,
    }
    show_settings("factorize", settings)
    result = run(
        model,
        output,
        target=chosen,
        wish=wish,
        methods=methods or None,  # type: ignore[arg-type]  # checked above
        calib=calib,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        exclude=exclude or [],
        repair=not no_repair,
        eval_data=eval_data if goal is None or goal.max_drop is not None else None,
        labels=labels,
        accept_data=accept_data,
        measure=not no_measure,
        track=track,
    )
    _print(result, stderr if str(json_path) == "-" else stdout)
    write_json(result, json_path)


def _print(result: FactorizeResult, write: Callable[[str], None]) -> None:
    from deploycompress.cli.changes import remarks
    from deploycompress.cli.tables import render

    rows = [
        (row.layer, f"{row.method} {', '.join(map(str, row.ranks))}" if row.method else "-", row.reason)
        for row in result.layers
    ]
    write(render(("layer", "becomes", ""), rows))
    if result.trials:
        trials = [(trial.layers, "yes" if trial.met else "no", trial.said) for trial in result.trials]
        write(render(("layers", result.asked, "reached"), trials))
    remarks(result, write)
    write(f"{result.output}: {verdict(result)}")


def verdict(result: FactorizeResult) -> str:
    """One line: what was factorized, what it bought, what it cost, and whether training is needed to get that back."""
    from deploycompress.cli.changes import bought

    return f"{sum(bool(row.method) for row in result.layers)} layers factorized, " + bought(
        result, "fine-tune the model, or keep more"
    )
