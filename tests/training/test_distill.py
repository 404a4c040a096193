"""A student learns from a frozen teacher what its labels alone do not say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deploycompress.errors import CheckpointRejectedError, UsageError
from deploycompress.records.recipe import Distill, Train
from deploycompress.training import checkpoint
from deploycompress.training.distill import distill
from deploycompress.training.train import train

CODE = """
import numpy as np, torch
from torch import nn

def net(width, classes=3):
    head = nn.Linear(width, classes)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.1), head)

def teacher(): return net(64)
def student(): return net(8)
def other_classes(): return net(8, 4)

def points(count, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)
    angle = np.arctan2(x[:, 1], x[:, 0])
    return x, np.floor((angle + np.pi) / (2 * np.pi) * 3).clip(0, 2).astype(np.int64)

def data(): return points(200, 0)
def held(): return points(100, 1)
def noise():
    x, y = points(200, 0)
    return x, np.random.default_rng(9).permutation(y)
"""


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the code and a trained teacher."""
    base = tmp_path_factory.mktemp("distill")
    (base / "code.py").write_text(CODE)
    step = Train(model="code.py:teacher", data="code.py:data", eval="code.py:held", output="t", epochs=30, lr=0.01)
    result = train(step, base / "t.safetensors", base=base)
    assert result.kept.eval_accuracy is not None
    assert result.kept.eval_accuracy > 0.93
    return base


def settings(**more: object) -> Distill:
    values = {
        "teacher": "code.py:teacher",
        "teacher_checkpoint": "t.safetensors",
        "student": "code.py:student",
        "data": "code.py:data",
        "eval": "code.py:held",
        "output": "s.safetensors",
        "epochs": 30,
        "lr": 0.02,
        "batch_size": 20,
    }
    return Distill.model_validate({**values, **more})


def test_trained_checkpoint_has_a_log_and_no_snapshot(taught: Path) -> None:
    assert sorted(file.name for file in (taught / "t.training").iterdir()) == ["log.jsonl"]
    assert set(checkpoint.load(taught / "t.safetensors")) >= {"0.weight", "4.bias"}


def test_student_reaches_its_teacher_and_baseline_is_reported(taught: Path, tmp_path: Path) -> None:
    teacher = taught / "t.safetensors"
    result = distill(settings(baseline=True), tmp_path / "s.safetensors", teacher_checkpoint=teacher, base=taught)
    accuracy = result.student.kept.eval_accuracy
    assert accuracy is not None
    assert result.teacher_accuracy is not None
    assert accuracy > result.teacher_accuracy - 0.05
    assert result.baseline is not None
    assert result.baseline.output == tmp_path / "s.baseline.safetensors"
    assert result.baseline.output.is_file()
    assert "fewer parameters than the teacher" in result.summary()
    assert "without teacher" in result.summary()


def test_alpha_one_learns_from_the_teacher_although_labels_are_noise(taught: Path, tmp_path: Path) -> None:
    teacher = taught / "t.safetensors"
    told = distill(
        settings(alpha=1.0, data="code.py:noise"), tmp_path / "a.safetensors", teacher_checkpoint=teacher, base=taught
    )
    misled = distill(
        settings(alpha=0.0, data="code.py:noise"), tmp_path / "b.safetensors", teacher_checkpoint=teacher, base=taught
    )
    # Shuffled labels of three classes leave chance level, a third; the teacher's logits leave its accuracy.
    assert (told.student.kept.eval_accuracy or 0) > 0.85
    assert (misled.student.kept.eval_accuracy or 1) < 0.7


def test_cached_logits_train_as_computed_ones(taught: Path, tmp_path: Path) -> None:
    teacher = taught / "t.safetensors"
    for name, cache in (("a", True), ("b", False)):
        step = settings(epochs=2, cache_logits=cache)
        distill(step, tmp_path / f"{name}.safetensors", teacher_checkpoint=teacher, base=taught)
    cached, computed = (checkpoint.load(tmp_path / f"{name}.safetensors") for name in "ab")
    for name, tensor in cached.items():
        # The same mathematics on batches cut differently; float32 rounding over 20 updates.
        torch.testing.assert_close(tensor, computed[name], rtol=1e-4, atol=1e-5)


def test_teacher_is_frozen_in_eval_mode(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = taught / "t.safetensors"
    before = teacher.read_bytes()
    built: list[torch.nn.Module] = []
    from deploycompress.training import distill as module

    original = module.network.build

    def recording(reference: str, **more: object) -> tuple[torch.nn.Module, object]:
        made = original(reference, **more)  # type: ignore[arg-type]
        built.append(made[0])
        return made

    monkeypatch.setattr(module.network, "build", recording)
    distill(settings(epochs=1, cache_logits=False), tmp_path / "s.safetensors", teacher_checkpoint=teacher, base=taught)
    state = checkpoint.load(teacher)
    assert teacher.read_bytes() == before
    for name, tensor in built[0].state_dict().items():
        assert torch.equal(tensor, state[name]), f"{name} moved"  # BatchNorm statistics would, in train mode


def test_other_classes_are_refused_before_training(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"teacher's logits are \(2, 3\) for two samples, the student's \(2, 4\)"):
        distill(
            settings(student="code.py:other_classes"),
            tmp_path / "s.safetensors",
            teacher_checkpoint=taught / "t.safetensors",
            base=taught,
        )


def test_checkpoint_of_another_network_is_refused(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointRejectedError, match="it does not fit Sequential: "):
        distill(
            settings(teacher="code.py:student"),
            tmp_path / "s.safetensors",
            teacher_checkpoint=taught / "t.safetensors",
            base=taught,
        )


CUT = """

def half(teacher=None, data=None):
    small = net(8)
    if teacher is not None:
        assert set(data) == {"input", "label"}
        kept = teacher[0].weight.norm(dim=1).topk(8).indices
        for number in (0, 1):
            for name, value in small[number].state_dict().items():
                value.copy_(teacher[number].state_dict()[name][kept] if value.ndim else value)
        small[4].load_state_dict({"weight": teacher[4].weight[:, kept], "bias": teacher[4].bias})
    return small
"""


def test_student_that_asks_for_its_teacher_starts_as_a_part_of_it(taught: Path, tmp_path: Path) -> None:
    (tmp_path / "code.py").write_text(CODE + CUT)
    slow = settings(student="code.py:half", epochs=1, lr=1e-9, warmup=0.0)
    result = distill(slow, tmp_path / "s.safetensors", teacher_checkpoint=taught / "t.safetensors", base=tmp_path)
    rows = checkpoint.load(taught / "t.safetensors")["0.weight"]
    kept = rows[rows.norm(dim=1).topk(8).indices]
    # AdamW moves a weight by at most lr an update: 10 updates of 1e-9 are lost in float32.
    assert torch.equal(checkpoint.load(result.student.output)["0.weight"], kept)
