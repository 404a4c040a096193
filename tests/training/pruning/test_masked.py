"""Training under masks: zeros stay zero, counts are exact, a resumed run ends the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.arrays import Arrays
from deploycompress.training.loop import fit
from deploycompress.training.objective import LabelsOnly
from deploycompress.training.pruning.masked import Masked

HYPER = Hyperparameters(
    epochs=4, batch_size=16, lr=1e-2, optimizer="adamw", weight_decay=0.1, warmup=0.0, keep="last", seed=5
)


def data() -> Arrays:
    x = torch.randn(96, 4, generator=torch.Generator().manual_seed(3))
    return Arrays((), (x,), (x.sum(1) > 0).long() + (x[:, 0] > 1).long(), "")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 3))


def run(folder: Path, **settings: Any) -> tuple[nn.Module, Masked]:  # noqa: ANN401
    module = net()
    objective = Masked(module, **{"final": 0.9, "edges": True, "every": 3, **settings})
    fit(module, data(), objective, HYPER, folder=folder, identity="masked")
    return module, objective


def zeros(module: nn.Module) -> list[int]:
    return [int((p == 0).sum()) for p in module.parameters() if p.ndim > 1]


@pytest.mark.parametrize("end", [0.0, 0.5])
def test_every_layer_ends_with_the_exact_number_of_zeros_for_all_adam_and_decay_do(end: float, tmp_path: Path) -> None:
    module, objective = run(tmp_path, end=end)
    assert zeros(module) == [80 - 8, 400 - 40, 60 - 6]
    assert objective.figures() == {"sparsity": pytest.approx(0.9)}
    for name, mask in objective.masks().items():
        assert torch.equal(module.get_submodule(name).weight != 0, mask)


@pytest.mark.parametrize("settings", [{"score": "lamp"}, {"scope": "global"}, {"score": "movement", "scope": "global"}])
def test_masks_over_all_layers_meet_the_budget(settings: dict[str, Any], tmp_path: Path) -> None:
    module, _ = run(tmp_path, **settings)
    assert sum(zeros(module)) == 540 - 54


def test_shares_give_each_layer_its_own(tmp_path: Path) -> None:
    module, _ = run(tmp_path, shares={"0": 0.5, "2": 0.9, "4": 0.0})
    assert zeros(module) == [40, 360, 0]


def test_zeros_only_grow_along_the_schedule() -> None:
    module = net()
    objective = Masked(module, final=0.8, edges=True, every=1, end=1.0)
    before = torch.ones(20, 20, dtype=torch.bool)
    counts = []
    for update in range(10):
        objective.before_update(module, update, 10)
        mask = objective.masks()["2"].clone()
        assert not (mask & ~before).any()
        before = mask
        counts.append(int((~mask).sum()))
        with torch.no_grad():
            module[2].weight.add_(0.5)  # type: ignore[index, union-attr, operator]
        objective.after_update(module, update, 10)
        assert torch.equal(module[2].weight != 0, mask)  # type: ignore[index, union-attr]
    assert counts == sorted(counts)
    assert counts[0] == 0


def test_movement_prunes_what_shrinks_and_not_what_is_small() -> None:
    module = nn.Sequential(nn.Linear(2, 1, bias=False))
    weight = module[0].weight
    with torch.no_grad():
        weight.copy_(torch.tensor([[3.0, 0.1]]))
    objective = Masked(module, final=0.5, score="movement", edges=True, end=1.0, every=1)
    (weight * torch.tensor([[1.0, -1.0]])).sum().backward()  # descent shrinks the first, grows the second
    assert objective.get_buffer("moved_0").tolist() == [[-3.0, pytest.approx(0.1)]]
    objective.before_update(module, 1, 1)
    assert weight.detach().tolist() == [[0.0, pytest.approx(0.1)]]


def test_run_killed_and_resumed_ends_with_the_same_weights(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    class Dies(LabelsOnly):
        def before_update(self, model: nn.Module, update: int, updates: int) -> None:
            if update == 15:
                raise Killed

    settings: dict[str, Any] = {"final": 0.9, "edges": True, "every": 3, "score": "movement"}
    module = net()
    with pytest.raises(Killed):
        fit(module, data(), Masked(module, Dies(), **settings), HYPER, folder=tmp_path / "cut", identity="masked")
    resumed, _ = run(tmp_path / "cut", score="movement")
    whole, _ = run(tmp_path / "whole", score="movement")
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
