"""weight, X^T X of its input -> codes that minimise the output error itself, d H d^T with d = W - Q, row by row.

Moving q_j by a steps and q_l by b changes the error by a known amount: with G = d H, A = a s_j and B = b s_l,

    -2 A G_j + A^2 H_jj - 2 B G_l + B^2 H_ll + 2 A B H_jl,   least over B at (G_l - A H_jl) / H_ll

For every column j, one step up and one down are tried together with the best answer (none included) of each of the
columns most correlated with it; the best move is made if it lowers the error. Sweeps over the columns go on until
nothing moves, or gains have become small. Each row starts from the better of GPTQ in its two orders, and no move makes
it worse.

AdaRound minimises the same error over floor or ceiling, by gradient descent on a relaxation. Against brute force over
all floors and ceilings of small layers this search ends within two percent (`test_adaround.py`): there is little left
that AdaRound could find.

Source: Nagel et al., AdaRound, ICML 2020 (arXiv:2004.10568), equation 20 (the quadratic objective).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.inverse_factor import damped
from deploycompress.quantization.gptq import gptq_codes

_PARTNERS = 4
_MOST_SWEEPS = 6


def adaround_codes(
    weight: NDArray[np.floating],
    gram: NDArray[np.float64],
    scale: NDArray[np.floating],
    zero_point: NDArray[np.integer],
    low: int,
    high: int,
    *,
    block: int | None = None,
    act_order: bool = True,
    damp: float = 0.01,
) -> NDArray[np.int8]:
    """Codes [N, K] in [low, high], to be read as scale * (code - zero_point).

    Args:
        weight: [N, K], one row an output channel.
        gram: X^T X of the input [K, K], of any positive factor.
        scale: [N, G], one column a block of K; G = 1 where `block` is None.
        zero_point: [N, G], the code of 0.0.
        low: Smallest code, -128 or more.
        high: Largest code, 127 or less.
        block: Elements along K that share a scale; the last block may be shorter.
        act_order: Whether GPTQ in the order of the largest inputs may be the start too.
        damp: As in `gptq_codes`; the objective is damped alike.
    """
    group = np.arange(weight.shape[1]) // (block or weight.shape[1])
    steps, zeros = scale.astype(np.float64)[:, group], zero_point.astype(np.float64)[:, group]
    target, hessian = weight.astype(np.float64), damped(gram, damp)
    shifted = target + steps * zeros
    starts = [
        gptq_codes(weight, gram, scale, zero_point, low, high, block=block, act_order=ordered, damp=damp)
        for ordered in ((False, True) if act_order else (False,))
    ]
    errors = [row_errors(shifted - steps * codes, hessian) for codes in starts]
    start = np.choose(np.argmin(errors, axis=0)[:, None], starts)
    return _descend(start, shifted, hessian, steps, low, high).astype(np.int8)


def row_errors(difference: NDArray[np.float64], gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """D H d^T of each row d of `difference` [N, K]: the squared output error of each channel [N]."""
    errors: NDArray[np.float64] = np.einsum("nk,nk->n", difference @ gram, difference)
    return errors


def _descend(
    start: NDArray[np.int8],
    target: NDArray[np.float64],
    hessian: NDArray[np.float64],
    steps: NDArray[np.float64],
    low: int,
    high: int,
) -> NDArray[np.float64]:
    """Codes [N, K] of which no move of two lowers the error of `steps * codes` against `target` any more."""
    codes = start.astype(np.float64)
    if codes.shape[1] == 1:  # rounding to nearest is the best there is
        return codes
    energy = np.diagonal(hessian)
    correlation = np.abs(hessian) / np.sqrt(np.multiply.outer(energy, energy))
    np.fill_diagonal(correlation, -1.0)
    partners = np.argsort(-correlation, axis=1)[:, : min(_PARTNERS, codes.shape[1] - 1)]
    moving = np.arange(len(codes))
    for _ in range(_MOST_SWEEPS):
        part = _Part(codes[moving], (target - steps * codes)[moving] @ hessian, steps[moving], hessian, low, high)
        moved = np.zeros(len(moving), bool)
        for j, others in enumerate(partners):
            moved |= part.move(j, others)
        codes[moving] = part.codes
        moving = moving[moved]
        if moving.size == 0:
            break
    return codes


@dataclass(frozen=True)
class _Part:
    """Rows whose codes still move: codes, G and scales [rows, K], changed in place."""

    codes: NDArray[np.float64]
    slopes: NDArray[np.float64]
    steps: NDArray[np.float64]
    hessian: NDArray[np.float64]
    low: int
    high: int

    def move(self, j: int, others: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Makes the best move of column `j` with one of `others` in every row that gains by it; tells which rows."""
        energy, cross = np.diagonal(self.hessian), self.hessian[j, others]
        step, code, slope = self.steps[:, j], self.codes[:, j], self.slopes[:, j]
        their_steps, their_codes, their_slopes = self.steps[:, others], self.codes[:, others], self.slopes[:, others]
        inverse = 1 / (their_steps * energy[others])
        row = np.arange(len(code))
        least = 1e-9 * step**2 * energy[j]  # a gain below it is the rounding of float64 sums
        up, partner, answer = np.zeros(len(code)), np.zeros(len(code), np.int64), np.zeros(len(code))
        for sign in (-1.0, 1.0):
            shift = sign * step
            left = their_slopes - np.multiply.outer(shift, cross)
            answers = np.clip(their_codes + np.rint(left * inverse), self.low, self.high) - their_codes
            turn = answers * their_steps
            change = turn * (turn * energy[others] - 2 * left)
            chosen = np.argmin(change, axis=1)
            gain = shift * (2 * slope - shift * energy[j]) - change[row, chosen]
            better = (gain > least) & (code + sign >= self.low) & (code + sign <= self.high)
            least = np.where(better, gain, least)
            up[better] = sign
            partner[better] = others[chosen][better]
            answer[better] = answers[row, chosen][better]
        at = np.flatnonzero(up)
        if at.size:
            other = partner[at]
            first, second = up[at] * step[at], answer[at] * self.steps[at, other]
            self.codes[at, j] += up[at]
            self.codes[at, other] += answer[at]
            self.slopes[at] -= np.multiply.outer(first, self.hessian[j]) + second[:, None] * self.hessian[other]
        gained: NDArray[np.bool_] = up != 0
        return gained
