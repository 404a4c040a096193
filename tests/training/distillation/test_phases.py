"""Objectives in turn: who is asked when, counted from where, and that a killed run goes on in its phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.batches import Batch
from deploycompress.training.distillation.phases import Phases
from deploycompress.training.loop import fit
from deploycompress.training.objective import LabelsOnly, Objective
from tests.training.distillation.nets import convolutional, images, whole


class Scribe(Objective):
    """Writes down what it is asked."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value, self.asked = value, list[tuple[str, int, int]]()

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        return torch.tensor(self.value)

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        self.asked.append(("before", update, updates))

    def after_update(self, model: nn.Module, update: int, updates: int) -> None:
        self.asked.append(("after", update, updates))

    def figures(self) -> dict[str, float]:
        return {"value": self.value}


def test_every_phase_has_its_share_and_counts_from_its_start() -> None:
    scribes = [Scribe(1.0), Scribe(2.0), Scribe(3.0)]
    phases, model = Phases(scribes, [0.5, 0.25]), convolutional()
    losses = []
    for update in range(8):
        phases.before_update(model, update, 8)
        losses.append(phases(model, whole(images())).item())
        phases.after_update(model, update, 8)
    assert losses == [1, 1, 1, 1, 2, 2, 3, 3]
    assert scribes[1].asked == [("before", 0, 2), ("after", 0, 2), ("before", 1, 2), ("after", 1, 2)]
    assert scribes[2].asked[-1] == ("after", 1, 2)
    assert phases.figures() == {"phase": 3.0, "value": 3.0}


class Upper(Objective):
    """Reaches the first layers alone."""

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        assert isinstance(model, nn.Sequential)
        return model[:2](batch.inputs[0]).square().mean()


class Killed(Exception):
    pass


@pytest.mark.parametrize("at", [5, 10])
def test_killed_and_resumed_run_equals_uninterrupted(tmp_path: Path, at: int) -> None:
    def killed(items: Iterable[int], description: str, total: int | None = None) -> Iterator[int]:
        for done, item in enumerate(items):
            if done == at:
                raise Killed
            yield item

    hyper = Hyperparameters(epochs=4, batch_size=4, lr=0.01)  # 3 updates an epoch, 12 in all, 6 of them in phase one

    def run(folder: str, **more: object) -> nn.Module:
        model, phases = convolutional(), Phases([Upper(), LabelsOnly()], [0.5])
        fit(model, images(), phases, hyper, folder=tmp_path / folder, identity="a", **more)  # type: ignore[arg-type]
        return model

    unbroken = run("whole")
    with pytest.raises(Killed):
        run("killed", track=killed)
    for x, y in zip(unbroken.parameters(), run("killed").parameters(), strict=True):
        assert torch.equal(x, y)


def test_layers_that_a_phase_does_not_reach_stay_as_they_are(tmp_path: Path) -> None:
    model = convolutional()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    hyper = Hyperparameters(epochs=1, batch_size=4, lr=0.01, weight_decay=0.1)
    fit(model, images(), Phases([Upper(), LabelsOnly()], [0.99]), hyper, folder=tmp_path, identity="a")
    same = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert same == ["2.weight", "2.bias", "5.weight", "5.bias"]
