"""this machine -> what deploycompress can do here, what is in the way, and the command that mends it."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Literal

from deploycompress.errors import DeployCompressError, UnsupportedError
from deploycompress.flow.host import AUTO, resolve
from deploycompress.measurement.environment import environment
from deploycompress.records.environment import Environment
from deploycompress.runtime.session import onnxruntime

Status = Literal["ok", "absent", "warning", "failure"]

# Wheels that all install the folder `onnxruntime/`: the last one installed wins, file by file.
_RUNTIME_WHEELS = (
    "onnxruntime",
    "onnxruntime-directml",
    "onnxruntime-gpu",
    "onnxruntime-migraphx",
    "onnxruntime-openvino",
    "onnxruntime-qnn",
)
_EXTRAS = (
    ("torch", "train", "train, distill, export"),
    ("accelerate", "train", "train, distill"),
    ("safetensors", "train", "safe checkpoints"),
    ("transformers", "hf", "export of Hugging Face checkpoints"),
    ("optimum", "hf", "the optimum exporter"),
    ("ray", "ray", "search on many machines"),
)
_LITTLE_DISK_BYTES = 2 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        status: "absent" is optional and missing; "warning" works, but not as it should; "failure" stops commands.
        detail: What was found.
        remedy: What mends it, empty where nothing needs mending.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings with the environment they were made in.

    Attributes:
        environment: The machine and software; None where ONNX Runtime is missing.
        findings: In the order they were made.
    """

    environment: Environment | None
    findings: tuple[Finding, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing stops the core commands."""
        return all(finding.status != "failure" for finding in self.findings)


def diagnose() -> Diagnosis:
    """Looks at the wheels, providers, threads, target, extras and disk of this machine."""
    findings = [*runtime_wheels(installed())]
    here = None
    try:
        onnxruntime()
        here = environment()
    except DeployCompressError as error:
        findings.append(Finding("ONNX Runtime", "failure", error.what, error.remedy))
    if here is not None:
        findings += [_providers(here), _threads(here), _target()]
    findings += [_extra(module, extra, use) for module, extra, use in _EXTRAS]
    findings.append(_disk())
    return Diagnosis(here, tuple(findings))


def installed() -> dict[str, str]:
    """Version by normalized name of every installed distribution."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found[name.lower().replace("_", "-")] = distribution.version
    return found


def runtime_wheels(packages: dict[str, str]) -> Iterable[Finding]:
    """What the installed distributions say about ONNX Runtime.

    Args:
        packages: Version by normalized distribution name.
    """
    wheels, clash = _wheels(packages), clashing_wheels(packages)
    if clash is not None:
        yield clash
    elif wheels:
        yield Finding("ONNX Runtime wheel", "ok", f"{wheels[0]} {packages[wheels[0]]}")
    else:
        yield Finding("ONNX Runtime wheel", "failure", "none is installed", "pip install 'deploycompress[cpu]'")
    if "onnxruntime-tools" in packages:
        yield Finding(
            "onnxruntime-tools",
            "warning",
            "retired in 2021; its successor, onnxruntime.transformers, is part of ONNX Runtime",
            "pip uninstall -y onnxruntime-tools",
        )


def clashing_wheels(packages: dict[str, str]) -> Finding | None:
    """What is wrong where several wheels of ONNX Runtime were installed over each other, else None."""
    wheels = _wheels(packages)
    if len(wheels) < 2:
        return None
    return Finding(
        "ONNX Runtime wheels",
        "failure",
        f"{' and '.join(wheels)} own the same folder; which one answers is an accident",
        f"pip uninstall -y {' '.join(wheels)} && pip install {wheels[-1]}",
    )


def _wheels(packages: dict[str, str]) -> list[str]:
    return [name for name in _RUNTIME_WHEELS if name in packages and name != "onnxruntime-qnn"]


def _providers(here: Environment) -> Finding:
    names = ", ".join(name.removesuffix("ExecutionProvider") for name in here.providers)
    return Finding("execution providers", "ok", names)


def _threads(here: Environment) -> Finding:
    granted = f"{here.threads} of {here.cpus} processors"
    if here.cgroup_cpus is not None:
        granted += f" (container quota {here.cgroup_cpus:g})"
    if here.load_average is not None and here.load_average > here.threads:
        return Finding(
            "threads",
            "warning",
            f"{granted}; load average {here.load_average:.1f}: latencies will be noisy",
            "measure on a quieter machine",
        )
    return Finding("threads", "ok", granted)


def _target() -> Finding:
    try:
        target = resolve(AUTO)
    except UnsupportedError as error:
        return Finding("target", "warning", error.what, error.remedy)
    return Finding("target", "ok", f"{target.name}: {target.summary}")


def _extra(module: str, extra: str, use: str) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(module, "absent", f"not installed; needed for {use}", f"pip install 'deploycompress[{extra}]'")
    return Finding(module, "ok", _version(module))


def _version(module: str) -> str:
    try:
        return metadata.version(module)
    except metadata.PackageNotFoundError:
        return "installed"


def _disk() -> Finding:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    detail = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < _LITTLE_DISK_BYTES:
        return Finding("temporary files", "warning", detail, "free some space, or point TMPDIR at another disk")
    return Finding("temporary files", "ok", detail)


def first_failure(findings: Sequence[Finding]) -> Finding | None:
    """The first finding that stops commands, or None."""
    return next((finding for finding in findings if finding.status == "failure"), None)
