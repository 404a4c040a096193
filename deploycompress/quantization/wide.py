"""target that takes 16-bit activations -> its rules with them: A16W8, 65,536 levels for activations, 256 for weights.

The CPU provider of ONNX Runtime has no kernels for it: it turns codes back to float and computes in float. The file is
for accelerators; here its outputs can be checked, its speed means nothing.

Source: ONNX QuantizeLinear-21 (the first with 16-bit codes); ONNX Runtime QNN execution provider documentation.
"""

from __future__ import annotations

from typing import Literal

from deploycompress.errors import UnsupportedError
from deploycompress.targets import Target

MIN_OPSET_WIDE = 21
WIDE = ("uint16", "int16")


def with_activation_bits(target: Target, bits: Literal[8, 16]) -> Target:
    """`target` with activations of so many bits.

    Raises:
        UnsupportedError: Its kernels do not take them, or its runtime does not load the opset that holds them.
    """
    if bits == 8:
        return target
    rules = target.quant
    if rules.wide_activation is None:
        raise UnsupportedError(
            f"target {target.name} takes 8-bit activations alone", remedy="leave --activation-bits out"
        )
    if target.max_opset < MIN_OPSET_WIDE:
        raise UnsupportedError(
            f"16-bit activations need opset {MIN_OPSET_WIDE}; target {target.name} loads {target.max_opset} at most "
            f"({target.opset_source})"
        )
    return target.model_copy(update={"quant": rules.model_copy(update={"activation": rules.wide_activation})})


def computed_in_float(target: Target) -> str | None:
    """A note where activations have 16 bits: what this machine measures is not what the target does."""
    if target.quant.activation not in WIDE:
        return None
    return (
        f"activations are {target.quant.activation}, for which the CPU provider of ONNX Runtime has no kernels: this "
        f"file runs in float here, its weights dequantized on every run; outputs are right, speed says nothing"
    )
