"""scores of several layers, sparsity -> masks (True stays), with the exact number of zeros asked for.

    uniform   every layer loses the same share
    global    one threshold over all layers: what scores least anywhere goes
    shares    each layer its own (from a sensitivity scan)

No layer is emptied: its best weight stays.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from deploycompress.errors import UsageError

Tensors = Mapping[str, torch.Tensor]
Masks = dict[str, torch.Tensor]


def keep_best(scores: torch.Tensor, count: int) -> torch.Tensor:
    """The mask of the `count` highest scores (at least one); ties go to the earlier weight."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    mask[scores.flatten().sort(descending=True, stable=True).indices[: max(1, count)]] = True
    return mask.reshape(scores.shape)


def uniform(scores: Tensors, sparsity: float) -> Masks:
    """Masks that leave round((1 - sparsity) n) weights of every layer of n."""
    return by_share(scores, dict.fromkeys(scores, sparsity))


def by_share(scores: Tensors, sparsities: Mapping[str, float]) -> Masks:
    """Masks with a sparsity of its own for each layer."""
    return {name: keep_best(score, round((1 - sparsities[name]) * score.numel())) for name, score in scores.items()}


def global_(scores: Tensors, sparsity: float) -> Masks:
    """Masks that leave round((1 - sparsity) n) of all n weights, those with the highest scores anywhere.

    Raises:
        UsageError: There are fewer weights to leave than layers.
    """
    total = sum(score.numel() for score in scores.values())
    count = round((1 - sparsity) * total)
    if count < len(scores):
        raise UsageError(
            f"a sparsity of {sparsity:g} leaves {count} weights to {len(scores)} layers", remedy="prune less"
        )
    raised = []  # the best of each layer ahead of all others, so that none is emptied
    for score in scores.values():
        flat = score.flatten().double().clone()
        flat[flat.argmax()] = torch.inf
        raised.append(flat)
    kept = keep_best(torch.cat(raised), count)
    parts = kept.split([flat.numel() for flat in raised])  # type: ignore[no-untyped-call]
    return {name: part.reshape(scores[name].shape) for name, part in zip(scores, parts, strict=True)}


def sparsity_of(masks: Tensors) -> float:
    """Share of zeros over all masks."""
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
