"""Born-again objectives, the ensemble, copied layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training import checkpoint
from deploycompress.training.distillation.born_again import BornAgain
from deploycompress.training.distillation.copying import copy_layers
from deploycompress.training.distillation.encoder import encoder_of
from deploycompress.training.distillation.ensemble import Ensemble, ensemble
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import soft_targets
from deploycompress.training.losses.born_again import permuted, soft_cross_entropy
from tests.training.distillation.nets import Encoder, convolutional, images, sentences, whole

BATCH = whole(images())


def loss(form: str, labels: torch.Tensor | None = None) -> float:
    teacher, student = convolutional(seed=1), convolutional(seed=2)
    batch = BATCH if labels is None else type(BATCH)((), BATCH.inputs, labels, BATCH.rows)
    torch.manual_seed(1)  # seed 0 happens to leave all twelve rows as they are
    return float(BornAgain(Frozen(teacher), form)(student, batch).detach())  # type: ignore[arg-type]


def test_born_again_without_labels_does_not_look_at_them() -> None:
    turned = BATCH.labels.flip(0)
    assert loss("ban") == loss("ban", turned)
    assert loss("dkpp") == loss("dkpp", turned)
    assert loss("ban_l") != loss("ban_l", turned)
    assert loss("cwtm") != loss("cwtm", turned)


def test_born_again_is_the_divergence_and_the_teachers_entropy() -> None:
    teacher, student = convolutional(seed=1)(BATCH.inputs[0]), convolutional(seed=2)(BATCH.inputs[0])
    entropy = -(teacher.softmax(-1) * teacher.log_softmax(-1)).sum(-1).mean()
    assert loss("ban") == pytest.approx((soft_targets(student, teacher, 1.0) + entropy).item(), rel=1e-5)
    hard = nn.functional.cross_entropy(student, BATCH.labels)
    assert loss("ban_l") == pytest.approx(loss("ban") + hard.item(), rel=1e-5)


def test_shuffled_doubts_are_those_of_the_permuted_teacher() -> None:
    student, teacher = convolutional(seed=2)(BATCH.inputs[0]), convolutional(seed=1)(BATCH.inputs[0])
    torch.manual_seed(1)
    expected = soft_cross_entropy(student, permuted(teacher.softmax(-1))).item()
    assert loss("dkpp") == pytest.approx(expected, rel=1e-5)
    assert loss("dkpp") != pytest.approx(loss("ban"), rel=1e-5)


def test_ensemble_of_one_is_that_network() -> None:
    model = convolutional()
    torch.testing.assert_close(Ensemble([model])(BATCH.inputs[0]), model(BATCH.inputs[0]).log_softmax(-1))


def test_ensemble_averages_probabilities() -> None:
    members = [convolutional(seed=seed) for seed in range(3)]
    expected = torch.stack([member(BATCH.inputs[0]).softmax(-1) for member in members]).mean(0)
    torch.testing.assert_close(Ensemble(members)(BATCH.inputs[0]), expected.log())


def test_ensemble_passes_inputs_by_keyword() -> None:
    member, data = Encoder(), sentences()
    inputs = dict(zip(data.names, data.inputs, strict=True))
    torch.testing.assert_close(Ensemble([member])(**inputs), member(**inputs).log_softmax(-1))


def test_ensemble_is_made_of_checkpoints(tmp_path: Path) -> None:
    members = [convolutional(seed=seed) for seed in (5, 6)]
    paths = [tmp_path / f"{number}.safetensors" for number in range(2)]
    for member, path in zip(members, paths, strict=True):
        checkpoint.save(member.state_dict(), path)
    made = ensemble("tests.training.distillation.nets:convolutional", paths)
    assert torch.equal(made(BATCH.inputs[0]), Ensemble(members)(BATCH.inputs[0]))


def test_copied_layers_are_the_chosen_ones() -> None:
    student, teacher = Encoder(layers=2), Encoder(layers=4, seed=1)
    copy_layers(student, teacher, encoder_of(student), encoder_of(teacher), (1, 3))
    own, other = student.state_dict(), teacher.state_dict()
    assert torch.equal(own["encoder.layer.0.forward_part.weight"], other["encoder.layer.1.forward_part.weight"])
    assert torch.equal(own["encoder.layer.1.first.bias"], other["encoder.layer.3.first.bias"])
    assert torch.equal(own["head.weight"], other["head.weight"])
    own["head.weight"].zero_()
    assert teacher.head.weight.abs().max() > 0


def test_copying_of_other_widths_leaves_the_student_as_it_was() -> None:
    student, teacher = Encoder(width=4), Encoder(width=8)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    with pytest.raises(UsageError, match=r"embeddings.0.weight: the teacher has no tensor of shape \(20, 4\)"):
        copy_layers(student, teacher, encoder_of(student), encoder_of(teacher), (0, 1))
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())
