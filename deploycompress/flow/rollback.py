"""quantized graph -> the one whose layers are float again where that is measured faster; all of them if need be.

Every layer has a time in float and one in 8 bits, and what lies between two layers of different form has its price (see
`layer_costs`): a single slow layer between two fast ones stays where two conversions would cost more, and the first
layers of a convolutional net, with their few channels and large images, go back together. What the cut promises is then
measured: the whole graph against the one before. And the best graph that is left is measured against the model as
given: where 8 bits make it slower, every layer goes back.
"""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress import model as models
from deploycompress.flow.draft import Draft
from deploycompress.flow.layer_costs import Costs
from deploycompress.flow.layer_times import profiled, tagged, tags
from deploycompress.flow.making import Choice, Made
from deploycompress.measurement.compare import MIN_EFFECT, quick_compare
from deploycompress.quantization.candidates import WEIGHTED
from deploycompress.quantization.spec import FLOAT
from deploycompress.records.measured import Comparison
from deploycompress.runtime.session import Feed, Session, SessionConfig

_LEAST_GAIN = 0.01  # of all kernels: less is not worth a larger file
_PATIENCE_S = 6.0
_EVERY = (
    "no layer is faster in int8 than in float on this machine; int8 is kept for its size, since the whole is no slower "
    "than the model as given: `optimize` is for speed"
)


@dataclass(frozen=True)
class RolledBack:
    """What measuring took back.

    Attributes:
        made: The graph to go on with.
        released: Layers that are float in it because they are faster, with the reason, by first output name.
        notes: What is to be known about it.
        given_up: Speed, against the model as given, of the int8 graph of which every layer went back; None where some
            stayed.
    """

    made: Made
    released: dict[str, Choice]
    notes: tuple[str, ...] = ()
    given_up: Comparison | None = None


def roll_back(drafted: Draft, made: Made, original: Session, feed: Feed, *, keep_slower: bool = False) -> RolledBack:
    """Leaves layers float that are measured faster there, and all of them where int8 makes the model slower.

    Args:
        drafted: Makes quantized graphs.
        made: The one that leaves float what the user excluded alone.
        original: The model as given.
        feed: What is timed.
        keep_slower: Keep a graph that is slower than the model as given, for its size.
    """
    config = original.config
    tag_of = tags(drafted.floats)
    pair = (tagged(drafted.floats, tag_of, floats=True), tagged(made.model, tag_of))
    before, after = profiled(pair, feed, config)
    released, gain_us = Costs(drafted.floats, made.plan, before, after, tag_of).cheapest()
    total_us = sum(after.by_tag.values())
    nodes = made.plan.nodes.items()
    layers = {name for name, planned in nodes if planned.form == "int8" and planned.op_type in WEIGHTED}
    none_gains = layers <= released.keys()
    rolled = RolledBack(made, {}, (_EVERY,) if none_gains else ())
    if layers & released.keys() and not none_gains and gain_us >= _LEAST_GAIN * total_us:
        candidate = drafted.made(released)
        if _pays(made, candidate, feed, config, gain_us / total_us):
            rolled = RolledBack(candidate, released)
    if keep_slower:
        return rolled
    found = _slower(original, _opened(rolled.made, config), feed, doubted=none_gains)
    if found is None:
        return rolled
    why = f"in int8 the model as a whole runs at x{found.speedup:.2f} of its speed on this machine"
    every = {name: released.get(name, Choice(FLOAT, why)) for name, planned in nodes if planned.form == "int8"}
    return RolledBack(drafted.made(every), every, given_up=found)


def _slower(original: Session, candidate: Session, feed: Feed, *, doubted: bool) -> Comparison | None:
    """The speed of the candidate where it was measured slower twice, or where nothing speaks for it in the noise."""
    found = quick_compare(original, candidate, feed)
    if found.verdict in ("FASTER", "NO DIFFERENCE"):
        return None
    found = quick_compare(original, candidate, feed, budget_s=_PATIENCE_S)
    noisy = doubted and found.verdict == "TOO NOISY" and found.speedup < 1 / (1 + MIN_EFFECT)
    return found if found.verdict == "SLOWER" or noisy else None


def _pays(made: Made, candidate: Made, feed: Feed, config: SessionConfig, promised: float) -> bool:
    """Whether the candidate is faster; where noise hides the promised share, whether nothing speaks against it."""
    old, new = _opened(made, config), _opened(candidate, config)
    found = quick_compare(old, new, feed)
    if found.verdict == "TOO NOISY":
        found = quick_compare(old, new, feed, budget_s=_PATIENCE_S)
    if found.verdict in ("FASTER", "SLOWER"):
        return found.verdict == "FASTER"
    return found.speedup >= 1 and (found.verdict == "TOO NOISY" or promised < 2 * MIN_EFFECT)


def _opened(made: Made, config: SessionConfig) -> Session:
    return Session(models.serialize(made.model), config, weights_dir=models.weights_dir(made.model))
