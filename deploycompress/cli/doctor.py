"""`deploycompress doctor`: what this machine can do, what is in the way, and the command that mends it."""

from __future__ import annotations

from deploycompress.cli.console import JsonOption, show_settings, stderr, stdout, write_json
from deploycompress.errors import EnvironmentLacksError


def doctor(json_path: JsonOption = None) -> None:
    """Check the environment: ONNX Runtime wheels, execution providers, threads, extras, disk."""
    from deploycompress.cli.tables import render
    from deploycompress.flow.doctor import diagnose, first_failure

    show_settings("doctor", {})
    diagnosis = diagnose()
    write = stderr if str(json_path) == "-" else stdout
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
