"""Every regime that a recipe can name trains a network from files, and its paths are those of the recipe's folder."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from deploycompress.errors import UnknownNameError, UsageError
from deploycompress.records.recipe import Distill, Train
from deploycompress.records.recipe_methods import AnyMethod
from deploycompress.records.recipe_regimes import AnyRegime
from deploycompress.training import checkpoint
from deploycompress.training.distill import distill
from deploycompress.training.export import export
from deploycompress.training.methods import METHODS, REGIMES
from deploycompress.training.train import train

CODE = """
import numpy as np, torch
from torch import nn

def net(seed=0, classes=2):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, classes))

def other(): return net(1)
def three(): return net(0, 3)

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.first, self.second = nn.Linear(2, 8), nn.Linear(8, 2), nn.Linear(8, 3)
    def forward(self, x):
        h = self.trunk(x).tanh()
        return self.first(h), self.second(h)

def points(count, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)
    return x, (x[:, 0] > 0).astype(np.int64)

def data(): return points(40, 0)
def pool(): return points(80, 1)
def both():
    x, y = points(40, 0)
    return x, np.stack([y, y + (x[:, 1] > 0)], axis=1)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path


def step(**more: object) -> Train:
    values = {"model": "code.py:net", "data": "code.py:data", "output": "s", "epochs": 3, "lr": 0.05}
    return Train.model_validate({**values, **more})


def weights(path: Path) -> list[torch.Tensor]:
    return list(checkpoint.load(path).values())


def test_every_record_has_its_builder() -> None:
    assert set(METHODS) == set(AnyMethod.__args__)  # type: ignore[attr-defined]
    assert set(REGIMES) == set(AnyRegime.__args__)  # type: ignore[attr-defined]


@pytest.mark.parametrize("regime", ["tail", "ps_kd", {"mutual": {"peer": "code.py:other"}}])
def test_regime_has_a_say_in_the_weights_and_leaves_no_trace_in_the_checkpoint(base: Path, regime: object) -> None:
    train(step(), base / "plain.safetensors", base=base)
    train(step(regime=regime), base / "taught.safetensors", base=base)
    assert set(checkpoint.load(base / "taught.safetensors")) == {"0.weight", "0.bias", "2.weight", "2.bias"}
    plain, taught = weights(base / "plain.safetensors"), weights(base / "taught.safetensors")
    assert not all(torch.equal(a, b) for a, b in zip(plain, taught, strict=True))


def test_training_goes_on_from_a_checkpoint_with_a_new_head_and_a_frozen_trunk(base: Path) -> None:
    train(step(), base / "old.safetensors", base=base)
    new = step(model="code.py:three", initial="old.safetensors", fresh=["2"], freeze=["0"])
    train(new, base / "new.safetensors", base=base)
    old, now = checkpoint.load(base / "old.safetensors"), checkpoint.load(base / "new.safetensors")
    assert torch.equal(old["0.weight"], now["0.weight"])
    assert now["2.weight"].shape == (3, 8)


def test_old_task_needs_a_checkpoint_to_be_kept(base: Path) -> None:
    with pytest.raises(UsageError, match="without_forgetting has nothing to keep; give initial"):
        train(step(model="code.py:Two", regime="without_forgetting"), base / "a.safetensors", base=base)


def test_unknown_part_to_freeze_is_refused(base: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown submodule 'trunk'"):
        train(step(freeze=["trunk"]), base / "a.safetensors", base=base)


def test_pool_and_further_teachers_are_looked_up_beside_the_recipe(base: Path) -> None:
    for factory in ("net", "three"):
        train(step(model=f"code.py:{factory}", epochs=1), base / f"{factory}.safetensors", base=base)
    common = {"teacher": "code.py:net", "teacher_checkpoint": "net.safetensors", "output": "s", "epochs": 2}
    for student, data, method in (
        ("code.py:other", "code.py:data", {"semi_supervised": {"pool": "code.py:pool", "targets": "hard"}}),
        (
            "code.py:Two",
            "code.py:both",
            {"multi_task": {"teachers": ["code.py:three"], "teacher_checkpoints": ["three.safetensors"]}},
        ),
    ):
        made = Distill.model_validate({**common, "student": student, "data": data, "method": method})
        result = distill(made, base / "s.safetensors", teacher_checkpoint=base / "net.safetensors", base=base)
        assert result.student.epochs == 2


def test_labels_do_not_matter_to_a_teacher_alone(base: Path) -> None:
    train(step(), base / "net.safetensors", base=base)
    (base / "noise.py").write_text(CODE + "\ndef noise():\n    x, y = data()\n    return x, 1 - y\n")
    results = []
    for data in ("noise.py:data", "noise.py:noise"):
        made = Distill.model_validate(
            {
                "teacher": "code.py:net",
                "teacher_checkpoint": "t",
                "student": "code.py:other",
                "output": "s",
                "data": data,
                "epochs": 2,
                "method": "teacher_only",
            }
        )
        distill(made, base / "s.safetensors", teacher_checkpoint=base / "net.safetensors", base=base)
        results.append(weights(base / "s.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_exported_student_holds_nothing_of_the_peer_or_the_teacher(base: Path) -> None:
    train(step(), base / "net.safetensors", base=base)
    made = Distill.model_validate(
        {
            "teacher": "code.py:net",
            "teacher_checkpoint": "t",
            "student": "code.py:other",
            "data": "code.py:data",
            "output": "s",
            "epochs": 1,
        }
    )
    distill(made, base / "taught.safetensors", teacher_checkpoint=base / "net.safetensors", base=base)
    train(step(regime={"mutual": {"peer": "code.py:other"}}), base / "paired.safetensors", base=base)
    for name in ("taught", "paired"):
        trained, output = base / f"{name}.safetensors", base / f"{name}.onnx"
        export("code.py:other", output, checkpoint=trained, inputs=["x=float32[2,2]"], base=base)
        held = sorted(initializer.name for initializer in onnx.load(output).graph.initializer)
        assert held == sorted(checkpoint.load(trained))
