"""forms of every layer, how far to go -> which of them to take, and the graph that has them.

With a limit on accuracy: the front of `factor_choice` is bisected, whole graphs judged, refitted like the one that is
written in the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from deploycompress import model as models
from deploycompress.factorization import replace
from deploycompress.flow.factor_choice import Chosen, front, within_error, within_parameters
from deploycompress.flow.factor_mending import mend
from deploycompress.flow.factor_options import Found
from deploycompress.flow.factor_wish import Wish
from deploycompress.flow.factored import FactorTrial
from deploycompress.flow.given import Given
from deploycompress.flow.held_out import Part
from deploycompress.flow.judge import Judge
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Session


@dataclass(frozen=True)
class Maker:
    """Writes choices into graphs."""

    floats: ir.Model
    given: Given
    samples: tuple[Part, Part] | None
    track: Track

    def made(self, chosen: Chosen) -> tuple[ir.Model, tuple[str, ...]]:
        """The graph with these forms, and the layers whose last factor was fitted once more."""
        after = self.floats.clone()
        nodes = {node.outputs[0].name: node for node in after.graph if node.outputs}
        for name, timed in chosen.items():
            replace(after, nodes[name], timed.form.factors, timed.form.shift)
        if self.samples is None or not chosen:
            return after, ()
        return mend(
            self.floats,
            after,
            chosen,
            *self.samples,
            weights_dir=models.weights_dir(self.floats),
            config=self.given.config,
            track=self.track,
        )

    def session(self, chosen: Chosen) -> Session:
        """It, open."""
        made, _ = self.made(chosen)
        return Session(models.serialize(made), self.given.config, weights_dir=models.weights_dir(made))


def choose(found: Found, wish: Wish, maker: Maker, judge: Judge | None) -> tuple[Chosen, tuple[FactorTrial, ...]]:
    """The form of each layer that gets one, and what was judged on the way."""
    if wish.energy is not None:
        return within_error(found.options, 1 - wish.energy), ()
    if wish.ratio is not None:
        return within_parameters(found.options, wish.ratio), ()
    assert judge is not None
    steps, trials = front(found.options), list[FactorTrial]()
    low, high = 0, len(steps) - 1  # steps[0] changes nothing, and meets any limit
    while low < high:
        middle = (low + high + 1) // 2
        score = judge(maker.session(steps[middle]), maker.track)
        trials.append(FactorTrial(len(steps[middle]), score.met, score.said))
        low, high = (middle, high) if score.met else (low, middle - 1)
    return steps[low], tuple(trials)
