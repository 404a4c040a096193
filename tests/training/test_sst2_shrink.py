"""What is cut out of an encoder is what contributed least; nothing cut is nothing changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("transformers")
from transformers import BertConfig, BertModel

from deploycompress.records.reference import resolve

shrunk = resolve("models/sst2_minilm/shrink.py:shrunk", base=Path(__file__).resolve().parents[2])
VOCABULARY, WIDTH, RANK = 60, 32, 8
IDS = torch.randint(1, VOCABULARY, (6, 9), generator=torch.Generator().manual_seed(0))
MASK = (torch.arange(9) < torch.tensor([9, 7, 9, 4, 5, 9])[:, None]).long()
FREQUENCIES = torch.bincount(IDS[MASK > 0], minlength=VOCABULARY)
WHOLE = {"layers": range(3), "heads": 4, "neurons": 48, "rank": WIDTH}


@pytest.fixture
def encoder() -> nn.Module:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        initializer_range=0.2,
    )
    return BertModel(config, add_pooling_layer=False).eval()


def states(encoder: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        hidden: torch.Tensor = encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state
    return hidden[MASK > 0]


def cut(encoder: nn.Module, **sizes: object) -> nn.Module:
    small: nn.Module = shrunk(encoder, IDS, MASK, FREQUENCIES, **{**WHOLE, **sizes}).eval()
    return small


def test_everything_kept_changes_nothing(encoder: nn.Module) -> None:
    # An orthogonal basis and back: float32 sums of 32 numbers near 1.
    torch.testing.assert_close(states(cut(encoder)), states(encoder), rtol=0, atol=2e-5)


def test_heads_and_neurons_without_effect_go_first(encoder: nn.Module) -> None:
    with torch.no_grad():
        for number, layer in enumerate(encoder.encoder.layer):
            head = (number + 1) % 4
            layer.attention.output.dense.weight[:, 8 * head : 8 * head + 8] = 0
            layer.output.dense.weight[:, number::3] = 0
    small = cut(encoder, heads=3, neurons=32)
    assert small.encoder.layer[0].attention.self.query.out_features == 24
    assert small.encoder.layer[0].intermediate.dense.out_features == 32
    torch.testing.assert_close(states(small), states(encoder), rtol=0, atol=2e-5)


def test_word_table_of_low_rank_is_kept_whole(encoder: nn.Module) -> None:
    table = encoder.embeddings.word_embeddings.weight
    with torch.no_grad():
        table.copy_(torch.randn(VOCABULARY, RANK) @ torch.randn(RANK, WIDTH))
    small = cut(encoder, rank=RANK)
    assert small.embeddings.word_embeddings[0].weight.shape == (VOCABULARY, RANK)
    torch.testing.assert_close(states(small), states(encoder), rtol=0, atol=5e-5)


def test_frequent_words_keep_more_of_themselves(encoder: nn.Module) -> None:
    table = encoder.embeddings.word_embeddings.weight.detach()
    words, back = cut(encoder, rank=RANK).embeddings.word_embeddings
    error = (back(words.weight) - table).square().sum(dim=1)
    often = FREQUENCIES.float().quantile(0.8) < FREQUENCIES
    assert error[often].mean() < 0.9 * error[FREQUENCIES == 0].mean()


def test_named_layers_stay_and_the_encoder_is_left_alone(encoder: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    small = cut(encoder, layers=(0, 2))
    assert len(small.encoder.layer) == small.config.num_hidden_layers == 2
    assert torch.equal(small.encoder.layer[1].output.LayerNorm.weight, encoder.encoder.layer[2].output.LayerNorm.weight)
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())
