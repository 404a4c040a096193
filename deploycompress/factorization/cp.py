"""K [M, C, *kernel] -> sum of R products of vectors: 1x1, one depthwise line along each axis, 1x1.

    K[m, c, k, l] = sum over r of last[m, r] rows[r, k] columns[r, l] first[r, c]

Alternating least squares: each set of vectors in turn is the best one for the others as they are. Started from the
leading singular vectors of every unfolding, filled up at random; a trace of ridge keeps vectors that grow against one
another from doing so for ever. Source: Lebedev et al., "Speeding-up Convolutional Neural Networks Using Fine-tuned
CP-Decomposition", ICLR 2015; Kolda and Bader, "Tensor Decompositions and Applications", 2009, section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.factorization.factors import Factor, Factors, Kernel, Matrix

_SWEEPS = 20
_SETTLED = 3e-4  # of the energy of the kernel
_RIDGE = 1e-12


def cp(kernel: Kernel, rank: int, seed: int = 0) -> Factors:
    """One pointwise factor, one depthwise factor for each axis of the kernel longer than 1, one pointwise factor."""
    sides = _started(kernel, rank, np.random.default_rng(seed))
    energy, before = float((kernel**2).sum()) or 1.0, np.inf
    for _ in range(_SWEEPS):
        for axis in range(kernel.ndim):
            rest = [side.T @ side for n, side in enumerate(sides) if n != axis]
            normal = np.prod(rest, axis=0)
            normal += _RIDGE * (float(np.trace(normal)) / rank or 1.0) * np.eye(rank)
            met = _met(kernel, sides, axis)
            sides[axis] = np.asarray(np.linalg.solve(normal, met.T).T, np.float64)
        # |K - K'|^2 = |K|^2 - 2 <K, K'> + |K'|^2, with what the last side met
        error = 1 + float(((sides[-1].T @ sides[-1]) * normal).sum() - 2 * (met * sides[-1]).sum()) / energy
        if before - error < _SETTLED:
            break
        before = error
    return _factors(_balanced(sides), kernel.ndim - 2)


def _started(kernel: Kernel, rank: int, random: np.random.Generator) -> list[Matrix]:
    sides = []
    for axis, length in enumerate(kernel.shape):
        unfolded = np.moveaxis(kernel, axis, 0).reshape(length, -1)
        found = np.linalg.svd(unfolded, full_matrices=False)[0][:, :rank]
        more = random.standard_normal((length, rank - found.shape[1])) / np.sqrt(length)
        sides.append(np.concatenate([found, more], axis=1))
    return sides


def _met(kernel: Kernel, sides: Sequence[Matrix], axis: int) -> Matrix:
    """[length of `axis`, rank]: the kernel against the vectors of every other axis, the longest axis first."""
    left = list(range(kernel.ndim))
    found: Kernel | None = None
    for other in sorted((n for n in left if n != axis), key=lambda n: -kernel.shape[n]):
        place = left.index(other)
        if found is None:
            found = np.moveaxis(kernel, place, -1) @ sides[other]
        else:
            found = np.einsum("...kr,kr->...r", np.moveaxis(found, place, -2), sides[other])
        left.remove(other)
    assert found is not None
    return found


def _balanced(sides: Sequence[Matrix]) -> list[Matrix]:
    """The same sum with vectors of equal length in every product, which rounds best."""
    norms = [np.linalg.norm(side, axis=0) for side in sides]
    each = np.prod(norms, axis=0) ** (1 / len(sides))
    return [side * (each / np.where(norm > 0, norm, 1)) for side, norm in zip(sides, norms, strict=True)]


def _factors(sides: Sequence[Matrix], axes: int) -> Factors:
    last, first, *lines = sides
    rank, ones = first.shape[1], (1,) * axes
    made = [Factor(first.T.reshape(rank, -1, *ones))]
    for axis, line in enumerate(lines):
        shape = [1] * axes
        shape[axis] = len(line)
        made.append(Factor(line.T.reshape(rank, 1, *shape), (axis,), rank))
    return (*made, Factor(last.reshape(-1, rank, *ones)))
