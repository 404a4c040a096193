"""Units are removed with all that hangs on them: outputs, sizes, shapes that a checkpoint brings back."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import CheckpointRejectedError, UnknownNameError, UsageError
from deploycompress.training import checkpoint
from deploycompress.training.arrays import Arrays
from deploycompress.training.pruning.restoring import resize
from deploycompress.training.pruning.structured import remove_channels, remove_units
from deploycompress.training.pruning.trimming import apoz, units_to_trim


class Convolutional(nn.Module):
    """Stem, a residual pair, a depthwise layer, two Linear layers behind a flatten."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.inner, self.back = nn.Conv2d(8, 12, 3, padding=1), nn.Conv2d(12, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.up, self.head = nn.Linear(8 * 4, 20), nn.Linear(20, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        x = x + self.back(torch.relu(self.inner(x)))
        x = nn.functional.adaptive_avg_pool2d(torch.relu(self.depthwise(x)), 2)
        return self.head(torch.relu(self.up(x.flatten(1))))


X = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def perceptron() -> nn.Sequential:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 7), nn.ReLU(), nn.Linear(7, 3))


def test_removed_units_are_zeroed_units() -> None:
    net = Convolutional().eval()
    masked = copy.deepcopy(net)
    with torch.no_grad():
        for layer, units in ((masked.inner, [1, 5, 6]), (masked.up, [0, 19])):
            layer.weight[units] = 0
            layer.bias[units] = 0
    remove_units(net, X, {"inner": [1, 5, 6], "up": [0, 19]})
    assert (net.inner.weight.shape[0], net.back.weight.shape[1]) == (9, 9)
    assert (net.up.weight.shape[0], net.head.weight.shape[1]) == (18, 18)
    # Sums of float32 without the zero terms, in another order.
    torch.testing.assert_close(net(X), masked(X), rtol=1e-5, atol=1e-6)


def test_half_of_the_units_of_every_group_go_and_the_classes_stay() -> None:
    net = Convolutional().eval()
    remove_channels(net, X, 0.5)
    assert net(X).shape == (3, 5)
    shapes = {name: tuple(layer.weight.shape) for name, layer in net.named_children()}
    assert shapes == {
        "stem": (4, 1, 3, 3), "norm": (4,), "inner": (6, 4, 3, 3), "back": (4, 6, 3, 3),
        "depthwise": (4, 1, 3, 3), "up": (10, 16), "head": (5, 10),
    }  # fmt: skip


def test_least_units_of_the_group_go() -> None:
    net = perceptron()
    with torch.no_grad():
        net[0].weight[[2, 7]] *= 0.01
        net[2].weight[:, [2, 7]] *= 0.01
    kept = torch.tensor([u for u in range(10) if u not in (2, 7)])
    expected = net[0].weight[kept].clone()
    remove_channels(net, torch.rand(2, 6), 0.2, exclude=("2",))
    assert torch.equal(net[0].weight, expected)


def test_excluded_layers_keep_their_units_and_unknown_ones_are_named() -> None:
    net = Convolutional().eval()
    remove_channels(net, X, 0.5, exclude=("inner",))
    assert net.inner.weight.shape[0] == 12
    with pytest.raises(UnknownNameError, match="unknown module 'iner'; did you mean inner"):
        remove_channels(net, X, 0.5, exclude=("iner",))


def test_layer_cannot_lose_everything() -> None:
    with pytest.raises(UsageError, match="0 would lose all of its 10 units"):
        remove_units(perceptron(), torch.rand(2, 6), {"0": range(10)})
    with pytest.raises(UsageError, match="1 is a ReLU"):
        remove_units(perceptron(), torch.rand(2, 6), {"1": [0]})


def test_checkpoint_of_a_smaller_network_brings_its_shapes_back(tmp_path: Path) -> None:
    net = Convolutional().eval()
    remove_channels(net, X, 0.5)
    checkpoint.save(net.state_dict(), tmp_path / "small.safetensors")
    again = Convolutional().eval()
    with pytest.raises(CheckpointRejectedError, match="shapes differ"):
        checkpoint.load_into(again, tmp_path / "small.safetensors")
    assert resize(again, checkpoint.load(tmp_path / "small.safetensors"))
    checkpoint.load_into(again, tmp_path / "small.safetensors")
    assert torch.equal(again(X), net(X))
    assert again.depthwise.groups == 4
    assert not resize(Convolutional(), Convolutional().state_dict())


def samples() -> Arrays:
    x = torch.randn(200, 6, generator=torch.Generator().manual_seed(3))
    return Arrays((), (x,), torch.zeros(200, dtype=torch.long), "")


def test_apoz_counts_zeros_by_unit_and_place() -> None:
    net, data = perceptron(), samples()
    found = apoz(net, ("0", "2"), data, batch_size=64)
    hidden = torch.relu(net[0](data.inputs[0]))
    torch.testing.assert_close(found["0"], (hidden == 0).float().mean(0))
    images = Arrays((), (torch.randn(10, 1, 8, 8),), torch.zeros(10, dtype=torch.long), "")
    conv = Convolutional().eval()
    places = torch.relu(conv.stem(images.inputs[0]))
    torch.testing.assert_close(apoz(conv, ("stem",), images)["stem"], (places == 0).float().mean((0, 2, 3)))


def test_apoz_does_not_change_when_a_unit_is_scaled() -> None:
    net, data = perceptron(), samples()
    before = apoz(net, ("0",), data)["0"]
    with torch.no_grad():
        net[0].weight[3] *= 8
        net[0].bias[3] *= 8
    assert torch.equal(apoz(net, ("0",), data)["0"], before)


def test_dead_units_go_first_and_nothing_changes() -> None:
    net, data = perceptron(), samples()
    with torch.no_grad():
        net[0].bias[[1, 4]] = -100.0
    shares = apoz(net, ("0",), data)["0"]
    assert shares[[1, 4]].tolist() == [1.0, 1.0]
    assert {1, 4} <= set(units_to_trim(shares))
    before = net(data.inputs[0])
    remove_units(net, data.inputs[0][:2], {"0": [1, 4]})
    # The terms left out are exact zeros; only the order of float32 sums may change.
    torch.testing.assert_close(net(data.inputs[0]), before, rtol=0, atol=1e-6)


def test_equal_units_are_all_kept() -> None:
    assert units_to_trim(torch.full((5,), 0.7)) == []
