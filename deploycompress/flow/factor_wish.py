"""How far factorization is to go: a share of energy, a share of the parameters, or a limit on accuracy."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.errors import UsageError
from deploycompress.flow.goal import Goal


@dataclass(frozen=True)
class Wish:
    """What decides how far factorization goes; exactly one is given.

    Attributes:
        energy: Share of the energy of every layer's output that its form keeps, at the least.
        ratio: Share of its parameters that its form has, at the most.
        goal: What accuracy the whole must keep.
    """

    energy: float | None = None
    ratio: float | None = None
    goal: Goal | None = None

    @property
    def asked(self) -> str:
        """It as it is typed."""
        if self.goal is not None:
            return self.goal.asked
        return f"--energy {self.energy:g}" if self.energy is not None else f"--ratio {self.ratio:g}"

    def check(self) -> None:
        """Refuses none, several, and shares that are no shares.

        Raises:
            UsageError: Says what to give.
        """
        given = [each for each in (self.energy, self.ratio, self.goal) if each is not None]
        if len(given) != 1:
            raise UsageError(
                "one thing decides how far factorization goes" if given else "how far is factorization to go?",
                remedy="give one of --energy 0.95, --ratio 0.5, --max-drop 1% and --min-agreement 99%",
            )
        for name, share in (("energy", self.energy), ("ratio", self.ratio)):
            if share is not None and not 0 < share < 1:
                raise UsageError(f"--{name} must lie between 0 and 1, not {share:g}")
        if self.goal is not None:
            self.goal.check()
