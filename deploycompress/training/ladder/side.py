"""hidden states of a frozen encoder -> logits, through a thin network beside it; no gradient enters the encoder.

    h = D_0(embeddings)
    h = block_i(mu_i h + (1 - mu_i) D_i(h_b^i))  for each rung i,  mu_i = sigmoid(alpha_i / T)
    logits = head(pool(U(norm(h))))

Memory for the backward pass is that of the thin network alone. Nothing gets smaller or faster: this tunes, it does not
compress. `fuse="add"` is h + D_i(h_b^i) without gates.

Source: Sung, Cho, Bansal, LST, NeurIPS 2022 (arXiv:2206.06522), section 3.2 (T = 0.1, alpha = 0 at first); the sum
without gates: the variant of J. Su, "LST-CLUE".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Self

import torch
from torch import nn
from torch.nn import functional

from deploycompress.training.features import tapped

Fuse = Literal["gate", "add"]


class Taps(nn.Module):
    """A frozen encoder that answers with the hidden states of some of its modules."""

    def __init__(self, backbone: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.backbone, self.names = backbone.eval().requires_grad_(False), tuple(names)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Token numbers and mask [batch, tokens] -> the outputs of `names`, without a graph."""
        with torch.no_grad(), tapped(self.backbone, self.names) as states:
            self.backbone(input_ids=input_ids, attention_mask=attention_mask)
        return tuple(states[name].detach() for name in self.names)

    def train(self, mode: bool = True) -> Self:
        """Does nothing: the encoder does not drop out."""
        return self


class SideBlock(nn.Module):
    """A Transformer encoder layer, normalised behind each sum as BERT's."""

    def __init__(self, width: int, heads: int, inner: int, *, attention: int | None = None) -> None:
        super().__init__()
        attention = attention or width
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, attention) for _ in range(3))
        self.output, self.attention_norm = nn.Linear(attention, width), nn.LayerNorm(width, eps=1e-12)
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """[batch, tokens, width], True for real tokens [batch, tokens] -> [batch, tokens, width]."""
        batch, tokens, _ = x.shape
        q, k, v = (
            linear(x).view(batch, tokens, self.heads, -1).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = self.attention_norm(x + self.output(mixed.transpose(1, 2).reshape(batch, tokens, -1)))
        output: torch.Tensor = self.norm(x + self.down(functional.gelu(self.up(x))))
        return output


class Side(nn.Module):
    """The thin network: hidden states of the embeddings and of each rung -> logits."""

    def __init__(
        self,
        backbone_width: int,
        width: int,
        blocks: Sequence[SideBlock],
        classes: int,
        *,
        fuse: Fuse = "gate",
        temperature: float = 0.1,
        dropout: float = 0.1,
        merge_last: bool = False,
    ) -> None:
        super().__init__()
        self.fuse, self.temperature, self.merge_last = fuse, temperature, merge_last
        self.blocks = nn.ModuleList(blocks)
        self.down = nn.ModuleList(nn.Linear(backbone_width, width) for _ in range(len(blocks) + 1))
        self.alpha = nn.Parameter(torch.zeros(len(blocks)))
        self.norm, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)
        self.up, self.head = nn.Linear(width, backbone_width), nn.Linear(backbone_width, classes)

    def gates(self) -> torch.Tensor:
        """Mu [rungs]: how much of the side's own state each rung keeps."""
        return torch.sigmoid(self.alpha / self.temperature)

    def forward(self, mask: torch.Tensor, *states: torch.Tensor) -> torch.Tensor:
        """Mask [batch, tokens] (0 for padding), states [batch, tokens, d] -> logits [batch, classes]."""
        real = mask > 0
        hidden, mu = self.down[0](self.drop(states[0])), self.gates()
        for rung, (block, state) in enumerate(zip(self.blocks, states[1:], strict=True)):
            lent = self.down[rung + 1](state)
            hidden = hidden + lent if self.fuse == "add" else mu[rung] * hidden + (1 - mu[rung]) * lent
            hidden = block(hidden, real)
        raised = self.up(self.drop(self.norm(hidden)))
        if self.merge_last:
            raised = raised + states[-1]
        weights = real[:, :, None].to(raised.dtype)
        logits: torch.Tensor = self.head((raised * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1.0))
        return logits


class Ladder(nn.Module):
    """Encoder and side network as one: what is trained, and the merged graph; `taps` and `side` are the split ones."""

    def __init__(self, taps: Taps, side: Side) -> None:
        super().__init__()
        self.taps, self.side = taps, side

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token numbers and mask [batch, tokens] -> logits [batch, classes]."""
        states = self.taps(input_ids, attention_mask)
        logits: torch.Tensor = self.side(attention_mask, *states)
        return logits
