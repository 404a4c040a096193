"""BERT-like encoder -> the ladder beside it: which layers it reads, how thin it is, how its blocks begin.

Source: Sung, Cho, Bansal, LST, NeurIPS 2022 (arXiv:2206.06522), sections 3.2 to 3.4 (r = 8; every layer but some).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from deploycompress.errors import UsageError
from deploycompress.training.ladder.side import Fuse, Ladder, Side, SideBlock, Taps
from deploycompress.training.ladder.slicing import cut, residual_dims


def ladder(
    encoder: Any,  # noqa: ANN401 - a Transformers encoder, of one of many classes
    *,
    reduction: int = 8,
    keep: Sequence[int] | None = None,
    classes: int = 2,
    importance: Mapping[str, torch.Tensor] | None = None,
    fuse: Fuse = "gate",
    merge_last: bool = False,
) -> Ladder:
    """A ladder beside a Transformers encoder of BERT's form (`embeddings`, `encoder.layer`, `config`).

    Args:
        encoder: Frozen from now on.
        reduction: r: the side is so many times thinner.
        keep: Layers with a rung; all by default.
        classes: Outputs.
        importance: `slicing.fisher` over `slicing.matrices`: blocks are cut out of the layers; random without it.
        fuse: Gates, or a plain sum.
        merge_last: Whether the last hidden state of the encoder is added to the result.

    Raises:
        UsageError: The encoder cannot be divided by `reduction`.
    """
    config = encoder.config
    layers = encoder.encoder.layer
    kept = tuple(range(len(layers))) if keep is None else tuple(keep)
    heads, width, inner = config.num_attention_heads, config.hidden_size // reduction, config.intermediate_size
    if width % heads or inner % reduction:
        raise UsageError(
            f"{config.hidden_size} dims in {heads} heads and {inner} neurons cannot be divided by {reduction}",
            remedy="choose another reduction",
        )
    if importance is None:
        blocks = [SideBlock(width, heads, inner // reduction) for _ in kept]
    else:
        given = importance
        dims = residual_dims(given["embeddings.word_embeddings.weight"], width)
        blocks = [
            cut(layers[n], lambda name, n=n: given[f"encoder.layer.{n}.{name}"], dims, heads, reduction)  # type: ignore[misc]
            for n in kept
        ]
    side = Side(config.hidden_size, width, blocks, classes, fuse=fuse, merge_last=merge_last)
    return Ladder(Taps(encoder, ("embeddings", *(f"encoder.layer.{n}" for n in kept))), side)
