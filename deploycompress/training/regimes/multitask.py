"""one teacher per task -> one student: sum over tasks of lambda CE(y, z) + (1 - lambda) T^2 KL(teacher || student).

At T = 1 its gradient is that of BAM's CE(lambda y + (1 - lambda) f_task(x), f(x)). Teacher annealing takes lambda from
0 to 1: it hands over from the teachers to the labels. A sample without a label for a task carries `IGNORED` there and
does not count in it.
Source: Clark et al. 2019, "BAM! Born-Again Multi-Task Networks", arXiv:1907.04829, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import IGNORED, cross_entropy, soft_targets
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective

SHARE_EXPONENT = 0.75
"""Tasks are drawn in proportion to |D|^0.75, so that a large one does not drown the others."""


class MultiTask(Objective):
    """Labels [batch, tasks] and one output per task, in the same order as the teachers.

    Args:
        teachers: One per task; none for plain multi-task training.
        anneal: Hand over to the labels over the run; otherwise lambda stays at `share`.
        share: lambda where it is not annealed; 1 is plain multi-task training.
        temperature: T > 0; 1 in the paper.
    """

    skips_parameters = True  # a batch may hold no label of a task

    def __init__(
        self, teachers: Sequence[Frozen], *, anneal: bool = True, share: float = 0.5, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.teachers, self.anneal = nn.ModuleList(teachers), anneal
        self.share, self.temperature = share, temperature

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The sum over tasks, each a mean over the samples that have its label."""
        outputs = answers(model, batch)
        if batch.labels.ndim != 2 or batch.labels.shape[1] != len(outputs):
            raise UsageError(f"labels are {tuple(batch.labels.shape)} for a network of {len(outputs)} tasks")
        if len(self.teachers) not in (0, len(outputs)):
            raise UsageError(f"{len(self.teachers)} teachers for a network of {len(outputs)} tasks")
        terms = []
        for task, output in enumerate(outputs):
            labels = batch.labels[:, task]
            valid = labels != IGNORED
            if valid.any():
                terms.append(self._term(task, output[valid], labels[valid], valid, batch))
        return torch.stack(terms).sum()

    def _term(
        self, task: int, output: torch.Tensor, labels: torch.Tensor, valid: torch.Tensor, batch: Batch
    ) -> torch.Tensor:
        hard = cross_entropy(output, labels)
        if not len(self.teachers):
            return hard
        teacher = logits(self.teachers[task], batch.names, batch.inputs)[valid]
        return self.share * hard + (1 - self.share) * soft_targets(output, teacher, self.temperature)

    def before_update(self, model: nn.Module, update: int, updates: int) -> None:
        """Lambda = update / (updates - 1)."""
        if self.anneal:
            self.share = update / max(updates - 1, 1)


def answers(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, ...]:
    """The outputs of a network of several tasks.

    Raises:
        UsageError: It does not return a tuple of tensors.
    """
    given: Any = model(**dict(zip(batch.names, batch.inputs, strict=True))) if batch.names else model(*batch.inputs)
    if not isinstance(given, tuple | list) or not all(isinstance(one, torch.Tensor) for one in given):
        raise UsageError(f"{type(model).__name__} returns a {type(given).__name__}", remedy="return a tuple of logits")
    return tuple(given)


def mixed(tasks: Sequence[Arrays], count: int, generator: torch.Generator) -> Arrays:
    """`count` samples of several data sets, each sample labelled for its own task.

    Args:
        tasks: One data set per task, with the same inputs.
        count: Samples to draw, with replacement.
        generator: Draws the tasks in proportion to |D|^0.75 and the samples of a task evenly.
    """
    sizes = torch.tensor([float(len(task)) for task in tasks])
    chosen = torch.multinomial(sizes**SHARE_EXPONENT, count, replacement=True, generator=generator)
    labels = torch.full((count, len(tasks)), IGNORED)
    parts = [torch.nonzero(chosen == number).flatten() for number in range(len(tasks))]
    rows = [
        torch.randint(len(task), (len(part),), generator=generator) for task, part in zip(tasks, parts, strict=True)
    ]
    for number, (task, part, row) in enumerate(zip(tasks, parts, rows, strict=True)):
        labels[part, number] = task.labels[row]
    order = torch.cat(parts).argsort()
    inputs = tuple(
        torch.cat([task.inputs[place][row] for task, row in zip(tasks, rows, strict=True)])[order]
        for place in range(len(tasks[0].inputs))
    )
    return Arrays(tasks[0].names, inputs, labels, fingerprint=" ".join(task.fingerprint for task in tasks))
