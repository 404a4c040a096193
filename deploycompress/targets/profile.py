"""target profile (TOML) -> typed, frozen rules that everything which decides reads.

A figure in a profile is a pair of a value and the source it was read or measured from.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Int8Dtype = Literal["uint8", "int8"]
Int16Dtype = Literal["uint16", "int16"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class QuantRules(_Frozen):
    """How the 8-bit kernels of a target want the graph written.

    Attributes:
        int8: Whether the provider has 8-bit kernels at all.
        why: One sentence with the reason, shown when int8 is refused or changed.
        activation: Element type of quantized activations.
        wide_activation: Element type of activations where 16 bits are asked for; absent where 8 bits are all there is.
        activation_symmetric: Zero point 0 (int8) or the middle (uint8) instead of a fitted one.
        weight: Element type of quantized weights, always symmetric.
        per_channel: One weight scale per output channel.
        pair_safe: Weight codes whose same-sign neighbours along the inner axis sum to at most 128, for kernels that
            add two products in 16 bits.
        quantize_outputs: Whether Conv and elementwise outputs are quantized (int8 chains) or stay float.
        dedicated_pairs: Whether each reader of a tensor has Q and DQ of its own, for compilers that fuse each.
        quantize_products: Whether Gemm and MatMul outputs are quantized too, for accelerators that take no float.
        int8_ops: Operators with an 8-bit kernel worth using there; every other operator stays float.
        quantize_bias: Whether biases are stored as int32 behind a DequantizeLinear or stay float.
        dynamic: Whether the provider has dynamic-quantization MatMul kernels.
    """

    int8: bool
    why: str
    activation: Int8Dtype | Int16Dtype = "uint8"
    wide_activation: Int16Dtype | None = None
    activation_symmetric: bool = False
    weight: Int8Dtype = "int8"
    per_channel: bool = True
    pair_safe: bool = False
    quantize_outputs: bool = True
    dedicated_pairs: bool = False
    quantize_products: bool = False
    int8_ops: tuple[str, ...] = ()
    quantize_bias: bool = True
    dynamic: bool = False


class Budget(_Frozen):
    """Limits a deployment must meet; absent means no limit."""

    size_bytes: int | None = Field(default=None, gt=0)
    p95_ms: float | None = Field(default=None, gt=0)
    memory_bytes: int | None = Field(default=None, gt=0)


class Roofline(_Frozen):
    """Peak rates of one core of the device, and where the figures come from."""

    fp32_gflops: float | None = Field(default=None, gt=0)
    int8_gops: float | None = Field(default=None, gt=0)
    memory_gb_s: float | None = Field(default=None, gt=0)
    source: str


class Target(_Frozen):
    """One kind of device."""

    name: str
    kind: Literal["server", "mobile", "edge"]
    summary: str
    isa: str
    cpu_flags: tuple[str, ...] = ()
    providers: tuple[str, ...]
    threads: int = Field(default=1, ge=0)
    max_opset: int = Field(ge=7)
    max_ir_version: int = Field(ge=3)
    opset_source: str
    quant: QuantRules
    budget: Budget = Budget()
    roofline: Roofline
