"""Taps give what submodules returned, and are gone afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.features import tapped

X = torch.rand(3, 2, generator=torch.Generator().manual_seed(0))


def test_taps_hold_the_outputs_with_their_gradients() -> None:
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    with tapped(module, ["0", "2", ""]) as taps:
        outputs = module(X)
    assert torch.equal(taps["0"], module[0](X))
    assert torch.equal(taps["2"], outputs)
    assert torch.equal(taps[""], outputs)
    taps["0"].sum().backward()
    assert module[0].weight.grad is not None


def test_hooks_are_gone_after_the_block_and_after_an_error() -> None:
    module = nn.Sequential(nn.Linear(2, 4))
    with pytest.raises(RuntimeError), tapped(module, ["0"]) as taps:
        module(torch.zeros(1, 3))
    module(X)
    assert not taps
    assert not module[0]._forward_hooks


def test_first_tensor_of_a_tuple_is_taken() -> None:
    module = nn.Sequential(nn.LSTM(2, 5, batch_first=True))
    with tapped(module, ["0"]) as taps:
        outputs, _ = module(X[:, None])
    assert torch.equal(taps["0"], outputs)


def test_unknown_name_is_refused_with_the_nearest() -> None:
    with (
        pytest.raises(UnknownNameError, match=r"Sequential: unknown submodule 'frist'; did you mean first\?"),
        tapped(_named(), ["frist"]),
    ):
        pass


def _named() -> nn.Module:
    module = nn.Sequential()
    module.add_module("first", nn.Linear(2, 2))
    return module


def test_submodule_without_a_tensor_is_refused() -> None:
    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> str:
            return "nothing"

    module = nn.Sequential(Nothing())
    with pytest.raises(UsageError, match="submodule 0: it returns a str, not a tensor"), tapped(module, ["0"]):
        module(X)
