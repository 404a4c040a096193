"""`deploycompress quantize`: float ONNX file and samples in, int8 file out, checked and timed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.cli.shares import share
from deploycompress.errors import GateError, UnknownNameError, UsageError

_METHODS = ("minmax", "percentile", "mse", "entropy")


def quantize(
    model: Annotated[Path, typer.Argument(help="Float ONNX file.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where to write (default: MODEL.int8.onnx, .int4.onnx ... beside it)."),
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(help="Calibration samples: folder, file, module:function, or random (figures are then void)."),
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="Statistics saved by `deploycompress calibrate`, instead of running samples.")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            help="static: int8, activation scales from samples (default). dynamic: int8, scales found at run time. "
            "weights: weights alone, in few bits. fp16, bf16: half precision."
        ),
    ] = None,
    dynamic: Annotated[bool, typer.Option("--dynamic", help="The same as --form dynamic; needs no samples.")] = False,
    layout: Annotated[
        str,
        typer.Option(help="Static int8 as qdq (fused when loaded, the default) or in operators on codes: qoperator."),
    ] = "qdq",
    activation_bits: Annotated[
        int, typer.Option(help="Width of static activations: 8, or 16 where the target takes it.")
    ] = 8,
    bits: Annotated[int | None, typer.Option(help="Width of --form weights: 8, 4 (default) or 2.")] = None,
    block: Annotated[
        int | None,
        typer.Option(help="Weights that share a scale, in --form weights: 32 (default); 0 for a whole channel."),
    ] = None,
    levels: Annotated[str, typer.Option(help="What --form weights stores: uniform, ternary or binary.")] = "uniform",
    algorithm: Annotated[
        str, typer.Option(help="How --form weights rounds: nearest, or with samples gptq, awq or adaround.")
    ] = "nearest",
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples.")] = None,
    ranges: Annotated[
        str | None, typer.Option(help="How activation ranges are chosen: minmax, percentile, mse (default) or entropy.")
    ] = None,
    all_samples: Annotated[
        bool, typer.Option("--all-samples", help="Calibrate on every sample, even where the ranges settle earlier.")
    ] = False,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Leave nodes float: glob on node or tensor names (several times).")
    ] = None,
    accept_data: Annotated[
        bool, typer.Option("--accept-data", help="Calibrate on samples that the data doctor rejects.")
    ] = False,
    eval_data: Annotated[
        str | None, typer.Option("--eval", help="Samples that accuracy is measured on, other than those of --calib.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="File of labels, where --eval does not hold them.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What --max-drop is about: top-1, f1 ... or module:function (see bench).")
    ] = None,
    eval_limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples of --eval.")] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(help="The most the metric may lose, in points: 1% or 0.01. Layers widen until it holds."),
    ] = None,
    min_agreement: Annotated[
        str | None,
        typer.Option(help="The least share of decisions equal to the float model's, without labels: 99%."),
    ] = None,
    budget: Annotated[float, typer.Option(min=0, help="Seconds to look for layers to widen or leave float.")] = 300.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what every node and tensor would become, and write no model.")
    ] = False,
    no_run: Annotated[
        bool,
        typer.Option(
            "--no-run",
            help="Write the file without running it or the source, one weight at a time: for models larger than "
            "memory. For dynamic, weights (nearest), fp16 and bf16.",
        ),
    ] = False,
    no_measure: Annotated[bool, typer.Option("--no-measure", help="Do not time anything.")] = False,
    allow_slower: Annotated[
        bool,
        typer.Option("--allow-slower", help="Accept a file slower than the float model, for its size."),
    ] = False,
    json_path: JsonOption = None,
) -> None:
    """Quantize to int8 in the form the target's kernels run fastest, and say what it bought."""
    if ranges not in (None, *_METHODS):
        raise UnknownNameError("range method", ranges, _METHODS, where="--ranges")
    drop = None if max_drop is None else share(max_drop, "--max-drop")
    agreement = None if min_agreement is None else share(min_agreement, "--min-agreement", example="99% or 0.99")
    from deploycompress.cli.quantized import print_plan, print_result, print_unrun
    from deploycompress.flow.dry_run import dry_run as plan
    from deploycompress.flow.goal import Goal
    from deploycompress.flow.host import described, resolve
    from deploycompress.flow.not_run import write_unrun
    from deploycompress.flow.quantize import quantize as run
    from deploycompress.records.formats import Format
    from deploycompress.report import words

    kind: Any = _kind(form, dynamic=dynamic)
    stored: dict[str, Any] = {"bits": bits, "block": block, "levels": levels, "algorithm": algorithm}
    wanted = Format(kind, **stored, layout=layout, activation_bits=activation_bits)  # type: ignore[arg-type]
    if wanted.kind != "static" and (ranges is not None or all_samples):
        option = f"--ranges {ranges}" if ranges is not None else "--all-samples"
        raise UsageError(f"{option} belongs to static int8: {wanted.name} has no ranges", remedy="leave it out")
    goal = None
    if any(option is not None for option in (eval_data, labels, metric, eval_limit, max_drop, min_agreement)):
        goal = Goal(drop, agreement, eval_data, metric, labels, limit=eval_limit, budget_s=budget)
        goal.check()
        if dry_run:
            raise UsageError(f"--dry-run measures nothing, so {goal.asked} has no use", remedy="leave one of them out")
    chosen = resolve(target)
    running = {"--calib": calib, "--calibration": calibration, "--dry-run": dry_run, goal.asked if goal else "": goal}
    not_run = _why_not_run(model, wanted, chosen, asked=no_run, running=[name for name in running if running[name]])
    output = output or model.with_name(f"{model.stem}.{wanted.suffix}.onnx")
    show_settings(
        "quantize",
        {
            "model": model,
            "output": "none (--dry-run)" if dry_run else output,
            "target": described(target, chosen),
            "form": wanted.name,
            "calibration": calibration or calib,
            "preprocess": preprocess,
            "ranges": (ranges or "mse") if wanted.kind == "static" else None,
            "exclude": ", ".join(exclude or []) or None,
            "runs": f"nothing ({not_run})" if not_run else None,
            "evaluation": eval_data,
            "keeps": goal.asked if goal is not None else None,
        },
    )
    options: dict[str, Any] = {
        "target": chosen,
        "form": wanted,
        "calib": calib,
        "calibration": calibration,
        "preprocess": preprocess,
        "tokenizer": tokenizer,
        "limit": limit,
        "method": ranges or "mse",
        "all_samples": all_samples,
        "exclude": exclude or [],
        "accept_data": accept_data,
        "track": track,
    }
    write = stderr if str(json_path) == "-" else stdout
    if not_run:
        written = write_unrun(
            model, output, target=chosen, form=wanted, exclude=exclude or [], reason=not_run, track=track
        )
        print_unrun(written, write)
        write_json(written, json_path)
        return
    if dry_run:
        planned = plan(model, **options)
        print_plan(planned, write)
        write_json(planned, json_path)
        return
    result = run(model, output, **options, measure=not no_measure, keep_slower=allow_slower, goal=goal)
    print_result(result, write)
    write_json(result, json_path)
    if result.goal is not None and not result.goal.met:
        raise GateError(
            f"{result.goal.limit} was not met: {result.goal.said}",
            where=str(result.output),
            remedy="the best model found was written all the same",
        )
    if result.given_up is not None:
        raise GateError(
            f"no layer of this model is faster in int8 on this machine: in int8 the model ran at "
            f"{words.ratio_interval(result.given_up)} of its speed",
            where=str(result.output),
            remedy="the file holds the float model, rewritten for the target; --allow-slower keeps int8 for its size",
        )
    if result.buys_nothing and not allow_slower:
        raise GateError(
            "nothing was gained: the file is neither smaller nor faster than the float model",
            where=str(result.output),
            remedy="why layers stayed float is in the table above; it was written all the same",
        )
    if result.is_slower and not allow_slower:
        raise GateError(
            "the quantized model is slower than the float one on this machine",
            where=str(result.output),
            remedy="it was written all the same; --allow-slower accepts it for its size",
        )


def _why_not_run(model: Path, form: Any, target: Any, *, asked: bool, running: Sequence[str]) -> str:  # noqa: ANN401
    """Why nothing is to be run, or "": it was asked for, or the model is too large and no option needs a run."""
    from deploycompress.flow.not_run import ASKED, too_large, why_run

    if asked and running:
        raise UsageError(f"{ASKED} runs nothing, so {running[0]} has no use", remedy="leave one of them out")
    if asked:
        return ASKED
    return "" if running or why_run(form, target) else too_large(model)


def _kind(form: str | None, *, dynamic: bool) -> Any:  # noqa: ANN401 - one of a few names, which Format checks
    """The form asked for by name, or by its short way."""
    if dynamic and form not in (None, "dynamic"):
        raise UsageError(f"--dynamic and --form {form} contradict each other", remedy="leave one of them out")
    return form or ("dynamic" if dynamic else "static")
