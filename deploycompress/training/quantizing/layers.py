"""Linear, Conv2d -> the same layers computing with quantized weights (and inputs, and bias), under the same names.

    y = W' x' + b',   b' = s_x s_w round(b / (s_x s_w)) where the input is quantized, as integer kernels add it

Names of the float network are kept, so its checkpoint can be loaded into the quantized one; the quantizers' own tensors
say in the checkpoint how to build them again (`restoring`).
"""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from deploycompress.quantization import affine
from deploycompress.quantization.affine import QuantizedTensor
from deploycompress.training.quantizing import fake
from deploycompress.training.quantizing.quantizers import InputQuantizer, WeightQuantizer
from deploycompress.training.quantizing.spec import InputGrid, WeightGrid


class _Quantized(nn.Module):
    """What both kinds of layers share; mixed in before the float layer."""

    weight: nn.Parameter
    bias: nn.Parameter | None
    weight_quantizer: WeightQuantizer
    input_quantizer: InputQuantizer | None

    def operands(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Input, weight and bias on their grids."""
        weight = self.weight_quantizer(self.weight)
        if self.input_quantizer is None:
            return x, weight, self.bias
        return self.input_quantizer(x), weight, None if self.bias is None else fake.through(self.bias, self.rounded())

    @torch.no_grad()
    def rounded(self) -> torch.Tensor:
        """The bias on the grid of the accumulator, where the input is quantized."""
        assert self.bias is not None
        codes = self.bias_codes()
        return self.bias if codes is None else torch.from_numpy(codes.dequantize()).to(self.bias.device)

    def bias_codes(self) -> QuantizedTensor | None:
        """int32 codes of the bias, or None where there is none or the input stays float."""
        if self.bias is None or self.input_quantizer is None:
            return None
        scale = self.weight_quantizer.export(self.weight).scale
        return affine.quantize_bias(self.bias.detach().cpu().numpy(), self.input_quantizer.scale, scale)

    def weight_codes(self) -> QuantizedTensor:
        """The codes of the weight, of its shape."""
        return self.weight_quantizer.export(self.weight)


class QuantLinear(_Quantized, nn.Linear):  # type: ignore[misc]
    """A Linear layer on quantized operands."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        return functional.linear(*self.operands(x))


class QuantConv2d(_Quantized, nn.Conv2d):  # type: ignore[misc]
    """A Conv2d layer on quantized operands; zeros around the image are code 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, in, h, w] -> [batch, out, h, w]."""
        output: torch.Tensor = self._conv_forward(*self.operands(x))
        return output


Quantized = QuantLinear | QuantConv2d
_KINDS: dict[type[nn.Module], type[Quantized]] = {nn.Linear: QuantLinear, nn.Conv2d: QuantConv2d}


def is_quantizable(layer: nn.Module) -> bool:
    """Whether a layer is a float one of a kind that has a quantized twin."""
    return type(layer) in _KINDS and not (isinstance(layer, nn.Conv2d) and layer.padding_mode != "zeros")


def quantize_layer(
    module: nn.Module, name: str, weight: WeightGrid, inputs: InputGrid | None, input_step: torch.Tensor | None
) -> None:
    """Turns the layer `name` of `module` into its quantized twin, in place, sharing its parameters."""
    layer = module.get_submodule(name)
    twin = copy.copy(layer)  # shares parameters and buffers; its own class and children
    twin.__class__ = _KINDS[type(layer)]
    twin._modules = dict(layer._modules)
    twin.add_module("weight_quantizer", WeightQuantizer(weight, layer.weight))  # type: ignore[arg-type]
    quantizer = None if inputs is None or input_step is None else InputQuantizer(inputs, input_step)
    twin.register_module("input_quantizer", quantizer)
    module.set_submodule(name, twin)


def quantized_layers(module: nn.Module) -> dict[str, Quantized]:
    """The quantized layers by name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, QuantLinear | QuantConv2d)}


def plain(module: nn.Module) -> nn.Module:
    """A copy without quantizers: float layers that hold the quantized weights and biases; inputs are not quantized."""
    twin = copy.deepcopy(module)
    for name, layer in quantized_layers(twin).items():
        with torch.no_grad():
            weight = layer.weight_quantizer(layer.weight).clone()
            bias = None if layer.bias is None else layer.rounded().clone()
        floating = copy.copy(layer)
        floating.__class__ = nn.Linear if isinstance(layer, QuantLinear) else nn.Conv2d  # type: ignore[assignment]
        floating._modules, floating._parameters = {}, {"weight": nn.Parameter(weight), "bias": None}
        if bias is not None:
            floating._parameters["bias"] = nn.Parameter(bias)
        twin.set_submodule(name, floating)
    return twin
