"""activations -> neurons that are hardly ever on: APoZ_c = share of zeros behind the ReLU of unit c, over all samples.

    trim the units with APoZ > mean + std of their layer, train what is left on from its weights, and again

A HIGH share of zeros means unimportant. A unit with APoZ = 1 never speaks: without it the outputs are the same.

Source: Hu, Peng, Tai, Tang 2016, Network Trimming (arXiv:1607.03250), equation 1 and section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import gather, loader, rows_of
from deploycompress.training.features import tapped
from deploycompress.training.network import logits


@torch.no_grad()
def apoz(model: nn.Module, names: Sequence[str], data: Arrays, batch_size: int = 256) -> dict[str, torch.Tensor]:
    """Share of zeros [units] of what a ReLU behind each named module gives, in eval mode.

    Args:
        model: The network.
        names: Modules whose outputs go through a ReLU: [batch, units, ...] of convolutions, else [..., units].
        data: Samples; the labels are not looked at.
        batch_size: Samples at a time.

    Raises:
        UnknownNameError: There is no such module.
    """
    training = model.training
    model.eval()
    zeros = dict.fromkeys(names, torch.zeros(()))
    counts = dict.fromkeys(names, 0)
    with tapped(model, names) as taps:
        for tensors in loader(rows_of(data), batch_size, None):
            batch = gather(data.names, tensors)
            logits(model, batch.names, batch.inputs)
            for name in names:
                out = taps[name]
                rows = out.movedim(1, -1).flatten(0, -2) if out.ndim == 4 else out.flatten(0, -2)
                zeros[name] = zeros[name] + (rows <= 0).sum(dim=0)
                counts[name] += len(rows)
    model.train(training)
    return {name: zeros[name] / counts[name] for name in names}


def units_to_trim(shares: torch.Tensor) -> list[int]:
    """The units with APoZ above mean + one standard deviation of the layer; never all of them."""
    limit = shares.mean() + shares.std(correction=0)
    chosen: list[int] = torch.nonzero(shares > limit).flatten().tolist()
    return chosen
