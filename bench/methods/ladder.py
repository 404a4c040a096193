"""What a backward pass keeps (LST-1): full fine-tuning, LoRA r = 8 on queries and values, a ladder; counted.

6 layers of width 384, 12 heads, 1536 neurons, random weights; 16 sequences of 32 tokens. Every storage that autograd
saves counts once, those of parameters do not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import transformers
from torch import nn

from bench.methods.check import Check, Figures
from deploycompress.training.ladder.building import ladder


def encoder() -> nn.Module:
    """MiniLM-L6's shape."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, vocab_size=1000
    )
    return transformers.BertModel(config, add_pooling_layer=False)


class Classifier(nn.Module):
    """Mean of the hidden states, one linear layer."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(384, 2)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """[batch, tokens] twice -> [batch, 2]."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return self.head(hidden.mean(dim=1))


class Lora(nn.Module):
    """W x + B A x with W frozen. Source: Hu et al. 2021, arXiv:2106.09685, section 4.1."""

    def __init__(self, linear: nn.Linear, rank: int) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.a, self.b = nn.Linear(linear.in_features, rank, bias=False), nn.Linear(rank, linear.out_features, False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., in] -> [..., out]."""
        return self.linear(x) + self.b(self.a(x))


def lora(rank: int = 8) -> nn.Module:
    """The classifier with low-rank updates of queries and values; all else but the head is frozen."""
    net = Classifier(encoder())
    net.backbone.requires_grad_(False)
    for layer in net.backbone.encoder.layer:
        own = layer.attention.self
        own.query, own.value = Lora(own.query, rank), Lora(own.value, rank)
    return net


def saved_mib(net: nn.Module) -> float:
    """MiB that a forward pass in training mode keeps for its backward pass."""
    ids = torch.randint(0, 1000, (16, 32), generator=torch.Generator().manual_seed(1))
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage  # held, so that no other tensor gets its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = net.train()(ids, torch.ones_like(ids)).square().sum()
    total = sum(storage.nbytes() for storage in kept.values()) / 2**20
    loss.backward()
    return total


def lst_1(seed: int) -> Figures:
    """The same for every seed: shapes decide."""
    ways: dict[str, Callable[[], nn.Module]] = {"full": lambda: Classifier(encoder()), "LoRA r=8": lora}
    for r in (4, 8, 16):
        ways[f"LST r={r}"] = lambda r=r: ladder(encoder(), reduction=r)  # type: ignore[misc]
    return {f"{name}, MiB": saved_mib(make()) for name, make in ways.items()}


CHECKS = (
    Check(
        "LST-1",
        (1000,),
        lst_1,
        lambda mean: (
            mean["LST r=8, MiB"] <= 0.35 * mean["full, MiB"] and mean["LST r=8, MiB"] <= 0.5 * mean["LoRA r=8, MiB"]
        ),
        "memory for backward: a ladder with r = 8 keeps at most 35 % of full fine-tuning and 50 % of LoRA",
        fast=True,
    ),
)
