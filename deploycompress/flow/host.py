"""--target NAME -> Target; "auto" is the shipped CPU profile whose instruction set this machine has."""

from __future__ import annotations

from deploycompress import targets
from deploycompress.errors import UnsupportedError
from deploycompress.flow.verdict import elsewhere
from deploycompress.measurement.environment import environment
from deploycompress.targets import Target

AUTO = "auto"
# The first that fits: the better kernels first. The laptop and server profiles of Arm differ in nothing that decides.
_CANDIDATES = ("server-cpu", "server-cpu-avx2", "edge-arm64-dotprod", "edge-arm64")


def resolve(name: str) -> Target:
    """The target of that name or file, or the one this machine is.

    Raises:
        UnknownNameError: No profile has that name.
        UnsupportedError: "auto" on a machine that no profile describes.
    """
    if name != AUTO:
        return targets.load(name)
    here = environment()
    for candidate in _CANDIDATES:
        target = targets.load(candidate)
        if elsewhere(target, here.machine, here.cpu_flags) is None:
            return target
    raise UnsupportedError(
        f"no profile describes this machine ({here.machine}: {', '.join(here.cpu_flags) or 'no known extension'})",
        remedy="name one with --target, or give a TOML file of your own",
    )


def described(asked: str, found: Target) -> str:
    """How a command shows its target: the profile, and how it came to be chosen where that was not by name."""
    return found.name if asked == found.name else f"{found.name} ({asked})"
