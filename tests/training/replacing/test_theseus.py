"""Draws, schedule, and a whole run of module replacing, interrupted and not."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.arrays import Arrays
from deploycompress.training.loop import fit
from deploycompress.training.replacing.modules import combine, replaceables
from deploycompress.training.replacing.theseus import Theseus, draw, draw_some, probability
from tests.training.replacing.test_modules import Net


def test_probability_rises_linearly_to_one_and_stays() -> None:
    values = [probability(update, 100, start=0.3, ramp=0.5) for update in (0, 25, 49, 50, 99)]
    assert values == pytest.approx([0.3, 0.65, 0.986, 1.0, 1.0])
    assert probability(0, 100, start=0.1, ramp=0.0) == 1.0


def test_draws_replace_n_p_modules_on_average() -> None:
    torch.manual_seed(0)
    n, p, draws = 6, 0.3, 10_000
    count = sum(sum(draw(n, p)) for _ in range(draws))
    assert abs(count - draws * n * p) < 3 * math.sqrt(draws * n * p * (1 - p))


def test_some_module_is_always_replaced_and_the_rest_of_the_law_is_kept() -> None:
    torch.manual_seed(1)
    n, p, draws = 3, 0.3, 10_000
    counts = [sum(draw_some(n, p)) for _ in range(draws)]
    assert min(counts) == 1
    mean = n * p / (1 - (1 - p) ** n)  # of a binomial that is not 0
    variance = n * p * (1 - p + n * p) / (1 - (1 - p) ** n) - mean**2
    assert abs(sum(counts) - draws * mean) < 3 * math.sqrt(draws * variance)


def data() -> Arrays:
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(3))
    return Arrays((), (x,), (x.sum(1) > 0).long() + (x[:, 0] > 1).long(), "")


HYPER = Hyperparameters(epochs=4, batch_size=16, lr=1e-2, optimizer="adam", warmup=0.0, keep="last", seed=5)


def run(folder: Path, hyper: Hyperparameters = HYPER) -> tuple[nn.Module, nn.Module, Theseus]:
    old, new = Net(4, 0), Net(2, 1)
    combine(old, new, "blocks")
    objective = Theseus(start=0.3, ramp=0.5)
    fit(new, data(), objective, hyper, folder=folder, identity="theseus")
    return old, objective.finish(new), objective


def test_run_trains_the_successor_alone_and_ends_with_it_alone(tmp_path: Path) -> None:
    old, new, objective = run(tmp_path)
    fresh = Net(4, 0)
    assert all(torch.equal(old.state_dict()[name], tensor) for name, tensor in fresh.state_dict().items())
    assert new.state_dict().keys() == Net(2).state_dict().keys()
    for number in range(2):
        assert not torch.equal(new.blocks[number].inner.weight, old.blocks[number].inner.weight)  # type: ignore[index, union-attr]
    assert objective.figures() == {"replaced": 1.0}
    assert not replaceables(new)


def test_interrupted_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dies(Theseus):
        def before_update(self, model: nn.Module, update: int, updates: int) -> None:
            if update == 15:  # in the third epoch of six updates
                raise Killed
            super().before_update(model, update, updates)

    _, whole, _ = run(tmp_path / "whole")
    new = Net(2, 1)
    combine(Net(4, 0), new, "blocks")
    with pytest.raises(Killed):
        fit(new, data(), Dies(start=0.3, ramp=0.5), HYPER, folder=tmp_path / "killed", identity="theseus")
    _, resumed, _ = run(tmp_path / "killed")
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
