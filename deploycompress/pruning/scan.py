"""groups, cut one at a time and repaired -> how wrong that makes the outputs of the model: a sensitivity scan.

Each group is cut to a few widths by its own curve, the layers behind it are refitted in closed form from the Gram
matrices at hand, and the model is run on samples. What is measured is

    |Y - Y'|^2 / |Y|^2        Y the outputs before, Y' after

and the curve of the group is scaled by (measured / its own error), interpolated between the widths, so that curves of
different groups say the same thing and can be compared.

Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, section 3.2 (each layer alone).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration import LayerInput
from deploycompress.calibration.gram import Gram
from deploycompress.pruning.consumers import Consumer, consumers
from deploycompress.pruning.curves import Curve, Floats
from deploycompress.pruning.groups import Group, Grouping
from deploycompress.pruning.mending import refit
from deploycompress.pruning.removal import masks, remove
from deploycompress.records.progress import Track, silent
from deploycompress.runtime.session import Feed, Session, SessionConfig

_SHARES = (0.25, 0.5, 0.75)  # of the units
_LEAST = 1e-12  # an error below it is none


def scanned(
    grouping: Grouping,
    curves: Mapping[Group, Curve],
    grams: Mapping[LayerInput, Gram],
    feeds: Iterable[Feed],
    *,
    weights_dir: Path | None = None,
    config: SessionConfig | None = None,
    track: Track = silent,
) -> dict[Group, Curve]:
    """The curves with errors of the model's outputs.

    Args:
        grouping: Of the model.
        curves: By group.
        grams: Second moments of what layers read; layers without are not refitted.
        feeds: Samples, re-iterable.
        weights_dir: Folder of the external data, where the model has any.
        config: How sessions are opened.
        track: Shows progress.
    """
    whole = Session(models.serialize(grouping.model), config, weights_dir=weights_dir)
    expected = [(feed, _floats(whole.run(feed))) for feed in feeds]
    found = {}
    for group, curve in track(list(curves.items()), "measuring what each group matters"):
        counts = sorted({round(share * len(curve.order)) for share in _SHARES} - {0})
        ratios = []
        for count in counts:
            cut = _alone(grouping, group, curve.order[:count], grams)
            session = Session(models.serialize(cut), config, weights_dir=weights_dir)
            error = _error(expected, session)
            ratios.append(max(error, _LEAST) / max(float(curve.errors[count]), _LEAST))
        every = np.arange(len(curve.errors))
        factors = np.exp(np.interp(every, counts, np.log(ratios))) if counts else np.ones(len(every))
        found[group] = curve.scaled(factors)
    return found


def _alone(grouping: Grouping, group: Group, units: np.ndarray, grams: Mapping[LayerInput, Gram]) -> ir.Model:
    """The model with these units of one group gone, and the layers behind them refitted."""
    kept = masks(grouping, {group: units})
    cut = remove(grouping.model, kept)
    twins = {node.outputs[0].name: node for node in cut.graph if node.outputs}
    for reader in consumers(group):
        gram = grams.get(reader.rows)
        if gram is not None:
            joint = _joint(gram, _left(reader, units))
            refit(cut, reader.node, twins[reader.node.outputs[0].name], kept, joint, joint)
    return cut


def _left(reader: Consumer, units: np.ndarray) -> np.ndarray:
    return np.flatnonzero(~np.isin(reader.units, units))


def _joint(gram: Gram, left: np.ndarray) -> Gram:
    """Moments of [X, X'], X' the columns of X that are left."""
    both = np.concatenate([np.arange(gram.sums.shape[1]), left])
    return Gram(gram.count, gram.sums[:, both], gram.products[:, both[:, None], both[None, :]])


def _floats(outputs: Mapping[str, np.ndarray]) -> dict[str, Floats]:
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    return {name: array.astype(np.float64) for name, array in arrays.items() if array.dtype.kind == "f"}


def _error(expected: Sequence[tuple[Feed, Mapping[str, Floats]]], session: Session) -> float:
    """Mean over the outputs of |Y - Y'|^2 / |Y|^2."""
    wrong: dict[str, float] = {}
    power: dict[str, float] = {}
    for feed, outputs in expected:
        for name, value in _floats(session.run(feed)).items():
            wrong[name] = wrong.get(name, 0.0) + float(np.square(value - outputs[name]).sum())
            power[name] = power.get(name, 0.0) + float(np.square(outputs[name]).sum())
    return float(np.mean([wrong[name] / (power[name] or 1.0) for name in wrong] or [0.0]))
