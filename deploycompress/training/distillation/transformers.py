"""encoder pairs -> terms: TinyBERT's layers, MiniLM's relations, DistilBERT's last states, PKD's [CLS] states.

Source: Jiao et al. 2020, arXiv:1909.10351; Wang et al. 2020 and 2021, arXiv:2002.10957 and 2012.15828; Sanh et al.
2019, arXiv:1910.01108; Sun et al. 2019, arXiv:1908.09355.
"""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.attention import relations, scores
from deploycompress.training.distillation.encoder import Encoder, spread
from deploycompress.training.distillation.matching import Compare, Outputs, Term
from deploycompress.training.losses.hidden import angle, unexplained
from deploycompress.training.losses.relations import relation_divergence
from deploycompress.training.losses.scores import score_difference


def hidden_terms(student: Encoder, teacher: Encoder) -> list[Term]:
    """The embeddings and every hidden state beside an evenly spaced one of the teacher.

    A student of another width is projected, by one matrix for all layers; one of the same width is compared as it is,
    so that a student that starts as a part of its teacher is close from the start. Errors are shares of the teacher's
    variance, so that layers of any size count alike.
    """

    def compare(answered: Outputs, told: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return torch.stack([unexplained(s, t, mask) for s, t in zip(answered, told, strict=True)]).sum()

    matched = (teacher.embeddings, *(teacher.layers[number] for number in _matched(student, teacher)))
    projection = None if student.width == teacher.width else nn.Linear(student.width, teacher.width)
    return [Term("hidden", student.states, matched, compare, projection=projection, weight=1.0)]


def score_terms(student: Encoder, teacher: Encoder) -> list[Term]:
    """The attention scores of every layer beside those of an evenly spaced one of the teacher.

    Raises:
        UsageError: The numbers of heads differ.
    """
    if student.heads != teacher.heads:
        raise UsageError(
            f"the student has {student.heads} heads, the teacher {teacher.heads}",
            remedy="give the student as many, set attention: false, or use minilm",
        )

    def compare(answered: Outputs, told: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        s, t = (scores(queries, keys, student.heads) for queries, keys in (answered, told))
        return score_difference(s, t, mask)

    return [
        Term(
            f"attention_{number}",
            (student.queries[number], student.keys[number]),
            (teacher.queries[other], teacher.keys[other]),
            compare,
            weight=1.0,
        )
        for number, other in enumerate(_matched(student, teacher))
    ]


def relation_terms(
    student: Encoder, teacher: Encoder, kinds: str, *, heads: int | None, layer: int | None, weight: float | None
) -> list[Term]:
    """Relations of the student's last layer beside those of one layer of the teacher.

    Args:
        student: The student's encoder.
        teacher: The teacher's.
        kinds: Pairs of q, k and v, as "qk vv" (MiniLM) or "qq kk vv" (MiniLMv2).
        heads: Relation heads; the teacher's attention heads by default.
        layer: Layer of the teacher from 0; its last by default.
        weight: Of every term; None to be found.

    Raises:
        UsageError: There is no such layer.
    """
    heads, layer = heads or teacher.heads, len(teacher.layers) - 1 if layer is None else layer
    if layer >= len(teacher.layers):
        raise UsageError(f"the teacher has no layer {layer}", remedy=f"its last one is {len(teacher.layers) - 1}")
    return [
        Term(
            f"relation_{kind}",
            [_projections(student, letter)[-1] for letter in kind],
            [_projections(teacher, letter)[layer] for letter in kind],
            _relation(heads),
            weight=weight,
        )
        for kind in kinds.split()
    ]


def last_state_terms(student: Encoder, teacher: Encoder, *, weight: float | None) -> list[Term]:
    """The angle between the last hidden states of every token."""
    _same_width(student, teacher)

    def compare(answered: Outputs, told: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return angle(answered[0], told[0], mask)

    return [Term("angle", student.layers[-1:], teacher.layers[-1:], compare, weight=weight)]


def patient_terms(student: Encoder, teacher: Encoder, *, last: bool, weight: float | None) -> list[Term]:
    """The [CLS] states at length 1 of all layers but the student's last, beside evenly spaced or the last ones.

    Raises:
        UsageError: The widths differ, or the student has a single layer.
    """
    _same_width(student, teacher)
    count, deeper = len(student.layers) - 1, len(teacher.layers) - 1
    if not count:
        raise UsageError("a student of one layer has none below its last", remedy="use a deeper student, or distilbert")
    matched = tuple(range(deeper - count, deeper)) if last else _matched(student, teacher)[:-1]

    def compare(answered: Outputs, told: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        # |s/|s| - t/|t||^2 is twice 1 - cos.
        return 2 * torch.stack([angle(s[:, 0], t[:, 0]) for s, t in zip(answered, told, strict=True)]).mean()

    return [
        Term("patient", student.layers[:-1], [teacher.layers[number] for number in matched], compare, weight=weight)
    ]


def _matched(student: Encoder, teacher: Encoder) -> tuple[int, ...]:
    return spread(len(student.layers), len(teacher.layers))


def _relation(heads: int) -> Compare:
    def related(outputs: Outputs) -> torch.Tensor:
        first, second = outputs
        return relations(first, heads) if first is second else scores(first, second, heads)

    def compare(answered: Outputs, told: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        return relation_divergence(related(answered), related(told), mask)

    return compare


def _projections(encoder: Encoder, letter: str) -> tuple[str, ...]:
    return {"q": encoder.queries, "k": encoder.keys, "v": encoder.values}[letter]


def _same_width(student: Encoder, teacher: Encoder) -> None:
    if student.width != teacher.width:
        raise UsageError(
            f"the student's hidden states have {student.width} channels, the teacher's {teacher.width}",
            remedy="use tinybert or minilm, which compare other widths",
        )
