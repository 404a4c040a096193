"""torch module, ONNX file -> how far apart their outputs are, at the example's sizes and at sizes never seen.

max |onnx - torch| <= tolerance * max |torch| + floor, output by output; integers and booleans must be equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deploycompress.errors import DeployCompressError
from deploycompress.runtime.session import Session, SessionConfig
from deploycompress.training.example import BATCH, Inputs

# Both sides sum the same products in another order. A float32 dot product of n terms errs by about sqrt(n) 2^-24 of its
# size, 4e-6 for n = 4096; some tens of layers add up to a few 1e-5. 1e-4 leaves room for that and none for a wrong
# operator, a lost bias or batch statistics. float16 has 2^-11 in place of 2^-24; its sums are kept in float32.
# Where activations are rounded to codes, sums that differ in their last bit may round to neighbouring codes; one such
# code is at most a share of 1 / 127 of the largest, and of the sums behind it a smaller one.
_OF_ROUNDED = (2e-2, 1e-5)
_TOLERANCE = {"float64": (1e-4, 1e-5), "float32": (1e-4, 1e-5), "float16": (1e-2, 1e-3)}

_PRECISE = {"session.qdq_matmulnbits_accuracy_level": "0"}  # packed weights: without rounding the input to int8 as well


class ParityError(Exception):
    """The exported model differs from torch; `sizes` where."""


class FixedSizeError(Exception):
    """The network itself takes no other size than that of the example."""


@dataclass(frozen=True)
class Parity:
    """Agreement of torch and ONNX Runtime.

    Attributes:
        sizes: Every combination of sizes that was compared, e.g. {"batch": 3}.
        max_abs: Largest absolute difference met.
        max_rel: Largest difference over the largest absolute value of its output.
        tolerance: What `max_rel` may be (plus a floor of a tenth of it, absolute).
    """

    sizes: tuple[Mapping[str, int], ...]
    max_abs: float
    max_rel: float
    tolerance: float


@dataclass(frozen=True)
class Reference:
    """Inputs of certain sizes and what torch makes of them."""

    sizes: dict[str, int]
    tensors: tuple[torch.Tensor, ...]
    outputs: tuple[np.ndarray, ...]


def sizes_to_try(inputs: Inputs) -> tuple[dict[str, int], ...]:
    """The example's sizes, then batches 1, 2, 3 and 5 where the batch may change; other symbols get unseen sizes."""
    own = inputs.sizes
    tried = [own]
    for shift, batch in enumerate((1, 2, 3, 5)):
        others = {symbol: size + (shift % 3) for symbol, size in own.items() if symbol != BATCH}
        tried.append({**others, **({BATCH: batch} if BATCH in own else {})})
    return tuple(dict(pairs) for pairs in dict.fromkeys(tuple(sizes.items()) for sizes in tried))


def references(module: torch.nn.Module, inputs: Inputs) -> list[Reference]:
    """What torch gives for every size to try.

    Raises:
        FixedSizeError: torch itself fails at another size than the example's, or its outputs ignore the batch.
    """
    found: list[Reference] = []
    with torch.no_grad():
        for number, sizes in enumerate(sizes_to_try(inputs)):
            tensors = inputs.varied(sizes, seed=number)
            try:
                outputs = flatten(inputs.call(module, tensors))
            except (RuntimeError, ValueError, IndexError, AssertionError) as error:
                if number == 0:
                    raise
                raise FixedSizeError(f"forward fails for {_said(sizes)}: {str(error).splitlines()[0]}") from error
            found.append(Reference(sizes, tensors, tuple(output.detach().cpu().numpy() for output in outputs)))
    batch = inputs.sizes.get(BATCH)
    for other in found[1:]:
        for own, output in zip(found[0].outputs, other.outputs, strict=True):
            if batch is not None and own.shape[:1] == (batch,) and output.shape[:1] != (other.sizes[BATCH],):
                raise FixedSizeError(
                    f"forward returns {list(output.shape)} for {_said(other.sizes)}: it fixes the batch at {batch}"
                )
    return found


def compare(
    path: Path,
    inputs: Inputs,
    expected: Sequence[Reference],
    output_names: Sequence[str] = (),
    *,
    rounds: bool = False,
) -> Parity:
    """Runs the ONNX file on the same inputs; outputs are matched by `output_names` where it has these, else in order.

    Args:
        path: The ONNX file.
        inputs: Names and kinds of the inputs.
        expected: What torch gave.
        output_names: Names of the outputs, in torch's order.
        rounds: Whether the network rounds activations to codes.

    Raises:
        ParityError: It does not load, fails, or differs anywhere.
    """
    try:
        session = Session(path, SessionConfig(threads=1, entries=_PRECISE))
    except DeployCompressError as error:
        raise ParityError(error.what) from error
    largest_abs = largest_rel = tolerance = 0.0
    taken = session.signature.input_names
    for at in expected:
        feed = {name: tensor.numpy() for name, tensor in zip(inputs.names, at.tensors, strict=True) if name in taken}
        try:
            outputs = session.run(feed)
        except DeployCompressError as error:
            raise ParityError(f"for {_said(at.sizes)} ONNX Runtime fails: {error.what}") from error
        if set(outputs) <= set(output_names):  # an exporter may leave outputs out
            wanted = dict(zip(output_names, at.outputs, strict=True))
        elif len(outputs) == len(at.outputs):
            wanted = dict(zip(outputs, at.outputs, strict=True))
        else:
            raise ParityError(f"it has {len(outputs)} outputs, torch {len(at.outputs)}")
        for name, output in outputs.items():
            reference = wanted[name]
            if output.shape != reference.shape or output.dtype != reference.dtype:
                raise ParityError(
                    f"for {_said(at.sizes)} output {name!r} is {output.dtype}{list(output.shape)}, "
                    f"torch gives {reference.dtype}{list(reference.shape)}"
                )
            absolute, scale = _difference(output, reference)
            allowed, floor = _OF_ROUNDED if rounds else _TOLERANCE.get(reference.dtype.name, (0.0, 0.0))
            if not absolute <= allowed * scale + floor:
                raise ParityError(
                    f"for {_said(at.sizes)} output {name!r} differs from torch by {absolute:.2g} "
                    f"(allowed {allowed * scale + floor:.2g})"
                )
            largest_abs, tolerance = max(largest_abs, absolute), max(tolerance, allowed)
            largest_rel = max(largest_rel, absolute / scale if scale else 0.0)
    return Parity(tuple(at.sizes for at in expected), largest_abs, largest_rel, tolerance)


def flatten(output: object) -> list[torch.Tensor]:
    """The tensors of a network's return value, in order; None entries are left out, as the exporters do."""
    leaves = torch.utils._pytree.tree_leaves(output)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _difference(output: np.ndarray, reference: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference (inf where one side alone is not a finite number) and largest finite reference."""
    if reference.size == 0:
        return 0.0, 0.0
    a, b = output.astype(np.float64), reference.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    gap = np.where(same, 0.0, np.abs(np.where(same, 0.0, a) - np.where(same, 0.0, b)))
    finite = np.abs(b[np.isfinite(b)])
    return float(np.nan_to_num(gap, nan=np.inf).max()), float(finite.max(initial=0.0))


def _said(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{symbol} {size}" for symbol, size in sizes.items()) or "the example"
