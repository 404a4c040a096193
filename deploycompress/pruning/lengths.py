"""model -> an integer shape for every value: each symbolic length of the inputs stands as a prime of its own.

A prime shows through every product, so that an axis of length 11 * 12 is batch times heads and nothing else. Equal
symbols are equal primes. Where the nets' own arithmetic does not admit small ones, larger ones are tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from deploycompress.passes import graph as g
from deploycompress.passes.fold_constants import FoldConstants
from deploycompress.passes.infer_node import infer_outputs
from deploycompress.passes.shapes import Shapes, infer
from deploycompress.pruning.standing_in import stand_in

_LEADING = (11, 13, 17, 19, 23, 29)  # of batches and whatever else leads a shape
_OTHER = ((37, 41, 43, 47, 53, 59, 61), (223, 227, 229, 233, 239, 241, 251), (1,) * 7)


def shapes(model: ir.Model) -> dict[ir.Value, tuple[int, ...]]:
    """The shape of every value of the main graph that has one on every run, with primes for symbols."""
    best: dict[str, tuple[int, ...]] = {}
    for lengths in _OTHER:
        found, problem = _with(model, lengths)
        sound = {name: shape for name, shape in found.items() if min(shape, default=1) > 0}
        best = max(best, sound, key=len)
        if not problem and len(sound) == len(found):
            break
    return {value: best[name] for value in g.values(model) if (name := value.name) and name in best}


def _with(model: ir.Model, lengths: Sequence[int]) -> tuple[dict[str, tuple[int, ...]], str]:
    """Shapes by name for these primes, and what shape inference has against them."""
    copy = model.clone()
    _bind(copy, lengths)
    stand_in(copy)
    inferred = certain(copy)
    found = _static(copy, inferred)
    if any(output.name not in found for node in copy.graph for output in node.outputs if output.name):
        copy = FoldConstants()(copy).model
        inferred = certain(copy)
        found |= _static(copy, inferred)
    return found, inferred.problem


def certain(model: ir.Model) -> Shapes:
    """What `shapes.infer` proves, and what follows from it through operators for which `onnx` infers nothing."""
    copy = model.clone()
    stand_in(copy)
    inferred = infer(copy)
    for node in copy.graph:
        if node.outputs and node.outputs[0] not in inferred.lengths:
            infer_outputs(node, inferred, {})
    twins = {value.name: value for value in g.values(copy) if value.name}
    pairs = [(value, twins[value.name or ""]) for value in g.values(model) if value.name in twins]
    return Shapes(
        {value: inferred.lengths[twin] for value, twin in pairs if twin in inferred.lengths},
        {value: inferred.dtypes[twin] for value, twin in pairs if twin in inferred.dtypes},
        inferred.opset,
        inferred.problem,
    )


def _static(model: ir.Model, inferred: Shapes) -> dict[str, tuple[int, ...]]:
    shapes = {value.name: inferred.static(value) for value in g.values(model) if value.name}
    return {name: shape for name, shape in shapes.items() if shape is not None}


def _bind(model: ir.Model, lengths: Sequence[int]) -> None:
    """Gives every free axis of every input a prime; the same one where the symbol is the same."""
    leading, other = list(_LEADING), list(lengths)
    given: dict[str, int] = {}
    for value in model.graph.inputs:
        if value.shape is None:
            continue
        dims = []
        for axis, length in enumerate(value.shape):
            if isinstance(length, int):
                dims.append(length)
                continue
            symbol = length.value or f"{value.name}.{axis}"
            if symbol not in given:
                source = other if axis and other else leading or other
                given[symbol] = source.pop(0)
            dims.append(given[symbol])
        value.shape = ir.Shape(dims)
