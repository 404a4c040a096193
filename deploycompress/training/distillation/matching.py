"""task + sum_i w_i term_i: a student that answers as the teacher does and whose layers look like the teacher's.

A term names layers on both sides and compares what they put out. Its weight is given, or found at the first update so
that its gradient is as large as the task's (`balance`), and kept from then on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.batches import Batch
from deploycompress.training.distillation.balance import balanced
from deploycompress.training.features import tapped
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import cross_entropy, hinton
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import check_same_classes

Outputs = tuple[torch.Tensor, ...]
"""What the layers of a term put out, in the order of their names."""

Compare = Callable[[Outputs, Outputs, torch.Tensor | None], torch.Tensor]
"""(of the student, of the teacher, mask of real tokens) -> loss; 0 where both are the same."""

_MASK = "attention_mask"

_ZERO = 1e-4
"""What float32 may leave of a loss between equals."""


class Term(nn.Module):
    """One comparison of layers.

    Attributes:
        name: For the log.
        student: Names of the student's layers.
        teacher: Names of the teacher's layers, in the same order.
        compare: The loss.
        projection: Brings every output of the student to the teacher's width; trained with it and thrown away.
        weight: Of the loss; None to be found.
    """

    def __init__(
        self,
        name: str,
        student: Sequence[str],
        teacher: Sequence[str],
        compare: Compare,
        *,
        projection: nn.Module | None = None,
        weight: float | None = None,
    ) -> None:
        super().__init__()
        self.name, self.student, self.teacher = name, tuple(student), tuple(teacher)
        self.compare, self.projection, self.weight = compare, projection, weight

    def forward(self, student: Outputs, teacher: Outputs, mask: torch.Tensor | None) -> torch.Tensor:
        """The loss of a batch, a scalar."""
        if self.projection is not None:
            student = tuple(self.projection(output) for output in student)
        return self.compare(student, teacher, mask)


class Matching(Objective):
    """A task loss and terms on layers.

    Args:
        teacher: The frozen teacher.
        terms: What is compared.
        alpha: Share of the teacher's logits in the task, (1 - alpha) CE + alpha T^2 KL; None for no task at all.
        temperature: T.
        ratio: Size of a term's gradient as a share of the task's, where its weight is to be found.

    Raises:
        UsageError: A weight is to be found, but there is no task to weigh by.
    """

    def __init__(
        self,
        teacher: Frozen,
        terms: Sequence[Term],
        *,
        alpha: float | None = 0.0,
        temperature: float = 1.0,
        ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if alpha is None and any(term.weight is None for term in terms):
            raise UsageError("there is no task to weigh the terms by", remedy="give every term its weight")
        self.teacher, self.compared = teacher, nn.ModuleList(terms)
        self.alpha, self.temperature, self.ratio = alpha, temperature, ratio
        self.weights: torch.Tensor
        self.register_buffer(
            "weights", torch.tensor([math.nan if term.weight is None else term.weight for term in terms])
        )

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The task and the weighted terms."""
        answers, told, values = self._run(model, trimmed(batch))
        if self.alpha is None:
            return (self.weights * values).sum()
        task = self._task(answers, told, batch.labels)
        if torch.is_grad_enabled():
            for number in self.weights.isnan().nonzero().flatten().tolist():
                self.weights[number] = balanced(task, values[number], model.parameters(), ratio=self.ratio)
        return task + (self.weights * values).sum()

    def figures(self) -> dict[str, float]:
        """The weight of every term."""
        return {f"weight_{term.name}": weight for term, weight in zip(self.terms, self.weights.tolist(), strict=True)}

    def check(self, model: nn.Module, batch: Batch) -> None:
        """The layers exist and go together; every comparison is 0 between a teacher and itself, and blind to padding.

        Raises:
            UnknownNameError: There is no such layer.
            UsageError: They do not go together.
        """
        batch = trimmed(batch)
        if self.alpha:
            check_same_classes(self.teacher, model, batch)
        with torch.no_grad():
            self._run(model, batch)
            mask = mask_of(batch)
            with tapped(self.teacher.module, self._names("teacher")) as known:
                logits(self.teacher, batch.names, batch.inputs)
            for term in self.terms:
                outputs = _of(known, term.teacher)
                value = term.compare(outputs, outputs, mask).item()
                if abs(value) > _ZERO:
                    raise UsageError(f"the loss between the teacher and itself is {value:.3g}", where=term.name)
                if mask is not None:
                    altered = tuple(torch.where(mask.bool()[:, :, None], output, 0.0) for output in outputs)
                    if abs(term.compare(altered, outputs, mask).item()) > _ZERO:
                        raise UsageError("the loss looks at padding", where=term.name)

    @property
    def terms(self) -> list[Term]:
        """The comparisons, in the order of `weights`."""
        return [term for term in self.compared if isinstance(term, Term)]

    def _run(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of student and teacher, and the value of every term."""
        with tapped(model, self._names("student")) as seen:
            answers = logits(model, batch.names, batch.inputs)
        with tapped(self.teacher.module, self._names("teacher")) as known:
            told = logits(self.teacher, batch.names, batch.inputs)
        mask = mask_of(batch)
        values = [term(_of(seen, term.student), _of(known, term.teacher), mask) for term in self.terms]
        return answers, told, torch.stack(values)

    def _task(self, answers: torch.Tensor, told: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if not self.alpha:
            return cross_entropy(answers, labels)
        return hinton(answers, told, labels, temperature=self.temperature, alpha=self.alpha)

    def _names(self, side: str) -> list[str]:
        return [name for term in self.terms for name in getattr(term, side)]


def trimmed(batch: Batch) -> Batch:
    """The batch without the columns that are padding in every sample, so that both nets see the same tokens.

    A network may drop them itself when it trains; its teacher, in eval mode, would not, and the layers would not match.
    """
    mask = mask_of(batch)
    if mask is None:
        return batch
    longest = int(mask.any(0).nonzero().max()) + 1
    inputs = tuple(tensor[:, :longest] if tensor.shape[:2] == mask.shape else tensor for tensor in batch.inputs)
    labels = batch.labels[:, :longest] if batch.labels.shape == mask.shape else batch.labels
    return replace(batch, inputs=inputs, labels=labels)


def mask_of(batch: Batch) -> torch.Tensor | None:
    """The mask of real tokens, [batch, tokens], where the network takes one."""
    return batch.inputs[batch.names.index(_MASK)] if _MASK in batch.names else None


def _of(taps: dict[str, torch.Tensor], names: Sequence[str]) -> Outputs:
    return tuple(taps[name] for name in names)
