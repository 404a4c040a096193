"""model, objective -> their optimizer: one rate for the model, a share of it for what the objective brings along.

Weight decay acts on matrices and kernels, not on biases, normalisation and step sizes (vectors and scalars).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.objective import Trainee


def optimizer(trainee: Trainee, hyper: Hyperparameters) -> torch.optim.Optimizer:
    """The optimizer of everything in `trainee` that requires a gradient."""
    model = [parameter for parameter in trainee.model.parameters() if parameter.requires_grad]
    shared = {id(parameter) for parameter in model}
    own = [p for p in trainee.objective.parameters() if p.requires_grad and id(p) not in shared]
    groups = [*_groups(model, hyper, 1.0), *(_groups(own, hyper, trainee.objective.lr_factor) if own else ())]
    if hyper.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=hyper.lr, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if hyper.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=hyper.lr)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Sets the model's learning rate, and every group's share of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def _groups(parameters: Iterable[nn.Parameter], hyper: Hyperparameters, lr_factor: float) -> list[dict[str, Any]]:
    parameters = list(parameters)
    matrices = [p for p in parameters if p.ndim > 1]
    vectors = [p for p in parameters if p.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": hyper.weight_decay, "lr_factor": lr_factor},
        {"params": vectors, "weight_decay": 0.0, "lr_factor": lr_factor},
    ]
