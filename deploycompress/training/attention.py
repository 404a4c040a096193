"""outputs of the query, key and value layers -> attention scores Q K^T / sqrt(d), and relations X X^T / sqrt(d).

Computed from taps on the linear layers: fused attention kernels return no scores.
Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1; Wang et al. 2020, "MiniLMv2", arXiv:2012.15828, section 3.1.
"""

from __future__ import annotations

import math

import torch

from deploycompress.errors import UsageError


def split_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    """[batch, tokens, width] -> [batch, heads, tokens, width / heads].

    Raises:
        UsageError: The width is no multiple of `heads`.
    """
    batch, tokens, width = x.shape
    if width % heads:
        raise UsageError(f"{heads} heads do not divide a width of {width}", remedy="choose a divisor of both widths")
    return x.view(batch, tokens, heads, width // heads).transpose(1, 2)


def scores(queries: torch.Tensor, keys: torch.Tensor, heads: int) -> torch.Tensor:
    """Q K^T / sqrt(d) before the softmax and without a mask: [batch, heads, tokens, tokens].

    Args:
        queries: Output of the query layer, [batch, tokens, width].
        keys: Output of the key layer, of the same shape.
        heads: Attention heads; d = width / heads.

    Raises:
        UsageError: The width is no multiple of `heads`.
    """
    q, k = split_heads(queries, heads), split_heads(keys, heads)
    return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])


def relations(x: torch.Tensor, heads: int) -> torch.Tensor:
    """X X^T / sqrt(d) per relation head, before the softmax: [batch, heads, tokens, tokens].

    Widths may differ between teacher and student, as long as `heads` divides both.
    """
    return scores(x, x, heads)
