"""Grids with learned steps, as modules that lie inside a quantized layer and travel in its state dict.

What kind of grid it is lies in a buffer `kind` of small integers, so that a checkpoint says by itself how its network
was quantized (`restoring`).
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.quantization.affine import QuantizedTensor
from deploycompress.quantization.spec import Levels
from deploycompress.training.quantizing import fake
from deploycompress.training.quantizing.spec import InputGrid, WeightGrid

_LEVELS: tuple[Levels, ...] = ("uniform", "ternary", "binary")


class WeightQuantizer(nn.Module):
    """weight [O, ...] -> its fake-quantized values; uniform grids learn their step [O] or []."""

    def __init__(self, grid: WeightGrid, weight: torch.Tensor) -> None:
        super().__init__()
        self.grid = grid
        kind = [grid.bits, _LEVELS.index(grid.levels), grid.per_channel, grid.pair_safe]
        self.register_buffer("kind", torch.tensor(kind, dtype=torch.uint8))
        if grid.levels == "uniform":
            step = fake.initial_step(weight, grid.codes[1], self._dims(weight))
            self.step = nn.Parameter(step.reshape(-1) if grid.per_channel else step.reshape(()))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """The weight on its grid, float32, same shape."""
        if self.grid.levels == "uniform":
            return fake.lsq(weight, self._step(weight), *self.grid.codes)
        codes, scale = self._parts(weight)
        return fake.through(weight, codes * scale)

    @torch.no_grad()
    def export(self, weight: torch.Tensor) -> QuantizedTensor:
        """The codes and scales that `forward` multiplies."""
        if self.grid.levels == "uniform":
            scale = self._step(weight)
            codes = fake.lsq_codes(weight, scale, *self.grid.codes)
        else:
            codes, scale = self._parts(weight)
        scales = (scale.reshape(-1) if self.grid.per_channel else scale.reshape(())).cpu().numpy()
        axis = 0 if self.grid.per_channel else None
        return QuantizedTensor(
            codes.to(torch.int8).cpu().numpy(), scales, (scales * 0).astype("int8"), axis, bits=self.grid.bits
        )

    def _parts(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        parts = fake.ternary_parts if self.grid.levels == "ternary" else fake.binary_parts
        return parts(weight, self._dims(weight))

    def _step(self, weight: torch.Tensor) -> torch.Tensor:
        step = fake.positive(self.step)
        return step.reshape(-1, *[1] * (weight.ndim - 1)) if self.grid.per_channel else step

    def _dims(self, weight: torch.Tensor) -> tuple[int, ...]:
        return tuple(range(1 if self.grid.per_channel else 0, weight.ndim))


class InputQuantizer(nn.Module):
    """activations of any shape -> the same on a grid with one learned step."""

    def __init__(self, grid: InputGrid, step: torch.Tensor) -> None:
        super().__init__()
        self.grid = grid
        self.register_buffer("kind", torch.tensor([grid.bits, grid.signed], dtype=torch.uint8))
        self.step = nn.Parameter(step.detach().clone().reshape(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The activations on their grid."""
        return fake.lsq(x, fake.positive(self.step), *self.grid.codes)

    @property
    def scale(self) -> float:
        """Width of a step, a float32 value."""
        return float(fake.positive(self.step.detach()))


def weight_grid(kind: torch.Tensor) -> WeightGrid:
    """The grid that a weight quantizer's buffer `kind` says."""
    bits, levels, per_channel, pair_safe = kind.tolist()
    return WeightGrid(bits, _LEVELS[levels], bool(per_channel), bool(pair_safe))


def input_grid(kind: torch.Tensor) -> InputGrid:
    """The grid that an input quantizer's buffer `kind` says."""
    bits, signed = kind.tolist()
    return InputGrid(bits, bool(signed))
