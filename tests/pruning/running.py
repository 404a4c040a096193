"""Removes a share of every group of a model and compares the result with the masked model of the old size."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from deploycompress.flow.agreement import difference
from deploycompress.pruning import Group, Grouping, find, masked, masks, remove
from tests.passes.running import checks, feed, outputs


def chosen(grouping: Grouping, share: float = 0.5, seed: int = 0) -> dict[Group, np.ndarray]:
    """Random units of every group, at least one and not all."""
    rng = np.random.default_rng(seed)
    counts = {group: min(group.units - 1, max(1, round(share * group.units))) for group in grouping.groups}
    return {group: np.sort(rng.choice(group.units, count, replace=False)) for group, count in counts.items()}


def halved(model: ir.Model, *, free: int = 2, seed: int = 0) -> tuple[Grouping, ir.Model]:
    """The groups of a model and it with half of each gone; what is left answers as the masked model does.

    The bound is that of `flow.agreement`, 1e-5 of the largest value: sums without the zeros are added in another order.
    """
    grouping = find(model)
    kept = masks(grouping, chosen(grouping, seed=seed))
    after = remove(model, kept)
    assert checks(after) is None
    inputs = feed(model, free, seed)
    found = difference(outputs(masked(model, kept), inputs), outputs(after, inputs))
    assert found is None, found
    return grouping, after


def members(group: Group) -> set[str]:
    """`weight:axis` of everything a group runs through."""
    return {f"{member.weight.name}:{member.axis}" for member in group.members}


def parameters(model: ir.Model) -> int:
    """Elements of all floating-point weights."""
    tensors = (value.const_value for value in model.graph.initializers.values())
    return sum(tensor.size for tensor in tensors if tensor is not None and tensor.dtype.is_floating_point())
