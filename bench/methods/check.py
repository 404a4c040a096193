"""What a check of a training method is: a function of a seed, and a rule on the means over all seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Figures = dict[str, float]


def fresh(count: int) -> tuple[int, ...]:
    """Seeds that no pilot used: 1000, 1001, ..."""
    return tuple(range(1000, 1000 + count))


@dataclass(frozen=True)
class Check:
    """A small experiment with a rule that can fail.

    Attributes:
        name: As in the tables, "KD-1".
        seeds: Every arm of an experiment uses the same seed for data and initial weights.
        run: seed -> figures of that seed, accuracies in percent.
        rule: {figure: mean over the seeds} -> whether it holds; differences of means are means of paired differences.
        text: The rule in words.
        fast: Whether its first seed belongs to the subset that CI runs.
    """

    name: str
    seeds: tuple[int, ...]
    run: Callable[[int], Figures]
    rule: Callable[[Mapping[str, float]], bool]
    text: str
    fast: bool = False
