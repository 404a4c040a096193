"""What two reports of the same models say about each other, figure by figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Judgement = Literal["better", "worse", "no difference", "not comparable"]


@dataclass(frozen=True)
class Difference:
    """One figure of one model in an old and a new report.

    Attributes:
        model: Name of the model, with the provider where there are several.
        figure: Name of the figure.
        old: Its value with its interval in words.
        new: The same in the new report.
        change: How it changed, with a 95 % interval where one is known; in words.
        judgement: What that means, or why it means nothing.
    """

    model: str
    figure: str
    old: str
    new: str
    change: str
    judgement: Judgement


@dataclass(frozen=True)
class Compared:
    """Two reports side by side.

    Attributes:
        differences: Every figure that both have.
        notes: Models, files, data, settings and machines that differ.
        verdict: The result in words.
    """

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    verdict: str

    @property
    def worse(self) -> tuple[Difference, ...]:
        """What became worse beyond its interval."""
        return tuple(found for found in self.differences if found.judgement == "worse")
