"""model, units to remove -> the smaller model: weights sliced, what counts channels or heads told the new counts.

Exact: its outputs are those of the model in which every removed element is zero wherever it appears, and in which means
over an axis that was cut are taken over what is left (`masked`). Weights on disk are sliced when they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.passes import graph as g
from deploycompress.pruning import patches
from deploycompress.pruning.axes import FIXED
from deploycompress.pruning.groups import Group, Grouping
from deploycompress.pruning.labels import Array
from deploycompress.pruning.lengths import certain

Kept = NDArray[np.bool_]
Masks = dict[str, tuple[Kept, ...]]
"""By name of a value that is cut: for each axis, which of its indices are kept."""


def masks(grouping: Grouping, removed: Mapping[Group, Array]) -> Masks:
    """What is kept of every value that loses anything.

    Args:
        grouping: Of the model.
        removed: Numbers of the units to remove, by group.
    """
    gone = np.zeros(len(grouping.roots), bool)
    for group, units in removed.items():
        gone[group.roots[units]] = True
    gone = gone[grouping.roots]
    found: Masks = {}
    for value, layout in grouping.trace.layouts.items():
        kept = []
        for axis in layout.axes:
            mask: Kept = np.ones(1, bool)
            for factor in axis:
                own: Kept = np.ones(factor.length, bool)
                if factor.name != FIXED:
                    block = layout.block(factor.name)
                    others = tuple(n for n, name in enumerate(block.names) if name != factor.name)
                    own = np.logical_not(gone[block.labels].all(axis=others))
                mask = np.outer(mask, own).ravel()
            kept.append(mask)
        if value.name and not all(mask.all() for mask in kept):
            found[value.name] = tuple(kept)
    return found


def remove(model: ir.Model, kept: Masks) -> ir.Model:
    """A copy of `model` with only what is kept; `model` is the one that was grouped."""
    after = model.clone()
    inferred = certain(after)
    shapes = {value.name: inferred.of(value) or () for value in g.values(after) if value.name}
    for value in g.values(after):
        if value.name not in kept:
            continue
        cut = kept[value.name]
        if value.const_value is not None and value.is_initializer():
            value.const_value = _sliced(value.const_value, cut)
        if value.shape is not None:
            dims = [int(m.sum()) if isinstance(d, int) else d for d, m in zip(value.shape, cut, strict=True)]
            value.shape = ir.Shape(dims)
    for node in list(after.graph):
        patches.patch(after, node, kept, shapes)
    return after


def _sliced(tensor: ir.TensorProtocol, cut: tuple[Kept, ...]) -> ir.TensorProtocol:
    shape = ir.Shape([int(mask.sum()) for mask in cut])
    read = partial(_read, tensor, cut)
    if isinstance(tensor, ir.ExternalTensor | ir.LazyTensor):
        return ir.LazyTensor(read, tensor.dtype, shape, name=tensor.name)
    return read()


def _read(tensor: ir.TensorProtocol, cut: tuple[Kept, ...]) -> ir.TensorProtocol:
    data = tensor.numpy()
    for axis, mask in enumerate(cut):
        if not mask.all():
            data = data[(slice(None),) * axis + (mask,)]
    return ir.Tensor(np.ascontiguousarray(data).reshape(data.shape), tensor.dtype, name=tensor.name)
