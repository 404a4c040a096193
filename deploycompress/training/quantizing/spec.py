"""How the layers of a network are quantized while it trains: widths, levels, granularity, and the codes they span."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.errors import UsageError
from deploycompress.quantization.affine import PAIR_LIMIT, code_range
from deploycompress.quantization.spec import Bits, Levels


@dataclass(frozen=True)
class WeightGrid:
    """Grid of one weight.

    Attributes:
        bits: Width of a stored code.
        levels: All codes ("uniform"), {-a, 0, a} ("ternary") or {-a, a} ("binary").
        per_channel: One scale per output channel instead of one.
        pair_safe: Codes of 8 bits stay in [-64, 63], so that two products of them with 8-bit activations fit the
            16 bits in which processors without VNNI add them.
    """

    bits: Bits
    levels: Levels = "uniform"
    per_channel: bool = True
    pair_safe: bool = False

    @property
    def codes(self) -> tuple[int, int]:
        """Smallest and largest code."""
        if self.levels != "uniform":
            return -1, 1
        if self.pair_safe and self.bits == 8:
            return -PAIR_LIMIT // 2, PAIR_LIMIT // 2 - 1
        return code_range(self.bits, symmetric=True)


@dataclass(frozen=True)
class InputGrid:
    """Grid of the activations that a layer reads, one scale for all; zero is code 0.

    Attributes:
        bits: Width; codes are [0, 2^bits - 1], or [-2^(bits-1), 2^(bits-1) - 1] where signed.
        signed: Whether the activations have negative values.
    """

    bits: Bits
    signed: bool

    @property
    def codes(self) -> tuple[int, int]:
        """Smallest and largest code."""
        half = 2 ** (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)


@dataclass(frozen=True)
class FakeQuant:
    """What is asked of a whole network.

    Attributes:
        weight_bits: Width of weight codes.
        levels: Of weights; ternary and binary ones are stored in `weight_bits` bits.
        activation_bits: Width of the activations that quantized layers read; None leaves them float.
        edge_bits: Width of weights (and activations, where quantized) of the first and the last layer; None for the
            same as the others.
        per_channel: One weight scale per output channel.
        exclude: Names of layers that stay float.
    """

    weight_bits: Bits = 8
    levels: Levels = "uniform"
    activation_bits: Bits | None = None
    edge_bits: Bits | None = 8
    per_channel: bool = True
    exclude: tuple[str, ...] = ()

    def weight(self, *, edge: bool) -> WeightGrid:
        """Grid of the weight of a layer; at the edge of the network, of the first or last."""
        if edge and self.edge_bits is not None:
            return WeightGrid(self.edge_bits, "uniform", self.per_channel, self.activation_bits is not None)
        return WeightGrid(self.weight_bits, self.levels, self.per_channel, self.activation_bits is not None)

    def activations(self, *, signed: bool, edge: bool) -> InputGrid | None:
        """Grid of the input of a layer."""
        if self.activation_bits is None:
            return None
        return InputGrid(self.edge_bits if edge and self.edge_bits is not None else self.activation_bits, signed)

    def __post_init__(self) -> None:
        if self.levels != "uniform" and self.weight_bits == 8:
            raise UsageError(
                f"{self.levels} weights take 2 bits; 8 would store nothing but zeros", remedy="weight_bits: 2"
            )
