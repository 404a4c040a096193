"""An objective with parameters, buffers and schedules of its own goes through the loop as plain training does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.batches import Batch, few
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses import cross_entropy
from deploycompress.training.objective import LabelsOnly, Objective, Trainee
from deploycompress.training.optimizers import optimizer, set_rate
from tests.training.test_loop import HYPER, Killed, assert_same_weights, killed_after, network, spirals


class Elaborate(Objective):
    """A regressor onto a teacher's logits, a count of updates in a buffer, and a weight that grows with the run."""

    lr_factor = 0.5
    count: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.teacher, self.regressor, self.weight = Frozen(network(7)), nn.Linear(2, 2), 0.0
        self.register_buffer("count", torch.zeros(()))
        self.calls: list[str] = []

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        outputs = model(*batch.inputs)
        hint = (self.regressor(outputs) - self.teacher(*batch.inputs)).square().mean()
        return cross_entropy(outputs, batch.labels) + self.weight * hint + 0.001 * self.count * outputs.square().mean()

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        self.weight = update / updates
        self.calls.append(f"before {update}/{updates}")

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        self.count += 1
        self.calls.append(f"after {update}/{updates}")

    def figures(self) -> dict[str, float]:
        return {"count": self.count.item()}


def run(folder: Path, hyper: Hyperparameters = HYPER, **more: object) -> tuple[nn.Module, Elaborate, list[float]]:
    module = network()
    torch.manual_seed(5)
    objective = Elaborate()
    data, held = spirals(), spirals(50, seed=1)
    done = fit(module, data, objective, hyper, folder=folder, identity="a", evaluation=held, **more)  # type: ignore[arg-type]
    return module, objective, [epoch.figures["count"] for epoch in done.history]


@pytest.mark.parametrize("batches", [7, 20])
def test_killed_run_with_parameters_and_buffers_of_its_own_resumes_to_the_bit(tmp_path: Path, batches: int) -> None:
    whole, objective, counts = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", track=killed_after(batches))
    resumed, again, resumed_counts = run(tmp_path / "killed")
    assert_same_weights(whole, resumed)
    assert_same_weights(objective, again)
    assert counts == resumed_counts == [4.0, 8.0, 12.0, 16.0]  # 7 batches, 2 an update


def test_schedules_see_every_update_once_and_in_order(tmp_path: Path) -> None:
    _, objective, _ = run(tmp_path)
    assert objective.calls == [f"{when} {update}/16" for update in range(16) for when in ("before", "after")]


def test_parameters_of_the_objective_are_trained(tmp_path: Path) -> None:
    torch.manual_seed(5)
    before = Elaborate().regressor.weight
    _, objective, _ = run(tmp_path)
    assert not torch.equal(before, objective.regressor.weight)


def test_teacher_is_in_no_snapshot_and_does_not_move(tmp_path: Path) -> None:
    _, objective, _ = run(tmp_path)
    assert_same_weights(objective.teacher.module, network(7))
    saved = torch.load(tmp_path / "snapshot.pt", weights_only=True)["trainee"]
    assert sorted(name for name in saved if name.startswith("objective.")) == [
        *("objective.count", "objective.regressor.bias", "objective.regressor.weight"),
    ]


def test_own_parameters_take_their_share_of_the_rate() -> None:
    made = optimizer(Trainee(network(), Elaborate()), HYPER)
    set_rate(made, 0.2)
    assert [group["lr"] for group in made.param_groups] == [0.2, 0.2, 0.1, 0.1]
    assert [group["weight_decay"] for group in made.param_groups] == [HYPER.weight_decay, 0.0] * 2
    assert sum(len(group["params"]) for group in made.param_groups) == 6 + 2


def test_training_stops_when_nothing_got_better_for_a_while(tmp_path: Path) -> None:
    hyper = HYPER.model_copy(update={"epochs": 60, "lr": 0.2, "schedule": "constant", "patience": 3})
    for folder in ("whole", "killed"):
        if folder == "killed":
            with pytest.raises(Killed):
                run(tmp_path / folder, hyper, track=killed_after(20))
        module = network()
        done = fit(
            module,
            spirals(),
            LabelsOnly() if folder == "whole" else Elaborate(),
            hyper,
            folder=tmp_path / folder,
            identity="a",
            evaluation=spirals(50, seed=1),
        )
        best = max(done.history, key=lambda epoch: (epoch.eval_accuracy, -epoch.eval_loss, epoch.epoch))  # type: ignore[operator]
        assert done.kept == best
        assert len(done.history) == best.epoch + 3 < 60


def test_patience_without_evaluation_is_refused(tmp_path: Path) -> None:
    hyper = HYPER.model_copy(update={"patience": 3})
    with pytest.raises(UsageError, match="patience needs evaluation data"):
        fit(network(), spirals(), LabelsOnly(), hyper, folder=tmp_path, identity="a")


def test_batches_carry_the_numbers_of_their_rows(tmp_path: Path) -> None:
    data = spirals()

    class Looking(LabelsOnly):
        def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
            assert torch.equal(batch.inputs[0], data.inputs[0][batch.rows])
            assert batch.targets is not None
            assert torch.equal(batch.targets[:, 0], batch.rows.float())
            return super().forward(model, batch)

    targets = torch.arange(100.0)[:, None].expand(-1, 2)
    fit(network(), data, Looking(), HYPER, folder=tmp_path, identity="a", targets=targets)
    assert few(data, 3).rows.tolist() == [0, 1, 2]
