"""`deploycompress prune`: fewer channels, heads and hidden features in the graph itself, repaired without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.cli.shares import share
from deploycompress.errors import GateError, UnknownNameError, UsageError

if TYPE_CHECKING:
    from deploycompress.flow.pruned import GroupList, GroupRow, PruneResult


def prune(
    model: Annotated[Path, typer.Argument(help="Float ONNX file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write (default: MODEL.pruned.onnx beside the input)."),
    ] = None,
    list_groups: Annotated[
        bool, typer.Option("--list", help="Print what may be removed and what not, with the reasons; write nothing.")
    ] = False,
    ratio: Annotated[
        float | None,
        typer.Option(help="Share of the channels, heads and features to remove, e.g. 0.5; see --allocate."),
    ] = None,
    speedup: Annotated[
        str | None, typer.Option(help="How many times as fast it is to be, measured on this machine, e.g. 1.5x.")
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(help="Most that the metric of --eval may lose, e.g. 1%; alone it decides how much is removed."),
    ] = None,
    min_agreement: Annotated[
        str | None, typer.Option(help="Least share of equal decisions, e.g. 99%: a limit that needs no labels.")
    ] = None,
    allocate: Annotated[
        str | None,
        typer.Option(
            help="What decides how much of each group: uniform, global, lamp, sensitivity, latency (default: latency "
            "with --speedup, else sensitivity with --calib, else uniform)."
        ),
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="What decides: l1, l2, batchnorm, lamp, random; with samples also apoz, activation and second-order "
            "(default: second-order with --calib, else l2). Of single weights: magnitude, lamp, wanda, sparsegpt."
        ),
    ] = None,
    unstructured: Annotated[
        float | None,
        typer.Option(help="Make this share of single weights zero instead: smaller when packed, not faster."),
    ] = None,
    n_m: Annotated[
        str | None, typer.Option("--n-m", help="Likewise, with N of every M weights kept in a row, e.g. 2:4.")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="Samples to score and repair with: folder, file, module:function.")
    ] = None,
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples of --calib.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave layers as wide as they are: glob on node or tensor names.")
    ] = None,
    round_to: Annotated[
        int | None,
        typer.Option(min=1, help="Keep channels in multiples of this: 8, 16, 32 (default: 8 or 16 for latency)."),
    ] = None,
    no_repair: Annotated[bool, typer.Option("--no-repair", help="Do not refit the layers behind a cut.")] = False,
    eval_data: Annotated[
        str | None, typer.Option("--eval", help="Labelled samples that accuracy is measured on, other than --calib.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="File of labels, where --eval does not hold them.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of --max-drop, or module:function.")] = None,
    eval_limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples of --eval.")] = None,
    budget: Annotated[float, typer.Option(min=0, help="Seconds that the search for --max-drop may take.")] = 900.0,
    accept_data: Annotated[
        bool, typer.Option("--accept-data", help="Use samples that the data doctor rejects.")
    ] = False,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Do not time anything.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Remove channels, heads and hidden features from the graph, repair the rest from samples, and say what it cost."""
    wanted = {"--ratio": ratio, "--speedup": speedup, "--max-drop": max_drop, "--min-agreement": min_agreement}
    if unstructured is not None or n_m is not None:
        from deploycompress.cli.sparsify import Source, sparsify

        refused = [option for option, given in {**wanted, "--allocate": allocate}.items() if given is not None]
        source = Source(model, output, target, calib, preprocess, tokenizer, limit, exclude or [], accept_data)
        sparsify(source, unstructured, n_m, score, refused, eval_data, labels, json_path)
        return
    from deploycompress.records.pruning import ALLOCATIONS, SCORES, default_allocation

    if score is not None and score not in SCORES:
        raise UnknownNameError("score", score, SCORES, where="--score")
    if allocate is not None and allocate not in ALLOCATIONS:
        raise UnknownNameError("allocation", allocate, ALLOCATIONS, where="--allocate")
    if all(amount is None for amount in wanted.values()) and not list_groups:
        raise UsageError(
            "how much is to go?", remedy="give --ratio 0.5, --speedup 1.5x or --max-drop 1%, or --list to see what may"
        )
    times = None if speedup is None else _times(speedup)
    drop = None if max_drop is None else share(max_drop, "--max-drop")
    agreement = None if min_agreement is None else share(min_agreement, "--min-agreement", example="99% or 0.99")
    from deploycompress.flow.goal import Goal
    from deploycompress.flow.host import described, resolve
    from deploycompress.flow.prune import groups
    from deploycompress.flow.prune import prune as run

    goal = None
    if any(option is not None for option in (drop, agreement, metric, eval_limit)):
        goal = Goal(drop, agreement, eval_data, metric, labels, limit=eval_limit, budget_s=budget)
        goal.check()
    chosen = resolve(target)
    output = output or model.with_name(f"{model.stem}.pruned.onnx")
    settings = {
        "model": model,
        "output": "none (--list)" if list_groups else output,
        "target": described(target, chosen),
        "amount": ", ".join(f"{option} {given}" for option, given in wanted.items() if given is not None) or None,
        "allocation": allocate or default_allocation(timed=speedup is not None, has_samples=calib is not None),
        "score": score or ("l2" if calib is None else "second-order"),
        "samples": calib,
        "exclude": ", ".join(exclude or []) or None,
        "channels in multiples of": round_to,
        "repair": "no" if no_repair or calib is None else "least squares, kept where it helps",
        "evaluation": eval_data,
    }
    show_settings("prune", settings)
    write = stderr if str(json_path) == "-" else stdout
    if list_groups:
        listed = groups(model, target=chosen, exclude=exclude or [], track=track)
        _print_groups(listed, write)
        write_json(listed, json_path)
        return
    result = run(
        model,
        output,
        target=chosen,
        ratio=ratio,
        speedup=times,
        goal=goal,
        allocation=allocate,
        score=score,
        calib=calib,
        preprocess=preprocess,
        tokenizer=tokenizer,
        limit=limit,
        exclude=exclude or [],
        round_to=round_to,
        repair=not no_repair,
        eval_data=eval_data,
        labels=labels,
        accept_data=accept_data,
        measure=not no_measure,
        track=track,
    )
    _print_result(result, write)
    write_json(result, json_path)
    if result.goal is not None and not result.goal.met:
        raise GateError(
            f"{result.goal.limit} was not met: {result.goal.said}",
            where=str(result.output),
            remedy="the best model found was written all the same; fine-tune it, or ask for less",
        )
    if result.missed_speed is not None:
        raise GateError(
            f"--speedup {speedup} was not met: the file was measured at {result.missed_speed:.2f}x",
            where=str(result.output),
            remedy="it was written all the same; on a quiet machine the search is surer",
        )


def _times(text: str) -> float:
    """1.5 from "1.5x" or "1.5"."""
    try:
        return float(text.strip().removesuffix("x"))
    except ValueError as error:
        raise UsageError(f"{text!r} is no number", where="--speedup", remedy="write 1.5x") from error


def _print_groups(listed: GroupList, write: Callable[[str], None]) -> None:
    from deploycompress.cli.tables import render

    averaged = {True: "normalized over what is left", False: ""}
    rows = [(row.units, row.width, _through(row), averaged[row.is_averaged]) for row in listed.groups]
    if rows:
        write(render(("units", "width", "run through", ""), rows))
    refused = [(row.units, _through(row), "; ".join(row.refusals)) for row in listed.refused]
    if refused:
        write(render(("units", "stay", "because"), refused))
    units = sum(row.units for row in listed.groups)
    write(f"{listed.source}: {units} units in {len(rows)} groups may go, {len(refused)} groups may not")


def _through(row: GroupRow) -> str:
    return ", ".join(row.members)


def _print_result(result: PruneResult, write: Callable[[str], None]) -> None:
    from deploycompress.cli.changes import remarks
    from deploycompress.cli.tables import render

    rows = [
        (row.name, f"{row.units} -> {row.units - row.removed}", len(row.members))
        for row in result.groups
        if row.removed
    ]
    write(render(("group of", "units", "axes cut"), rows))
    if result.trials:
        trials = [(f"{each.amount:.2f}", each.units, each.said, "yes" if each.met else "-") for each in result.trials]
        write(render(("tried to save", "units gone", "reached", "met"), trials))
    if result.repairs:
        repairs = [(each.layer, "yes" if each.is_kept else "-", each.reason) for each in result.repairs]
        write(render(("layer", "repaired", ""), repairs))
    remarks(result, write)
    write(f"{result.output}: {verdict(result)}")


def verdict(result: PruneResult) -> str:
    """One line: what went, what it bought, what it cost, and whether training is needed to get that back."""
    from deploycompress.cli.changes import bought

    return bought(result, "fine-tune the pruned model, or give a smaller --ratio")
