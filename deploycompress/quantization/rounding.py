"""weight [K, N], X^T X of its input -> codes whose output error is small, on a grid whose range was searched.

The range of each block is shrunk to where the error weighted by the diagonal of X^T X is least; then GPTQ, the search
of `adaround`, or rounding to nearest (AWQ, whose weights come here already rescaled) chooses the codes on that grid.

Source: see `gptq`, `adaround`, `awq`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.errors import UnsupportedError
from deploycompress.quantization.adaround import adaround_codes
from deploycompress.quantization.affine import QuantizedTensor, encode
from deploycompress.quantization.blocks import assembled, is_signed, levels_range, searched_grids
from deploycompress.quantization.candidates import key
from deploycompress.quantization.gptq import gptq_codes
from deploycompress.quantization.spec import QuantPlan, WeightSpec
from deploycompress.quantization.writer import is_transposed, matrix

_UNSIGNED_MIDDLE = 128  # codes of 0 .. 255 are rounded as -128 .. 127


def rounded(weight: NDArray[np.floating], gram: NDArray[np.float64], spec: WeightSpec) -> QuantizedTensor:
    """Codes of a weight [K, N] that reads an input of second moments `gram` [K, K], as `spec.rounding` says."""
    scale, zero_point = searched_grids(weight, spec, np.diagonal(gram))
    low, high = levels_range(spec)
    if spec.rounding in ("nearest", "awq"):
        group = np.arange(len(weight)) // (spec.block or len(weight))
        codes = encode(weight, scale[group], zero_point[group], low, high).astype(np.int64)
        return assembled(codes, scale, zero_point, spec)
    choose = gptq_codes if spec.rounding == "gptq" else adaround_codes
    middle = 0 if is_signed(spec) else _UNSIGNED_MIDDLE
    shifted = choose(
        weight.T, gram, scale.T, zero_point.T - middle, low - middle, high - middle, block=spec.block
    ).astype(np.int64)
    return assembled(shifted.T + middle, scale, zero_point, spec)


def rounded_weights(
    model: ir.Model, plan: QuantPlan, grams: Mapping[LayerInput, Gram], known: dict[bytes, QuantizedTensor]
) -> dict[str, QuantizedTensor]:
    """Codes [K, N] of every weight of a weight-only plan that is not simply rounded, by first output name.

    Args:
        model: The float graph.
        plan: Says which, and how.
        grams: Second moments of the inputs.
        known: Codes by the content they follow from: what is found there is not computed again, the rest is added.

    Raises:
        UnsupportedError: The second moments of an input are missing.
    """
    found = {}
    for node in model.graph:
        planned = plan.nodes.get(key(node))
        if planned is None or planned.form != "weight-only" or planned.weight is None:
            continue
        if planned.op_type == "Gather" or planned.weight.rounding == "nearest":
            continue
        gram, weight = grams.get(LayerInput.of(node)), node.inputs[1]  # type: ignore[arg-type]  # None is no key
        if gram is None or weight is None or weight.const_value is None:
            raise UnsupportedError(
                f"{planned.weight.rounding} needs samples of what {planned.op_type} {key(node)!r} reads",
                remedy="give --calib DIR, or --algorithm nearest",
            )
        values = matrix(weight.const_value, transposed=is_transposed(node))
        content = _digest(values, gram.products[0], planned.weight)
        if content not in known:
            known[content] = rounded(values, gram.products[0], planned.weight)
        found[key(node)] = known[content]
    return found


def _digest(weight: NDArray[np.floating], gram: NDArray[np.float64], spec: WeightSpec) -> bytes:
    """What the codes follow from, in short: reading it costs a thousandth of rounding it."""
    digest = hashlib.blake2b(repr((spec, weight.shape)).encode())
    for array in (weight, gram):
        digest.update(np.ascontiguousarray(array).data)
    return digest.digest()
