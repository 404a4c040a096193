"""layer -> its factorized forms, of every method and about every size that makes sense, as factors.

A size is the share of the layer's parameters that the factors have: ranks follow from it, rounded down to what kernels
like. Of Tucker-2 both ranks keep the same share of energy along their side.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal, get_args

import numpy as np

from deploycompress.factorization import low_rank
from deploycompress.factorization.cp import cp
from deploycompress.factorization.factors import Factor, Factors, Matrix, parameters
from deploycompress.factorization.layer import Layer
from deploycompress.factorization.low_rank import Spectrum, Vector
from deploycompress.factorization.separable import separable
from deploycompress.factorization.spatial import spatial, spectrum
from deploycompress.factorization.tucker import energies, tucker

Method = Literal["svd", "whitened", "tucker", "cp", "spatial", "separable"]
METHODS: tuple[Method, ...] = get_args(Method)

SHARES = tuple(0.07 * 1.5**step for step in range(7))  # 7 % to 80 % of the parameters
_ROUND = 8
_PLANE = 2
_WIDEST_CP = 256  # its depthwise lines move as much memory as they save, and its sweeps take minutes


@dataclass(frozen=True, eq=False)
class Candidate:
    """One form that a layer may get.

    Attributes:
        method: How it is found.
        ranks: Widths between its factors.
        hollow: Factors of its shapes, all zero: enough to count and to time it.
        make: Finds its factors.
    """

    method: Method
    ranks: tuple[int, ...]
    hollow: Factors
    make: Callable[[], Factors]

    @property
    def called(self) -> str:
        """As in "tucker 16, 24"."""
        return f"{self.method} {', '.join(map(str, self.ranks))}"


_Maker = Callable[[float], Candidate | None]


def candidates(layer: Layer, methods: Sequence[Method], products: Matrix | None) -> Iterator[Candidate]:
    """Yields every form that has fewer parameters than the layer, each once.

    Args:
        layer: What is factorized.
        methods: Which ways; `whitened` needs `products`.
        products: X^T X [K, K] of what it multiplies (see `calibration.Gram`).
    """
    for method in methods:
        make, seen = _maker(layer, method, products), set()
        for share in SHARES if make is not None else ():
            found = make(share) if make is not None else None
            if found is None or found.ranks in seen or parameters(found.hollow) >= layer.kernel.size:
                continue
            seen.add(found.ranks)
            yield found


def _maker(layer: Layer, method: Method, products: Matrix | None) -> _Maker | None:
    """What makes the form of a given share of the parameters; None where the method does not fit the layer."""
    match method:
        case "svd":
            return _low_rank(layer, method, lambda: low_rank.plain(layer.matrix))
        case "whitened":
            if products is None:
                return None
            return _low_rank(layer, method, lambda: low_rank.whitened(layer.matrix, products))
        case _ if layer.is_pointwise:
            return None
        case "spatial":
            return _spatial(layer) if len(layer.lengths) == _PLANE and min(layer.lengths) > 1 else None
        case "tucker":
            return _tucker(layer)
        case "cp":
            return _cp(layer)
        case "separable":
            return _separable(layer)


def _rounded(rank: float) -> int:
    """A multiple of eight, or of two below; 0 where nothing is left."""
    whole = int(rank)
    return whole - whole % (_ROUND if whole >= 2 * _ROUND else 2)


def _hollow(*parts: tuple[tuple[int, ...], tuple[int, ...], int]) -> Factors:
    """Factors of these (shape, axes, groups), all zero, in no memory."""
    return tuple(Factor(np.broadcast_to(np.zeros(()), shape), slides, groups) for shape, slides, groups in parts)


def _low_rank(layer: Layer, method: Method, decompose: Callable[[], Spectrum]) -> _Maker:
    outputs, inputs = layer.kernel.shape[:2]
    features, ones = layer.matrix.shape[0], (1,) * len(layer.lengths)
    every, found = tuple(range(len(ones))), cache(decompose)

    def factors(rank: int) -> Factors:
        left, right = found().cut(rank)
        first = Factor(left.T.reshape(rank, inputs, *layer.lengths), every)
        return first, Factor(right.T.reshape(outputs, rank, *ones))

    def make(share: float) -> Candidate | None:
        rank = min(_rounded(share * features * outputs / (features + outputs)), features, outputs)
        hollow = _hollow(((rank, inputs, *layer.lengths), every, 1), ((outputs, rank, *ones), (), 1))
        return Candidate(method, (rank,), hollow, partial(factors, rank)) if rank else None

    return make


def _spatial(layer: Layer) -> _Maker:
    outputs, inputs, height, width = layer.kernel.shape
    found = cache(lambda: spectrum(layer.kernel))

    def make(share: float) -> Candidate | None:
        rank = _rounded(share * layer.kernel.size / (inputs * height + outputs * width))
        hollow = _hollow(((rank, inputs, height, 1), (0,), 1), ((outputs, rank, 1, width), (1,), 1))
        return Candidate("spatial", (rank,), hollow, lambda: spatial(layer.kernel, found(), rank)) if rank else None

    return make


def _cp(layer: Layer) -> _Maker:
    outputs, inputs = layer.kernel.shape[:2]
    axes = len(layer.lengths)
    ones = (1,) * axes

    def make(share: float) -> Candidate | None:
        rank = _rounded(share * layer.kernel.size / sum(layer.kernel.shape))
        lines = [
            ((rank, 1, *(length if n == axis else 1 for n in range(axes))), (axis,), rank)
            for axis, length in enumerate(layer.lengths)
        ]
        hollow = _hollow(((rank, inputs, *ones), (), 1), *lines, ((outputs, rank, *ones), (), 1))
        return Candidate("cp", (rank,), hollow, lambda: cp(layer.kernel, rank)) if 0 < rank <= _WIDEST_CP else None

    return make


def _separable(layer: Layer) -> _Maker:
    outputs, inputs = layer.kernel.shape[:2]
    places, axes = math.prod(layer.lengths), len(layer.lengths)

    def make(share: float) -> Candidate | None:
        depth = int(share * layer.kernel.size / (inputs * (places + outputs)))
        wide = inputs * depth
        every = tuple(range(axes))
        hollow = _hollow(((wide, 1, *layer.lengths), every, inputs), ((outputs, wide, *(1,) * axes), (), 1))
        if not 0 < depth < places:
            return None
        return Candidate("separable", (depth,), hollow, lambda: separable(layer.kernel, depth))

    return make


def _tucker(layer: Layer) -> _Maker:
    outputs, inputs = layer.kernel.shape[:2]
    ones = (1,) * len(layer.lengths)
    every = tuple(range(len(ones)))
    kept = [np.cumsum(energy) / (energy.sum() or 1.0) for energy in energies(layer.kernel)]
    pairs = list(dict.fromkeys(_pair(kept, energy) for energy in np.linspace(0, 1, 101)))

    def make(share: float) -> Candidate | None:
        best = None
        for first, last in pairs:
            core = (last, first, *layer.lengths)
            hollow = _hollow(((first, inputs, *ones), (), 1), (core, every, 1), ((outputs, last, *ones), (), 1))
            if parameters(hollow) <= share * layer.kernel.size:
                best = Candidate("tucker", (first, last), hollow, partial(tucker, layer.kernel, (first, last)))
        return best

    return make


def _pair(kept: Sequence[Vector], energy: float) -> tuple[int, int]:
    """The ranks of inputs and outputs that keep this share of energy, rounded down."""
    first, last = (min(len(each), max(2, _rounded(int(np.searchsorted(each, energy)) + 1))) for each in kept)
    return first, last
