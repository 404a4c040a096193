"""group, samples -> how often what its units give is zero: APoZ, the average percentage of zeros.

    APoZ of a unit = share of zeros among its values over all samples and places

on what the layers that read the group read. A unit that is nearly always zero matters little: the highest go first.
Zeros are exact behind a Relu or Clip; GELU, SiLU and their kin have none, so there a value counts as zero where it is
within 1 % of the root mean square of the tensor (our extension).

Source: Hu, Peng, Tai and Tang, "Network Trimming", 2016 (arXiv:1607.03250), section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from deploycompress import model as models
from deploycompress.calibration.taps import tap
from deploycompress.passes import graph as g
from deploycompress.pruning.consumers import Consumer, consumers
from deploycompress.pruning.curves import Floats
from deploycompress.pruning.groups import Group
from deploycompress.runtime.session import Feed, Session, SessionConfig

_ALMOST = 0.01  # of the root mean square
_KEEPS_ZEROS = ("MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout")


def zeros(
    model: ir.Model,
    groups: Sequence[Group],
    feeds: Iterable[Feed],
    *,
    weights_dir: Path | None = None,
    config: SessionConfig | None = None,
) -> dict[Group, Floats]:
    """Share of zeros of each unit, in [0, 1], of the groups that a layer reads.

    Args:
        model: The graph that was grouped.
        groups: Of it.
        feeds: Samples.
        weights_dir: Folder of the external data, where the model has any.
        config: How the session is opened.
    """
    readers = {group: consumers(group) for group in groups}
    names = list(dict.fromkeys(reader.rows.tensor for found in readers.values() for reader in found))
    made = {name for node in model.graph for value in node.outputs if (name := value.name)}
    names = [name for name in names if name in made]
    if not names:
        return {}
    copy, taps = tap(model, names)
    session = Session(models.serialize(copy), config, weights_dir=weights_dir)
    all_readers = [reader for some in readers.values() for reader in some]
    axes = {reader.rows.tensor: 1 if g.is_op(reader.node, "Conv") else -1 for reader in all_readers}
    exact = {value.name: _is_clamped(value) for node in model.graph for value in node.outputs}
    counted: dict[str, Floats] = {}
    seen = dict.fromkeys(names, 0)
    for feed in feeds:
        outputs = session.run(feed)
        for name in names:
            values = np.moveaxis(np.asarray(outputs[taps[name].output]), axes[name], 0)
            values = np.abs(values.reshape(len(values), -1).astype(np.float64))
            least = 0.0 if exact[name] else _ALMOST * float(np.sqrt(np.square(values).mean()))
            counted[name] = counted.get(name, np.zeros(len(values))) + (values <= least).sum(axis=1)
            seen[name] += values.shape[1]
    shares = {name: counted[name] / max(1, seen[name]) for name in names}
    read = {group: [reader for reader in some if reader.rows.tensor in shares] for group, some in readers.items()}
    return {
        group: np.mean([_of_units(reader, group, shares[reader.rows.tensor]) for reader in some], axis=0)
        for group, some in read.items()
        if some
    }


def _of_units(reader: Consumer, group: Group, share: Floats) -> Floats:
    """Mean share over the channels of each unit."""
    unit = reader.units[:: len(reader.units) // len(share)]
    mine = unit >= 0
    sums = np.bincount(unit[mine], weights=share[mine], minlength=group.units)
    return np.asarray(sums / np.maximum(1, np.bincount(unit[mine], minlength=group.units)))


def _is_clamped(value: ir.Value) -> bool:
    """Whether a Relu or Clip made the zeros of a tensor."""
    node = value.producer()
    while node is not None and g.is_op(node, *_KEEPS_ZEROS):
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return node is not None and g.is_op(node, "Relu", "Clip")
