"""`deploycompress prune`: fewer channels, heads and hidden features in the graph itself, repaired without training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from deploycompress.flow.pruned import GroupList, GroupRow, PruneResult

_SCORES = ("l1", "l2", "batchnorm", "lamp", "activation", "second-order", "random")


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
        float | None, typer.Option(help="Share of every group of channels, heads and features to remove, e.g. 0.5.")
    ] = None,
    score: Annotated[
        str | None,
        typer.Option(
            help="What decides: l1, l2, batchnorm, lamp, random; with samples also activation and second-order "
            "(default: second-order with --calib, else l2)."
        ),
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
    round_to: Annotated[int, typer.Option(min=1, help="Keep channels in multiples of this: 8, 16, 32.")] = 1,
    no_repair: Annotated[bool, typer.Option("--no-repair", help="Do not refit the layers behind a cut.")] = False,
    eval_data: Annotated[
        str | None, typer.Option("--eval", help="Labelled samples that accuracy is measured on, other than --calib.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="File of labels, where --eval does not hold them.")] = None,
    accept_data: Annotated[
        bool, typer.Option("--accept-data", help="Use samples that the data doctor rejects.")
    ] = False,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Do not time anything.")] = False,
    json_path: JsonOption = None,
) -> None:
    """Remove channels, heads and hidden features from the graph, repair the rest from samples, and say what it cost."""
    if score is not None and score not in _SCORES:
        raise UnknownNameError("score", score, _SCORES, where="--score")
    if ratio is None and not list_groups:
        raise UsageError("how much is to go?", remedy="give --ratio 0.5, or --list to see what may go")
    from deploycompress.flow.host import described, resolve
    from deploycompress.flow.prune import groups
    from deploycompress.flow.prune import prune as run

    chosen = resolve(target)
    output = output or model.with_name(f"{model.stem}.pruned.onnx")
    settings = {
        "model": model,
        "output": "none (--list)" if list_groups else output,
        "target": described(target, chosen),
        "ratio": ratio,
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
    assert ratio is not None
    result = run(
        model,
        output,
        target=chosen,
        ratio=ratio,
        score=score,  # type: ignore[arg-type]  # checked above
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
    from deploycompress.cli.tables import render
    from deploycompress.report import words

    rows = [
        (row.name, f"{row.units} -> {row.units - row.removed}", len(row.members))
        for row in result.groups
        if row.removed
    ]
    write(render(("group of", "units", "axes cut"), rows))
    if result.repairs:
        repairs = [(each.layer, "yes" if each.is_kept else "-", each.reason) for each in result.repairs]
        write(render(("layer", "repaired", ""), repairs))
    for skipped in result.skipped:
        write(f"skipped {skipped.path}: {skipped.reason}")
    for note in result.notes:
        write(f"note: {note}")
    if result.comparison is not None and result.comparison.verdict != "FASTER":
        write(f"note: NOT FASTER on this machine: {words.ratio_interval(result.comparison)} of the speed before")
    write(f"{result.output}: {verdict(result)}")


def verdict(result: PruneResult) -> str:
    """One line: what went, what it bought, what it cost, and whether training is needed to get that back."""
    from deploycompress.report import words

    parts = [
        f"parameters {_less(result.parameters_before, result.parameters_after)}",
        f"multiplications {_less(result.macs_before, result.macs_after)}",
        words.smaller(result.bytes_before / result.bytes_after),
    ]
    if result.comparison is not None:
        parts.append(f"{words.against(result.comparison)} {words.ratio_interval(result.comparison)}")
    lost = None if result.accuracy is None else words.drop(result.accuracy)
    if result.accuracy is not None and lost is not None:
        parts.append(f"{result.accuracy.metric} drop {lost}")
    else:
        parts.append(_closeness(result))
    training = "" if result.is_close else "; accuracy was lost: fine-tune the pruned model, or give a smaller --ratio"
    if result.accuracy is None and result.compared_on == "random inputs":
        training = "; what it means for accuracy is not known: give --eval"
    return ", ".join(parts) + training


def _less(before: int, after: int) -> str:
    return f"-{100 * (1 - after / before):.1f} %" if before else "none"


def _closeness(result: PruneResult) -> str:
    found = result.fidelity
    where = f"on {result.compared_on}"
    if found.agreement is not None:
        return f"{100 * found.agreement:.1f} % same decisions and {found.sqnr_db:.1f} dB {where}"
    return f"{found.sqnr_db:.1f} dB {where}"
