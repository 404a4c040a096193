"""A new task: the backbone stays as it was, or the old answers do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.losses import cross_entropy
from deploycompress.training.objective import LabelsOnly
from deploycompress.training.regimes.transfer import Partly, WithoutForgetting
from tests.training.regimes.test_multitask import BATCH, DATA, TwoHeads, X
from tests.training.test_loop import HYPER, network, spirals

NEW = Batch((), (X,), DATA.labels, BATCH.rows)


def test_frozen_parts_keep_weights_and_statistics_and_the_head_learns(tmp_path: Path) -> None:
    module, before = network(), network()
    objective = Partly(LabelsOnly(), module, ["0", "1"])
    fit(module, spirals(), objective, HYPER, folder=tmp_path, identity="a")
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before.state_dict()[name]) == (not name.startswith("4.")), name
    assert all(parameter.requires_grad for parameter in objective.finish(module).parameters())


def test_unknown_part_and_nothing_left_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown submodule 'trunc'; did you mean trunk"):
        Partly(LabelsOnly(), TwoHeads(), ["trunc"])
    with pytest.raises(UsageError, match="freezing leaves nothing to train"):
        Partly(LabelsOnly(), TwoHeads(), ["trunk", "first", "second"])


def test_old_answers_cost_nothing_until_they_change() -> None:
    model = TwoHeads()
    objective = WithoutForgetting(Frozen(TwoHeads()))
    assert objective(model, NEW).item() == cross_entropy(model(X)[0], DATA.labels).item()
    with torch.no_grad():
        model.second.weight.add_(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)))
    assert objective(model, NEW).item() > cross_entropy(model(X)[0], DATA.labels).item()


def test_old_task_is_remembered_where_plain_training_forgets_it(tmp_path: Path) -> None:
    def drift(objective: object, folder: str) -> float:
        model = TwoHeads()
        old = model(X)[1].detach().softmax(-1)
        hyper = HYPER.model_copy(update={"epochs": 30})
        fit(model, DATA, objective, hyper, folder=tmp_path / folder, identity="a")  # type: ignore[arg-type]
        return (model(X)[1].softmax(-1) - old).abs().mean().item()

    # The trunk is shared, so training the new task moves the old answers; alpha = 10 holds them.
    assert drift(WithoutForgetting(Frozen(TwoHeads()), alpha=10.0), "with") < 0.5 * drift(LabelsOnly(), "plain")


def test_network_of_one_output_is_refused() -> None:
    with pytest.raises(UsageError, match="returns a Tensor"):
        WithoutForgetting(Frozen(nn.Linear(2, 2)))(nn.Linear(2, 2), NEW)
