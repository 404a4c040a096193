"""Random layers with correlated inputs, grids for their weights, and the output error computed from the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layer:
    """A weight [N, K] and rows of its input [rows, K]."""

    weight: np.ndarray
    rows: np.ndarray

    @property
    def gram(self) -> np.ndarray:
        return self.rows.T @ self.rows

    def error(self, dequantized: np.ndarray) -> float:
        """Frobenius norm of the output error, from the outputs themselves."""
        return float(np.linalg.norm(self.rows @ self.weight.T - self.rows @ dequantized.T))


def correlated(seed: int, outputs: int, inputs: int, *, rows: int = 1024, rho: float = 0.9) -> Layer:
    """Normal weights behind an AR(1) input: neighbouring channels correlate by `rho`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, inputs))
    for i in range(1, inputs):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * x[:, i]
    return Layer(rng.normal(size=(outputs, inputs)), x)


def absmax_grid(weight: np.ndarray, bits: int, block: int | None = None) -> tuple[np.ndarray, np.ndarray, int, int]:
    """(scale [N, G], zero point [N, G], low, high) of a symmetric grid."""
    high = 2 ** (bits - 1) - 1
    step = block or weight.shape[1]
    starts = range(0, weight.shape[1], step)
    scale = np.stack([np.abs(weight[:, start : start + step]).max(axis=1) for start in starts], axis=1) / high
    return scale, np.zeros(scale.shape, np.int64), -high - 1, high


def dequantized(codes: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, block: int | None = None) -> np.ndarray:
    """Values of codes [N, K] on a grid [N, G]."""
    group = np.arange(codes.shape[1]) // (block or codes.shape[1])
    return scale[:, group] * (codes - zero_point[:, group])


def nearest(
    weight: np.ndarray, scale: np.ndarray, zero_point: np.ndarray, low: int, high: int, block: int | None = None
) -> np.ndarray:
    """Round-to-nearest codes [N, K]."""
    group = np.arange(weight.shape[1]) // (block or weight.shape[1])
    return np.clip(np.rint(weight / scale[:, group]) + zero_point[:, group], low, high)
