"""Two thin layers for one: nearest on the samples, whole at full rank, found again in a checkpoint."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.pruning.low_rank import factorise, refactorise


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 20, bias=False), nn.ReLU(), nn.Linear(20, 3))


X = torch.randn(200, 12, generator=torch.Generator().manual_seed(1)) * torch.logspace(0, -3, 12)


def test_full_rank_gives_the_same_outputs() -> None:
    small, expected = net(), net()(X)
    # A share of 2 is the full rank of the square layer, of the 12 x 20 one 15 > 12 columns that exist.
    assert factorise(small, 2.0, (), (X,), exclude=("2",)) == ("0",)
    torch.testing.assert_close(small(X), expected, rtol=1e-4, atol=1e-4)  # float64 factors, rounded to float32


def test_factors_are_nearest_on_the_samples() -> None:
    layer = net()[0]
    small = net()
    factorise(small, 0.5, (), (X,))
    assert small[0][0].weight.shape == (3, 12)  # 0.5 * 144 / 24
    exact = X.double() @ layer.weight.detach().double().T
    error = (small[0][1](small[0][0](X)) - layer(X)).double().square().sum()
    s = torch.linalg.svdvals(exact)
    best = s[3:].square().sum()  # of any rank 3 on these samples (Eckart and Young)
    assert error <= best * 1.01 + 1e-9
    plain_u, plain_s, plain_v = torch.linalg.svd(layer.weight.detach().double(), full_matrices=False)
    plain = (plain_u[:, :3] * plain_s[:3]) @ plain_v[:3]
    assert error < 0.5 * (X.double() @ plain.T - exact).square().sum()


def test_last_and_excluded_layers_stay_and_unknown_ones_are_named() -> None:
    small = net()
    assert factorise(small, 0.5, (), (X,), exclude=("0",)) == ("2",)
    assert small[2][1].bias is None
    with pytest.raises(UnknownNameError, match="unknown Linear layer '1'"):
        factorise(net(), 0.5, (), (X,), exclude=("1",))
    with pytest.raises(UsageError, match="there is no Linear layer to factorise"):
        factorise(net(), 0.01, (), (X,))


def test_state_dict_brings_the_factors_back() -> None:
    small, again = net(), net()
    factorise(small, 0.5, (), (X,))
    assert refactorise(again, small.state_dict())
    again.load_state_dict(small.state_dict())
    assert torch.equal(again(X), small(X))
    assert not refactorise(net(), net().state_dict())
