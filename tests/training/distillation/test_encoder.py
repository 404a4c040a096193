"""The encoder inside a network is found by its submodules; layers are spread evenly."""

from __future__ import annotations

import pytest
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.training.distillation.encoder import encoder_of, spread
from tests.training.distillation.nets import Encoder, SelfAttention, convolutional


def test_parts_are_named_as_the_network_has_them() -> None:
    encoder = encoder_of(Encoder(layers=3, width=8, heads=4))
    assert encoder.embeddings == "embeddings"
    assert encoder.layers == ("encoder.layer.0", "encoder.layer.1", "encoder.layer.2")
    assert encoder.queries[2] == "encoder.layer.2.attention.self.query"
    assert encoder.keys[0] == "encoder.layer.0.attention.self.key"
    assert encoder.values[1] == "encoder.layer.1.attention.self.value"
    assert (encoder.heads, encoder.width) == (4, 8)


def test_more_than_nine_layers_stay_in_order() -> None:
    assert encoder_of(Encoder(layers=11)).layers[2] == "encoder.layer.2"


def test_encoder_below_a_prefix_is_found() -> None:
    encoder = encoder_of(nn.ModuleDict({"backbone": Encoder()}))
    assert encoder.embeddings == "backbone.embeddings"
    assert encoder.layers[0] == "backbone.encoder.layer.0"


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
def test_encoders_of_transformers_are_found(family: str) -> None:
    transformers = pytest.importorskip("transformers")
    small = {
        "Bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 16},
        "DistilBert": {"dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 16},
    }[family]
    config = getattr(transformers, f"{family}Config")(vocab_size=30, max_position_embeddings=8, **small)
    module = getattr(transformers, f"{family}ForSequenceClassification")(config)
    encoder, names = encoder_of(module), dict(module.named_modules())
    assert (encoder.heads, encoder.width, len(encoder.layers)) == (4, 16, 2)
    assert {*encoder.states, *encoder.queries, *encoder.keys, *encoder.values} <= names.keys()


def test_network_without_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match=r"Sequential: no encoder is found in it; .*attention.self.query"):
        encoder_of(convolutional())


def test_two_encoders_are_refused() -> None:
    with pytest.raises(UsageError, match=r"it has the stacks a.encoder.layer, b.encoder.layer; one is expected"):
        encoder_of(nn.ModuleDict({"a": Encoder(), "b": Encoder()}))


def test_unstated_number_of_heads_is_refused() -> None:
    module = Encoder()
    for inner in module.modules():
        if isinstance(inner, SelfAttention):
            del inner.num_attention_heads
    with pytest.raises(UsageError, match="SelfAttention does not say how many heads it has"):
        encoder_of(module)


def test_layers_are_spread_evenly_and_end_with_the_last() -> None:
    assert spread(4, 12) == (2, 5, 8, 11)
    assert spread(3, 6) == (1, 3, 5)
    assert spread(2, 5) == (1, 4)
    assert spread(3, 3) == (0, 1, 2)


def test_deeper_student_is_refused() -> None:
    with pytest.raises(UsageError, match="the student has 4 layers, the teacher 3"):
        spread(4, 3)
