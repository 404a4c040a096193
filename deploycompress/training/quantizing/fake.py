"""x -> the value it will have once it is stored in few bits, with a gradient that passes through the rounding.

    LSQ       x' = s round(clamp(x / s, qmin, qmax)); ds = round(x/s) - x/s inside, qmin or qmax outside, times g
    ternary   D = 0.7 mean|w|, a = mean of |w| over |w| > D, w' = a sign(w) [|w| > D]
    binary    a = mean|w|, w' = a where w >= 0, else -a                     (two levels: sign(0) is no third one)

Rounding, thresholds and signs have the gradient of the identity (straight-through). All arithmetic is float32, in the
order of DequantizeLinear, so that s * code is the very number that ONNX Runtime computes.

Source: Esser et al., Learned Step Size Quantization, ICLR 2020 (arXiv:1902.08153), equations 1-5 and section 2.1; Li et
al., Ternary Weight Networks, 2016 (arXiv:1605.04711), equations 5-6; Rastegari et al., XNOR-Net, ECCV 2016
(arXiv:1603.05279), section 3.1; Bengio et al. 2013 (arXiv:1308.3432), section 4 (straight-through).
"""

from __future__ import annotations

import math

import torch

MIN_STEP = 1e-8  # smaller ones lose precision in float32 products with another scale
_TERNARY_THRESHOLD = 0.7


def round_through(x: torch.Tensor) -> torch.Tensor:
    """Nearest integer, ties to even; gradient 1."""
    return through(x, torch.round(x))


def scaled_gradient(x: torch.Tensor, factor: float) -> torch.Tensor:
    """The same numbers; gradient times `factor`."""
    return x.detach() + (x - x.detach()) * factor


def positive(step: torch.Tensor) -> torch.Tensor:
    """|s|, at least `MIN_STEP`: an update that takes a step below zero does not turn the grid around."""
    return step.abs().clamp_min(MIN_STEP)


def lsq_codes(x: torch.Tensor, step: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """round(clamp(x / s, low, high)), whole numbers as floats; the gradient of `clamp` alone."""
    return round_through(torch.clamp(x / step, low, high))


def lsq(x: torch.Tensor, step: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """`x` on the grid low*s ... high*s.

    Args:
        x: Any shape.
        step: s, broadcastable to `x`, positive; its gradient is scaled by 1 / sqrt(elements per step * high).
        low: Smallest code.
        high: Largest code.
    """
    per_step = x.numel() / step.numel()
    s = scaled_gradient(step, 1 / math.sqrt(per_step * high))
    return lsq_codes(x, s, low, high) * s


def initial_step(x: torch.Tensor, high: int, dims: tuple[int, ...]) -> torch.Tensor:
    """2 mean|x| / sqrt(high) over `dims`, which stay with size 1; 1 where x is all zero.

    Source: Esser et al. 2020, section 2.1.
    """
    step = 2 * x.detach().abs().mean(dim=dims, keepdim=True) / math.sqrt(high)
    return torch.where(step > 0, step, torch.ones_like(step))


def ternary_parts(weight: torch.Tensor, dims: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes {-1, 0, 1} as floats and the scale a (size 1 along `dims`; 0 where every weight is 0); no gradient."""
    size = weight.detach().abs()
    kept = size > _TERNARY_THRESHOLD * size.mean(dim=dims, keepdim=True)
    scale = (size * kept).sum(dim=dims, keepdim=True) / kept.sum(dim=dims, keepdim=True).clamp_min(1)
    return torch.sign(weight.detach()) * kept, scale


def binary_parts(weight: torch.Tensor, dims: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes {-1, 1} as floats and the scale a = mean|w| (size 1 along `dims`); no gradient."""
    codes = torch.where(weight.detach() >= 0, 1.0, -1.0)
    return codes, weight.detach().abs().mean(dim=dims, keepdim=True)


def through(weight: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:
    """The numbers of `quantized`, exactly, with the gradient of `weight`."""
    return _Through.apply(weight, quantized)  # type: ignore[no-any-return, no-untyped-call]


class _Through(torch.autograd.Function):
    """w + (w' - w) is not w' to the last bit in float32; this is."""

    @staticmethod
    def forward(ctx: object, weight: torch.Tensor, quantized: torch.Tensor) -> torch.Tensor:
        return quantized.clone()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return gradient, None
