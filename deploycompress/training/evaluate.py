"""module, labelled samples -> cross-entropy and accuracy."""

from __future__ import annotations

import torch

from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import gather, loader, rows_of
from deploycompress.training.losses import IGNORED, cross_entropy
from deploycompress.training.network import logits


@torch.inference_mode()
def evaluate(
    model: torch.nn.Module, data: Arrays, batch_size: int, device: torch.device | None = None
) -> tuple[float, float]:
    """Cross-entropy and accuracy (share of 1) of `model` in eval mode, over the labels that count."""
    was_training = model.training
    model.eval()
    loss = right = count = 0.0
    for tensors in loader(rows_of(data), batch_size, None):
        batch = gather(data.names, tensors, device)
        outputs, valid = logits(model, batch.names, batch.inputs), batch.labels != IGNORED
        positions = int(valid.sum())
        loss += cross_entropy(outputs, batch.labels).item() * positions
        right += int((outputs.argmax(dim=-1) == batch.labels)[valid].sum())
        count += positions
    model.train(was_training)
    return loss / count, right / count
