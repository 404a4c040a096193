"""student against a discriminator of logits: CE + w_l1 |z_s - z_t|_1 + w_adv (pass for the teacher, keep the class).

The discriminator is trained in the same backward pass: the student's loss goes through a copy of it without parameters
to train, its own loss through the student's detached logits. It learns slowly: a quick one costs the student
several points (docs/methods/distillation.md).

Source: Xu, Hsu, Huang 2017, arXiv:1709.00513 (a discriminator of three layers on logits).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from deploycompress.training.batches import Batch
from deploycompress.training.frozen import Frozen
from deploycompress.training.losses import cross_entropy
from deploycompress.training.losses.adversarial import discriminating, passing
from deploycompress.training.network import logits
from deploycompress.training.objective import Objective
from deploycompress.training.offline import check_same_classes, told


class Gan(Objective):
    """Cross-entropy, the distance of the logits, and a discriminator.

    Args:
        teacher: The frozen teacher.
        classes: Number of classes.
        distance: Weight of the mean |z_s - z_t|.
        adversarial: Weight of passing for the teacher; 0 leaves the discriminator out.
        width: Of the two hidden layers of the discriminator.
        rate: Learning rate of the discriminator as a share of the student's.
    """

    takes_cached_logits = True

    def __init__(
        self,
        teacher: Frozen,
        classes: int,
        *,
        distance: float = 1.0,
        adversarial: float = 0.1,
        width: int = 128,
        rate: float = 0.02,
    ) -> None:
        super().__init__()
        self.teacher, self.distance, self.adversarial, self.lr_factor = teacher, distance, adversarial, rate
        self.discriminator = nn.Sequential(
            nn.Linear(classes, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 1 + classes),
        )

    def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
        """The losses of student and discriminator in one sum; neither moves the other's weights."""
        student, teacher = logits(model, batch.names, batch.inputs).float(), told(self.teacher, batch).float()
        loss = cross_entropy(student, batch.labels) + self.distance * functional.l1_loss(student, teacher)
        if not self.adversarial:
            return loss
        held = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        judged = functional_call(self.discriminator, held, (student,))
        own = discriminating(self.discriminator(teacher), self.discriminator(student.detach()), batch.labels)
        return loss + self.adversarial * passing(judged, batch.labels) + own

    def check(self, model: nn.Module, batch: Batch) -> None:
        """The same classes on both sides."""
        check_same_classes(self.teacher, model, batch)
