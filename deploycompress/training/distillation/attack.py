"""images -> images at most epsilon away that the network gets wrong: projected gradient ascent on its cross-entropy.

    x <- clamp(x + step sign(grad_x CE(net(x), y)), x_0 - epsilon, x_0 + epsilon), inside the range of the inputs

Source: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks",
arXiv:1706.06083, section 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch, gather, loader, rows_of
from deploycompress.training.losses import cross_entropy
from deploycompress.training.network import logits


@dataclass(frozen=True)
class Attack:
    """How far, in which steps, from where.

    Attributes:
        epsilon: Largest change of a value, in units of the inputs.
        step: Change in one step.
        steps: Number of steps.
        low: Smallest value an input may have.
        high: Largest.
        random_start: From a random point within epsilon.
    """

    epsilon: float
    step: float
    steps: int = 10
    low: float = 0.0
    high: float = 1.0
    random_start: bool = True


def attacked(model: nn.Module, batch: Batch, attack: Attack) -> Batch:
    """The batch with inputs that `model`, in eval mode meanwhile, gets wrong; its gradients stay untouched.

    Raises:
        UsageError: The network takes several inputs, or one that is not floating.
    """
    if len(batch.inputs) != 1 or not batch.inputs[0].is_floating_point():
        raise UsageError("only networks with one floating input can be attacked", where=type(model).__name__)
    clean, was_training = batch.inputs[0].detach(), model.training
    low, high = (clean - attack.epsilon).clamp(min=attack.low), (clean + attack.epsilon).clamp(max=attack.high)
    inputs = clean
    if attack.random_start:
        inputs = torch.clamp(clean + attack.epsilon * (2 * torch.rand_like(clean) - 1), low, high)
    model.eval()
    with torch.enable_grad():
        for _ in range(attack.steps):
            inputs = inputs.detach().requires_grad_()
            loss = cross_entropy(logits(model, batch.names, (inputs,)), batch.labels)
            (gradient,) = torch.autograd.grad(loss, inputs)
            inputs = torch.clamp(inputs.detach() + attack.step * gradient.sign(), low, high)
    model.train(was_training)
    return replace(batch, inputs=(inputs.detach(),))


def robust_accuracy(model: nn.Module, data: Arrays, attack: Attack, batch_size: int = 256) -> float:
    """Share of samples that `model` still gets right under attack."""
    right = 0
    for tensors in loader(rows_of(data), batch_size, None):
        batch = attacked(model, gather(data.names, tensors), attack)
        with torch.no_grad():
            right += int((logits(model, batch.names, batch.inputs).argmax(-1) == batch.labels).sum())
    return right / len(data)
