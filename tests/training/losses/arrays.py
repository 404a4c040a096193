"""Random tensors that the tests of the losses share, and softmax in float64."""

from __future__ import annotations

import numpy as np
import torch


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rotation(width: int, seed: int = 0) -> torch.Tensor:
    """An orthogonal matrix."""
    return torch.linalg.qr(normal(width, width, seed=seed).double())[0].float()


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def padded(lengths: tuple[int, ...], tokens: int) -> torch.Tensor:
    """int64 [batch, tokens], 1 for real tokens."""
    return (torch.arange(tokens) < torch.tensor(lengths)[:, None]).long()
