"""What TinyBERT, MiniLM, DistilBERT and PKD compare: zero between equals, the layers and values they stand for."""

from __future__ import annotations

import pytest
import torch

from deploycompress.errors import UsageError
from deploycompress.training.attention import scores
from deploycompress.training.distillation.encoder import encoder_of
from deploycompress.training.distillation.matching import Matching, Term
from deploycompress.training.distillation.transformers import (
    hidden_terms,
    last_state_terms,
    patient_terms,
    relation_terms,
    score_terms,
)
from deploycompress.training.features import tapped
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses.scores import score_difference
from tests.training.distillation.nets import Encoder, sentences, whole

DATA = sentences()


def value(terms: list[Term], student: Encoder, teacher: Encoder) -> float:
    """Sum of the terms at weight 1, after the check at the start of a run."""
    for term in terms:
        term.weight = 1.0
    objective = Matching(Frozen(teacher), terms, alpha=None)
    objective.weights.fill_(1.0)
    objective.check(student, whole(DATA))
    return float(objective(student, whole(DATA)).detach())


def every_kind(student: Encoder, teacher: Encoder) -> list[Term]:
    own, other = encoder_of(student), encoder_of(teacher)
    return [
        *score_terms(own, other),
        *relation_terms(own, other, "qk vv", heads=None, layer=None, weight=1.0),
        *relation_terms(own, other, "qq kk vv", heads=4, layer=1, weight=1.0),
        *last_state_terms(own, other, weight=1.0),
        *patient_terms(own, other, last=False, weight=1.0),
    ]


def test_equal_networks_give_zero_in_every_term() -> None:
    student = Encoder()
    # Nine terms of float32 sums near 1.
    assert value(every_kind(student, student), student, Encoder()) == pytest.approx(0, abs=1e-5)


def test_other_weights_count_in_every_term() -> None:
    student, teacher = Encoder(), Encoder(seed=1)
    for term in every_kind(student, teacher):
        assert value([term], student, teacher) > 1e-3, term.name


def test_hidden_states_of_one_width_are_compared_as_they_are() -> None:
    student = Encoder()
    (term,) = hidden_terms(encoder_of(student), encoder_of(student))
    assert term.projection is None
    assert value([term], student, Encoder()) == 0


def test_equal_networks_give_zero_in_hidden_states() -> None:
    student = Encoder()
    (term,) = hidden_terms(encoder_of(student), encoder_of(student))
    assert term.projection is None
    assert value([term], student, Encoder()) == 0


def test_hidden_states_are_those_of_evenly_spaced_layers_and_the_embeddings() -> None:
    (term,) = hidden_terms(encoder_of(Encoder(layers=2, width=4)), encoder_of(Encoder(layers=6)))
    assert term.student == ("embeddings", "encoder.layer.0", "encoder.layer.1")
    assert term.teacher == ("embeddings", "encoder.layer.2", "encoder.layer.5")


def test_attention_is_that_of_the_last_layer_of_every_block() -> None:
    # TinyBERT's map for 12 -> 4: attentions of layers 2, 5, 8, 11.
    terms = score_terms(encoder_of(Encoder(layers=4)), encoder_of(Encoder(layers=12)))
    assert [term.teacher[0].split(".")[2] for term in terms] == ["2", "5", "8", "11"]


def test_attention_term_is_the_loss_of_the_recomputed_scores() -> None:
    student, teacher = Encoder(layers=1), Encoder(layers=2, seed=1)
    terms = score_terms(encoder_of(student), encoder_of(teacher))
    ids, mask = (tensor[:, :5] for tensor in DATA.inputs)
    found = []
    for net, layer in ((student, 0), (teacher, 1)):
        names = [f"encoder.layer.{layer}.attention.self.{kind}" for kind in ("query", "key")]
        with tapped(net, names) as outputs:
            net(ids, mask)
        found.append(scores(outputs[names[0]], outputs[names[1]], 2))
    assert value(terms, student, teacher) == pytest.approx(score_difference(*found, mask).item(), rel=1e-5)


def test_patient_layers_are_spread_or_the_last_ones() -> None:
    own, other = encoder_of(Encoder(layers=3)), encoder_of(Encoder(layers=12))
    (spread,), (last,) = (patient_terms(own, other, last=which, weight=None) for which in (False, True))
    assert [name.split(".")[2] for name in spread.teacher] == ["3", "7"]
    assert [name.split(".")[2] for name in last.teacher] == ["9", "10"]
    assert spread.student == ("encoder.layer.0", "encoder.layer.1")


def test_narrow_student_learns_relations() -> None:
    student, teacher = Encoder(layers=1, width=4), Encoder(seed=1)
    terms = relation_terms(encoder_of(student), encoder_of(teacher), "qq kk vv", heads=2, layer=None, weight=1.0)
    assert [term.name for term in terms] == ["relation_qq", "relation_kk", "relation_vv"]
    objective = Matching(Frozen(teacher), terms, alpha=None)
    before = objective(student, whole(DATA))
    before.backward()
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.grad is not None:
                parameter -= 0.05 * parameter.grad
    assert objective(student, whole(DATA)) < before


def test_other_numbers_of_heads_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the student has 4 heads, the teacher 2; .*or use minilm"):
        score_terms(encoder_of(Encoder(heads=4)), encoder_of(Encoder(heads=2)))


def test_other_widths_are_refused_where_no_projection_is() -> None:
    narrow, wide = encoder_of(Encoder(width=4)), encoder_of(Encoder(width=8))
    with pytest.raises(UsageError, match="have 4 channels, the teacher's 8; use tinybert or minilm"):
        last_state_terms(narrow, wide, weight=None)
    with pytest.raises(UsageError, match="have 4 channels, the teacher's 8; use tinybert or minilm"):
        patient_terms(narrow, wide, last=False, weight=None)


def test_single_layer_has_nothing_to_be_patient_with() -> None:
    with pytest.raises(UsageError, match="a student of one layer has none below its last"):
        patient_terms(encoder_of(Encoder(layers=1)), encoder_of(Encoder()), last=False, weight=None)


def test_layer_beyond_the_teacher_is_refused() -> None:
    encoder = encoder_of(Encoder(layers=2))
    with pytest.raises(UsageError, match="the teacher has no layer 2; its last one is 1"):
        relation_terms(encoder, encoder, "qk vv", heads=None, layer=2, weight=None)
