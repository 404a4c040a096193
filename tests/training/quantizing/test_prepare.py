"""A float network becomes a quantized one: order, edges, signs, names, folding, restoring."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deploycompress.errors import InputRejectedError, UnknownNameError, UsageError
from deploycompress.training.quantizing.folding import fold_norms
from deploycompress.training.quantizing.layers import plain, quantized_layers
from deploycompress.training.quantizing.prepare import prepare
from deploycompress.training.quantizing.restoring import restore
from deploycompress.training.quantizing.spec import FakeQuant
from tests.training.quantizing.nets import convolutional, samples


def test_first_and_last_layers_to_run_keep_eight_bits_and_signs_follow_the_samples() -> None:
    net = convolutional()
    fold_norms(net)
    names = prepare(net, FakeQuant(2, activation_bits=4), (), (samples(),))
    layers = quantized_layers(net)
    assert names == ("0", "3", "7", "9", "11")
    assert [layers[name].weight_quantizer.grid.bits for name in names] == [8, 2, 2, 2, 8]
    grids = [layers[name].input_quantizer.grid for name in names]  # type: ignore[union-attr]
    assert [grid.bits for grid in grids] == [8, 4, 4, 4, 8]
    assert [grid.signed for grid in grids] == [False, False, True, False, False]  # GELU in front of "7" goes below 0


def test_first_steps_are_those_of_lsq() -> None:
    net = nn.Sequential(nn.Linear(4, 2))
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    prepare(net, FakeQuant(4, activation_bits=4, edge_bits=None), (), (x,))
    (layer,) = quantized_layers(net).values()
    assert layer.input_quantizer.scale == pytest.approx(2 * 2.5 / 15**0.5)  # type: ignore[union-attr]
    expected = 2 * layer.weight.detach().abs().mean(1) / 7**0.5
    torch.testing.assert_close(layer.weight_quantizer.step.detach(), expected)


def test_excluded_layers_stay_float_and_unknown_ones_are_named() -> None:
    net = convolutional()
    assert "7" not in prepare(net, FakeQuant(4, exclude=("7",)), (), (samples(),))
    assert type(net[7]) is nn.Linear  # type: ignore[index]
    with pytest.raises(UnknownNameError, match="unknown layer '70'; did you mean"):
        prepare(convolutional(), FakeQuant(4, exclude=("70",)), (), (samples(),))


def test_network_without_layers_to_quantize_is_refused() -> None:
    with pytest.raises(UsageError, match="runs no Linear or Conv2d layer; leave qat out"):
        prepare(nn.Sequential(nn.Flatten()), FakeQuant(), (), (samples(),))


def test_ternary_in_eight_bits_is_refused() -> None:
    with pytest.raises(UsageError, match=r"ternary weights take 2 bits.*weight_bits: 2"):
        FakeQuant(8, "ternary")


def test_folding_keeps_the_outputs_and_leaves_no_norm() -> None:
    net, x = convolutional(), samples()
    before = net(x)
    assert fold_norms(net) == ("1",)
    # One product more or less a weight: float32 rounding.
    torch.testing.assert_close(net(x), before, rtol=1e-5, atol=1e-6)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in net.modules())


def test_norm_behind_a_value_that_others_read_is_not_folded() -> None:
    class Forked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            return self.norm(y) + y

    assert fold_norms(Forked()) == ()


def test_network_that_cannot_be_traced_is_refused_only_where_it_has_norms() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(x) if x.sum() > 0 else x

    with pytest.raises(InputRejectedError, match=r"Branches: its normalisation cannot be folded.*exclude"):
        fold_norms(Branches())
    assert fold_norms(nn.Linear(2, 2)) == ()


def test_state_dict_rebuilds_the_network_it_was_saved_from() -> None:
    net, x = convolutional(), samples()
    fold_norms(net)
    prepare(net, FakeQuant(4, "ternary", activation_bits=8, per_channel=False), (), (x,))
    with torch.no_grad():
        net[3].input_quantizer.step.mul_(1.5)  # type: ignore[index, union-attr]
    again = convolutional()
    assert restore(again, net.state_dict())
    again.load_state_dict(net.state_dict())
    assert torch.equal(again(x), net(x))
    assert not restore(convolutional(), convolutional().state_dict())


def test_float_checkpoint_has_the_names_of_the_quantized_network() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    floats = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    prepare(net, FakeQuant(4), (), (torch.randn(3, 4),))
    assert floats.keys() <= net.state_dict().keys()
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in floats.items())


def test_plain_copy_holds_quantized_weights_and_leaves_the_network_alone() -> None:
    net, x = convolutional(), samples()
    fold_norms(net)
    prepare(net, FakeQuant(2), (), (x,))
    before = net(x)
    twin = plain(net)
    assert not quantized_layers(twin)
    assert torch.equal(twin(x), before)
    assert torch.equal(net(x), before)
    assert len(quantized_layers(net)) == 5


def test_weights_steps_and_bias_all_learn() -> None:
    net, x = convolutional(), samples()
    fold_norms(net)
    prepare(net, FakeQuant(4, activation_bits=4), (), (x,))
    net(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_eight_bit_codes_beside_quantized_inputs_fit_pairs_of_sixteen_bits() -> None:
    net = nn.Sequential(nn.Linear(64, 8))
    prepare(net, FakeQuant(8, activation_bits=8), (), (torch.rand(4, 64),))
    codes = quantized_layers(net)["0"].weight_codes().codes.astype(int)
    assert codes.min() >= -64
    assert codes.max() <= 63
    with torch.no_grad():
        net[0].weight_quantizer.step.mul_(0.01)  # type: ignore[union-attr, operator]
    codes = quantized_layers(net)["0"].weight_codes().codes.astype(int)
    assert (codes.min(), codes.max()) == (-64, 63)  # 255 * (64 + 64) = 32640 fits int16
