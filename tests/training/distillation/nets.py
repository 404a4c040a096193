"""A small encoder with BERT's names, a small convolutional net, and batches for them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch


class SelfAttention(nn.Module):
    """Queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_attention_heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        q, k, v = (
            layer(x).view(batch, tokens, self.num_attention_heads, -1).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask.bool()[:, None, None])
        return seen.transpose(1, 2).reshape(batch, tokens, width)


class Layer(nn.Module):
    """Attention and a feed-forward part, each with a residual and a normalisation."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict({"self": SelfAttention(width, heads)})
        self.forward_part = nn.Linear(width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor]:
        x = self.first(x + self.attention["self"](x, mask))
        return (self.second(x + torch.relu(self.forward_part(x))),)


class Encoder(nn.Module):
    """Embeddings, layers, a head on the first token; in training mode it drops columns of padding, as real ones may."""

    def __init__(self, layers: int = 2, width: int = 8, heads: int = 2, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embeddings = nn.Sequential(nn.Embedding(20, width), nn.LayerNorm(width))
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(width, heads) for _ in range(layers))})
        self.head = nn.Linear(width, 3)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        if self.training:
            longest = int(attention_mask.sum(1).max())
            input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
        x = self.embeddings(input_ids)
        for layer in self.encoder["layer"]:
            (x,) = layer(x, attention_mask)
        return self.head(x[:, 0])


def convolutional(channels: int = 4, seed: int = 0) -> nn.Sequential:
    """Feature maps "1" of 8x8 and "3" of 4x4, three classes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 3, 2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(channels * 16, 3),
    )


def sentences(count: int = 12, tokens: int = 6, seed: int = 0) -> Arrays:
    """Token ids, a mask with at least one column of padding in all rows, labels."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(20, (count, tokens), generator=generator)
    lengths = torch.randint(2, tokens, (count, 1), generator=generator)
    mask = (torch.arange(tokens) < lengths).long()
    return Arrays(("input_ids", "attention_mask"), (ids, mask), ids[:, 0] % 3, fingerprint=str(seed))


def images(count: int = 12, seed: int = 0) -> Arrays:
    """8x8 images in 0..1 whose label is their brightest third of rows."""
    pixels = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
    labels = torch.stack([pixels[:, 0, 3 * row : 3 * row + 2].mean((1, 2)) for row in range(3)], 1).argmax(1)
    return Arrays((), (pixels,), labels, fingerprint=str(seed))


def whole(data: Arrays) -> Batch:
    """All samples in one batch."""
    return Batch(data.names, data.inputs, data.labels, torch.arange(len(data)))


def deep_encoder() -> Encoder:
    """A teacher of four layers."""
    return Encoder(layers=4, seed=1)


def narrow_encoder() -> Encoder:
    """A student of half the width."""
    return Encoder(width=4)


def narrow_convolutional() -> nn.Sequential:
    """A student of three channels."""
    return convolutional(3)


def image_data() -> dict[str, np.ndarray]:
    """`images` as a recipe takes them."""
    data = images()
    return {"input": data.inputs[0].numpy(), "label": data.labels.numpy()}


def sentence_data() -> dict[str, np.ndarray]:
    """`sentences` as a recipe takes them."""
    data = sentences()
    return {**{n: t.numpy() for n, t in zip(data.names, data.inputs, strict=True)}, "label": data.labels.numpy()}
