"""prompt -> answer: what a teacher behind an interface is asked for, and one that is a function in this process.

Many providers' terms forbid training competing models on their answers; a client states what its terms say, and
`collect` keeps it with every answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

Parameters = Mapping[str, str | int | float]


class TeacherClient(Protocol):
    """A teacher that answers text with text.

    Attributes:
        name: Which teacher, with its version.
        parameters: Of the sampling: temperature, largest length, seed.
        licence: Under which terms the answers are given.
        training_allowed: Whether those terms allow training on the answers; None where they do not say.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def parameters(self) -> Parameters: ...  # noqa: D102
    @property
    def licence(self) -> str: ...  # noqa: D102
    @property
    def training_allowed(self) -> bool | None: ...  # noqa: D102

    def answer(self, prompt: str) -> str:
        """The teacher's answer to one prompt."""
        ...


@dataclass(frozen=True)
class LocalTeacher:
    """A `TeacherClient` that is a function here: a model of one's own, or the stand-in of a test."""

    name: str
    function: Callable[[str], str]
    parameters: Parameters = field(default_factory=dict)
    licence: str = "own model"
    training_allowed: bool | None = True

    def answer(self, prompt: str) -> str:
        """What the function returns."""
        return self.function(prompt)
