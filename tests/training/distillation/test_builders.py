"""Every method by its name in a recipe: it trains the student, and leaves nothing of the teacher in the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.records.recipe import Distill
from deploycompress.records.recipe_distilling import LayerPairs
from deploycompress.records.recipe_methods import BLOCKS
from deploycompress.training import checkpoint, network
from deploycompress.training.distill import distill
from deploycompress.training.distillation.layers import LOSSES
from deploycompress.training.methods import METHODS

NETS = "tests.training.distillation.nets"
PAIRS = {"layers": [{"student": "3", "teacher": "3"}]}
IMAGES: list[tuple[str, dict[str, Any], str]] = [
    ("attention_transfer", PAIRS, "narrow_convolutional"),
    ("similarity_preserving", PAIRS, "narrow_convolutional"),
    ("relational", {**PAIRS, "weight": 2.0}, "narrow_convolutional"),
    ("correlation_congruence", {**PAIRS, "ratio": 0.5}, "narrow_convolutional"),
    ("probabilistic_transfer", PAIRS, "narrow_convolutional"),
    ("solution_flow", {"steps": [{"student": ["1", "3"], "teacher": ["1", "3"]}]}, "convolutional"),
    ("fitnets", {"hint": "3", "guided": "3", "max_unexplained": 1.2, "alpha_end": 0.5}, "narrow_convolutional"),
    ("born_again", {"form": "cwtm"}, "convolutional"),
    ("born_again", {"warm_start": True}, "convolutional"),
    ("gan", {"width": 8}, "narrow_convolutional"),
    ("robust", {"epsilon": 0.1, "steps": 2}, "narrow_convolutional"),
]
SENTENCES: list[tuple[str, dict[str, Any], str]] = [
    ("tinybert", {}, "narrow_encoder"),
    ("tinybert", {"attention": False, "share": 0.5}, "narrow_encoder"),
    ("minilm", {}, "narrow_encoder"),
    ("minilm", {"relations": "qk vv", "heads": 4, "teacher_layer": 2}, "narrow_encoder"),
    ("distilbert", {}, "Encoder"),
    ("distilbert", {"copy_layers": False}, "Encoder"),
    ("pkd", {"last": True}, "Encoder"),
]


def taught(folder: Path, kind: str, keys: dict[str, Any], student: str, *, lr: float = 0.02) -> Path:
    """The checkpoint of a student after a short run of a method."""
    sentences = student.lower().endswith("encoder")
    teacher, data = ("deep_encoder", "sentence_data") if sentences else ("convolutional", "image_data")
    module, _ = network.build(f"{NETS}:{teacher}")
    state = {name: 1.1 * tensor for name, tensor in module.state_dict().items()}  # not where a student starts
    checkpoint.save(state, folder / "t.safetensors")
    step = Distill.model_validate(
        {
            "teacher": f"{NETS}:{teacher}",
            "teacher_checkpoint": "t.safetensors",
            "student": f"{NETS}:{student}",
            "data": f"{NETS}:{data}",
            "output": "s.safetensors",
            "method": {kind: keys},
            "epochs": 2,
            "batch_size": 6,
            "lr": lr,
            "schedule": "constant",
        }
    )
    output = folder / "s.safetensors"
    distill(step, output, teacher_checkpoint=folder / "t.safetensors")
    return output


@pytest.mark.parametrize(("kind", "keys", "student"), IMAGES + SENTENCES)
def test_method_trains_the_student_and_leaves_nothing_else(
    tmp_path: Path, kind: str, keys: dict[str, Any], student: str
) -> None:
    trained = checkpoint.load(taught(tmp_path, kind, keys, student))
    fresh, _ = network.build(f"{NETS}:{student}")
    start = fresh.state_dict()
    assert {name: tensor.shape for name, tensor in trained.items()} == {n: t.shape for n, t in start.items()}
    assert all(torch.isfinite(tensor).all() for tensor in trained.values())
    assert any(not torch.equal(trained[name], tensor) for name, tensor in start.items())


def test_every_method_has_a_builder_and_every_pair_a_loss() -> None:
    assert set(METHODS) == set(BLOCKS["method"].values())
    assert set(LOSSES) == {kind for kind in METHODS if issubclass(kind, LayerPairs)}


def test_methods_of_this_folder_are_all_tried() -> None:
    folder = {kind for kind, record in BLOCKS["method"].items() if record.__module__.endswith("recipe_distilling")}
    assert {kind for kind, _, _ in IMAGES + SENTENCES} == folder


@pytest.mark.parametrize("warm", [False, True])
def test_warm_start_begins_at_the_teacher(tmp_path: Path, warm: bool) -> None:
    # Two updates at this rate move no weight by more than 1e-8 or so.
    trained = checkpoint.load(taught(tmp_path, "born_again", {"warm_start": warm}, "convolutional", lr=1e-9))
    teacher = checkpoint.load(tmp_path / "t.safetensors")
    assert torch.allclose(trained["0.weight"], teacher["0.weight"], atol=1e-6) == warm


def test_warm_start_between_other_networks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a warm start needs a student with the teacher's layers"):
        taught(tmp_path, "born_again", {"warm_start": True}, "narrow_convolutional")


def test_tinybert_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tinybert with neither hidden nor attention"):
        taught(tmp_path, "tinybert", {"hidden": False, "attention": False}, "narrow_encoder")
