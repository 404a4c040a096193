"""provider names as users write them ("cpu", "cuda") -> ONNX Runtime's names, and whether a row really ran there."""

from __future__ import annotations

from collections.abc import Sequence

from deploycompress.errors import UnknownNameError
from deploycompress.records.measured import Placement
from deploycompress.runtime.session import CPU, onnxruntime

_SUFFIX = "ExecutionProvider"
_MOST = 0.9


def resolve(name: str) -> str:
    """ONNX Runtime's name of a provider, e.g. "CUDAExecutionProvider" for "cuda".

    Raises:
        UnknownNameError: ONNX Runtime has no provider of that name on any platform.
    """
    known: dict[str, str] = {full.removesuffix(_SUFFIX).lower(): full for full in onnxruntime().get_all_providers()}
    short = name.strip().lower().removesuffix(_SUFFIX.lower())
    if short not in known:
        raise UnknownNameError("execution provider", name, known)
    return known[short]


def lacking(providers: Sequence[str]) -> str | None:
    """Why these providers cannot be measured here, or None where the installed wheel has them all."""
    available = onnxruntime().get_available_providers()
    missing = [name for name in providers if name not in available]
    if not missing:
        return None
    return f"the installed ONNX Runtime has no {', '.join(missing)} (it has {', '.join(available)})"


def fallback(placement: Placement) -> str | None:
    """Why a row is not one of the provider asked for first: it took none of the nodes; None where it took some."""
    first = placement.requested[0]
    if placement.nodes.get(first):
        return None
    nodes = sum(placement.nodes.values())
    return f"{first} took none of the {nodes} nodes; they ran on {placement.effective}"


def mixed(placement: Placement) -> str | None:
    """A note where less than 90 % of the kernel time was spent on the provider asked for first, else None."""
    first = placement.requested[0]
    share = placement.time_share.get(first, 0.0)
    if first == CPU or share >= _MOST:
        return None
    nodes = ", ".join(f"{count} nodes on {name.removesuffix(_SUFFIX)}" for name, count in placement.nodes.items())
    return f"MIXED: {100 * share:.0f} % of the kernel time on {first.removesuffix(_SUFFIX)} ({nodes})"
