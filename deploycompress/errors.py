"""One tree of errors; each says what is wrong, where, and how to mend it, and carries its exit code.

Exit codes: 1 a gate was not met, 2 usage, 3 we produced an invalid model, 4 input rejected, 5 the environment
lacks something. 0 is success and has no error.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class DeployCompressError(Exception):
    """Base of every error this package raises on purpose; prints as one line.

    Attributes:
        what: What is wrong.
        where: The file, tensor, node or key concerned; empty when ``what`` already names it.
        remedy: What the user can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what = " ".join(what.split())
        self.where = where
        self.remedy = " ".join(remedy.split())
        super().__init__(self.what)

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return f"{located}; {self.remedy}" if self.remedy else located


class GateError(DeployCompressError):
    """A limit the user set was not met; the best result is on disk all the same."""

    exit_code = 1


class UsageError(DeployCompressError):
    """The command line, recipe or target asks for something that does not exist."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name the user gave matches nothing; the message lists the nearest names that exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        known = sorted(set(known))
        nearest = difflib.get_close_matches(name, known, n=3, cutoff=0.5) or known[:8]
        remedy = f"did you mean {', '.join(nearest)}?" if nearest else f"there is no {kind} to choose from"
        super().__init__(f"unknown {kind} {name!r}", where=where, remedy=remedy)


class UnsupportedError(UsageError):
    """The target or format cannot honour what was asked; nothing is changed silently instead."""


class InvalidOutputError(DeployCompressError):
    """We produced a model that does not load, run or agree; nothing was left on disk."""

    exit_code = 3


class InputRejectedError(DeployCompressError):
    """An input file is unusable or unsafe."""

    exit_code = 4


class ModelRejectedError(InputRejectedError):
    """A model file is damaged, hostile, or not one that ONNX Runtime can load."""


class DataRejectedError(InputRejectedError):
    """Not one sample is usable, or the samples are not fit for what they were given for."""


class CheckpointRejectedError(InputRejectedError):
    """A checkpoint is damaged or would execute code when read."""


class CalibrationRejectedError(InputRejectedError):
    """A calibration file is damaged, foreign, or belongs to another model or other samples."""


class EnvironmentLacksError(DeployCompressError):
    """The machine lacks a package, provider, permission or disk space."""

    exit_code = 5


class MissingExtraError(EnvironmentLacksError):
    """An optional dependency is absent; the message names the extra that brings it."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} is not installed", remedy=f"pip install 'deploycompress[{extra}]'")
