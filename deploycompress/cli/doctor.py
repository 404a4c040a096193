"""`deploycompress doctor`: what is wrong with this machine or, with --calib, with the samples for a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, track, write_json
from deploycompress.errors import DataRejectedError, EnvironmentLacksError, UsageError

if TYPE_CHECKING:
    from deploycompress.flow.data_doctor import Examination


def doctor(
    calib: Annotated[
        str | None, typer.Option(help="Examine these calibration samples: folder, file or module:function.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="With --calib: the float ONNX file they are for.")] = None,
    evaluation: Annotated[
        str | None, typer.Option("--eval", help="With --calib: evaluation samples to compare them with.")
    ] = None,
    preprocess: Annotated[str | None, typer.Option(help="How images become inputs: a preset or a file.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Table of labels (file,class).")] = None,
    tokenizer: Annotated[Path | None, typer.Option(help="Tokenizer file for text samples.")] = None,
    target: Annotated[str, typer.Option(help="Target profile, a TOML file, or auto for this machine.")] = "auto",
    limit: Annotated[int | None, typer.Option(min=1, help="Use at most so many samples.")] = None,
    json_path: JsonOption = None,
) -> None:
    """Check the environment: wheels, providers, threads, extras, disk. With --calib and --model, check samples."""
    write = stderr if str(json_path) == "-" else stdout
    if calib is None or model is None:
        given: dict[str, object] = {
            "--calib": calib,
            "--model": model,
            "--eval": evaluation,
            "--preprocess": preprocess,
        }
        given |= {"--labels": labels, "--tokenizer": tokenizer, "--limit": limit}
        if used := [name for name, value in given.items() if value is not None]:
            missing = "--calib" if calib is None else "--model"
            raise UsageError(f"{used[0]} needs {missing}", remedy="give --calib DIR and --model FILE together")
        _environment(write, json_path)
        return
    from deploycompress.flow.data_doctor import examine
    from deploycompress.flow.host import described, resolve

    chosen = resolve(target)
    show_settings(
        "doctor",
        {
            "model": model,
            "calibration": calib,
            "evaluation": evaluation,
            "preprocess": preprocess,
            "target": described(target, chosen),
        },
    )
    found = examine(
        model,
        calib,
        target=chosen,
        evaluation=evaluation,
        preprocess=preprocess,
        labels=labels,
        tokenizer=tokenizer,
        limit=limit,
        track=track,
    )
    _print(found, write)
    write_json(found, json_path)
    said = verdict(found)
    if any(symptom.severity == "failure" for symptom in found.symptoms):
        raise DataRejectedError(said, where=calib)
    write(said)


def _environment(write: Callable[[str], None], json_path: Path | None) -> None:
    from deploycompress.cli.tables import render
    from deploycompress.flow.doctor import diagnose, first_failure

    show_settings("doctor", {})
    diagnosis = diagnose()
    here = diagnosis.environment
    if here is not None:
        write(f"{here.cpu} ({here.machine}; {', '.join(here.cpu_flags) or 'no known extension'}), {here.os}")
        write(f"Python {here.python}, ONNX Runtime {here.onnxruntime}, numpy {here.numpy}")
    write(
        render(("check", "", "found", "remedy"), [(f.name, f.status, f.detail, f.remedy) for f in diagnosis.findings])
    )
    write_json(diagnosis, json_path)
    failure = first_failure(diagnosis.findings)
    if failure is not None:
        raise EnvironmentLacksError(failure.detail, where=failure.name, remedy=failure.remedy)
    write("ready")


def _print(found: Examination, write: Callable[[str], None]) -> None:
    from deploycompress.cli.tables import render

    numbers = [(each.name, each.low, each.high, each.mean, each.std) for each in found.inputs]
    write(render(("input", "min", "max", "mean", "deviation"), [(n, *(f"{v:.4g}" for v in vs)) for n, *vs in numbers]))
    if found.accuracy is not None:
        write(f"float model: {100 * found.accuracy.value:.1f} % right on {found.accuracy.count} samples")
    if found.settling is not None:
        write(str(found.settling))
    for note in found.notes:
        write(f"note: {note}")
    for symptom in found.symptoms:
        word = "problem" if symptom.severity == "failure" else "warning"
        write(f"{word}: {symptom.check}: {symptom.found}")
        write(f"  where:  {symptom.where}")
        write(f"  why:    {symptom.why}")
        write(f"  remedy: {symptom.remedy}")


def verdict(found: Examination) -> str:
    """One line: how many problems, or that there is none and how far the scales have settled."""
    problems = sum(symptom.severity == "failure" for symptom in found.symptoms)
    warnings = len(found.symptoms) - problems
    if problems or warnings:
        counts = [(problems, "problem"), (warnings, "warning")]
        names = list(dict.fromkeys(symptom.check for symptom in found.symptoms))
        said = ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count)
        return f"{said}: {', '.join(names)}"
    settled = found.settling
    how = "" if settled is None else f", half of the scales settle within {100 * settled.median:.1f} %"
    return f"the data look right: {found.samples} samples{how}"
