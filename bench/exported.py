"""name, exporter, opset, attention -> ONNX file of a transformer with random weights, exported here and kept.

The architectures are built from their configurations (nothing is downloaded), seeded, and exported with a free batch
and a free sequence. A few channels of every normalization are 10 times larger, as they are in trained encoders: they
are what makes these models hard to quantize. Files lie under build/exported/ and are made once.

Source: transformers 4.57 model classes; outlier channels: Dettmers et al., "LLM.int8()", NeurIPS 2022, section 4.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import transformers as hf
from optimum.exporters.onnx.model_patcher import eager_mask_without_vmap, sdpa_mask_without_vmap
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask

from deploycompress.training import exporters
from deploycompress.training.example import BATCH, Inputs
from deploycompress.training.huggingface import Flat
from deploycompress.training.quiet import quiet

Exporter = Literal["dynamo", "legacy"]
Attention = Literal["eager", "sdpa"]

FOLDER = Path(__file__).resolve().parent.parent / "build" / "exported"
SEQUENCE = "sequence"


@dataclass(frozen=True)
class Size:
    """What sets the size of a transformer."""

    layers: int
    hidden: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    image: int


FULL = Size(layers=6, hidden=384, heads=12, feed_forward=1536, vocabulary=30522, positions=512, image=224)
TINY = Size(layers=2, hidden=32, heads=4, feed_forward=64, vocabulary=50, positions=64, image=16)


def exported(
    name: str,
    exporter: Exporter = "dynamo",
    opset: int = 18,
    attention: Attention = "eager",
    *,
    tiny: bool = False,
    folder: Path = FOLDER,
) -> Path:
    """The file of one export, made where it is absent.

    Args:
        name: One of `NAMES`.
        exporter: Which of torch's exporters.
        opset: Asked of the exporter; a file with another opset is an error.
        attention: Written out (eager) or torch's scaled_dot_product_attention (sdpa).
        tiny: 2 layers of width 32 instead of 6 of width 384.
        folder: Where the files are kept.

    Raises:
        RuntimeError: The exporter cannot write this opset.
    """
    path = folder / f"{name}{'-tiny' if tiny else ''}-{exporter}-{opset}-{attention}.onnx"
    if path.is_file():
        return path
    size = TINY if tiny else FULL
    with quiet(), torch.no_grad(), _traceable_masks() if exporter == "legacy" else contextlib.nullcontext():
        torch.manual_seed(0)
        module = _BUILDERS[name](size, attention).eval()
        _liven(module)
        inputs = _inputs(name, size)
        outputs = [key for key, value in module(**_example(inputs)).items() if isinstance(value, torch.Tensor)]
        written = exporters.export(exporter, Flat(module, inputs.names), inputs, outputs, path, opset)
    if written != opset:
        path.unlink()
        raise RuntimeError(f"{exporter} wrote opset {written} of {name}, not {opset}")
    return path


def feeds(name: str, batch: int, sequence: int, *, tiny: bool = False, seed: int = 0) -> dict[str, np.ndarray]:
    """Inputs of a model; in a batch, every sequence but the first is padded to three quarters, half, a quarter ..."""
    size, rng = TINY if tiny else FULL, np.random.default_rng(seed)
    if name == "vit":
        return {"pixel_values": rng.standard_normal((batch, 3, size.image, size.image)).astype(np.float32)}
    ids = rng.integers(4, size.vocabulary, (batch, sequence))
    lengths = np.maximum(1, sequence - sequence * np.arange(batch) // 4 % sequence)
    mask = (np.arange(sequence) < lengths[:, None]).astype(np.int64)
    made = {"input_ids": np.where(mask == 1, ids, _PAD), "attention_mask": mask}
    return made | ({"token_type_ids": np.zeros_like(ids)} if name.startswith("bert") else {})


_PAD = 1


@contextlib.contextmanager
def _traceable_masks() -> Iterator[None]:
    """Causal masks without vmap, which the tracer cannot follow: what optimum does before it traces."""
    for kind, function in (("sdpa", sdpa_mask_without_vmap), ("eager", eager_mask_without_vmap)):
        ALL_MASK_ATTENTION_FUNCTIONS.register(kind, function)
    try:
        yield
    finally:
        for kind, function in (("sdpa", sdpa_mask), ("eager", eager_mask)):
            ALL_MASK_ATTENTION_FUNCTIONS.register(kind, function)


def _inputs(name: str, size: Size) -> Inputs:
    """An example of batch 2; its mask has a padded row, so that no exporter takes the mask for a constant."""
    drawn = feeds(name, 2, 8, tiny=size is TINY)
    axes = {0: BATCH} if name == "vit" else {0: BATCH, 1: SEQUENCE}
    return Inputs(tuple(drawn), tuple(torch.from_numpy(data) for data in drawn.values()), tuple(axes for _ in drawn))


def _example(inputs: Inputs) -> dict[str, torch.Tensor]:
    return dict(zip(inputs.names, inputs.tensors, strict=True))


def _liven(module: torch.nn.Module) -> None:
    """Random biases and gains, with four gains of every normalization ten times larger: fresh ones are all 0 or 1."""
    for part in module.modules():
        bias, weight = getattr(part, "bias", None), getattr(part, "weight", None)
        if isinstance(bias, torch.nn.Parameter):
            bias.normal_(std=0.1)
        if "Norm" in type(part).__name__ and isinstance(weight, torch.nn.Parameter):
            weight.normal_(mean=1.0, std=0.1)
            weight[:: weight.numel() // 4] *= 10


def _bert(size: Size, attention: Attention) -> torch.nn.Module:
    return hf.BertForSequenceClassification(_bert_config(hf.BertConfig, size, attention))


def _bert_features(size: Size, attention: Attention) -> torch.nn.Module:
    """Last hidden state and pooler output."""
    return hf.BertModel(_bert_config(hf.BertConfig, size, attention))


def _roberta(size: Size, attention: Attention) -> torch.nn.Module:
    return hf.RobertaForSequenceClassification(_bert_config(hf.RobertaConfig, size, attention))


def _bert_config(kind: type[hf.BertConfig], size: Size, attention: Attention) -> hf.BertConfig:
    return kind(
        vocab_size=size.vocabulary,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.feed_forward,
        max_position_embeddings=size.positions + 2,
        pad_token_id=_PAD,
        initializer_range=0.05,
        num_labels=2,
        use_cache=False,
        attn_implementation=attention,
    )


def _distilbert(size: Size, attention: Attention) -> torch.nn.Module:
    return hf.DistilBertForSequenceClassification(
        hf.DistilBertConfig(
            vocab_size=size.vocabulary,
            dim=size.hidden,
            n_layers=size.layers,
            n_heads=size.heads,
            hidden_dim=size.feed_forward,
            max_position_embeddings=size.positions,
            pad_token_id=_PAD,
            initializer_range=0.05,
            num_labels=2,
            attn_implementation=attention,
        )
    )


def _vit(size: Size, attention: Attention) -> torch.nn.Module:
    return hf.ViTForImageClassification(
        hf.ViTConfig(
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            intermediate_size=size.feed_forward,
            image_size=size.image,
            patch_size=size.image // 14 if size.image >= 224 else 4,
            initializer_range=0.05,
            num_labels=10,
            attn_implementation=attention,
        )
    )


def _gpt(size: Size, attention: Attention) -> torch.nn.Module:
    return hf.GPT2LMHeadModel(
        hf.GPT2Config(
            vocab_size=size.vocabulary,
            n_embd=size.hidden,
            n_layer=size.layers,
            n_head=size.heads,
            n_inner=size.feed_forward,
            n_positions=size.positions,
            initializer_range=0.05,
            use_cache=False,
            attn_implementation=attention,
        )
    )


def _llama(size: Size, attention: Attention) -> torch.nn.Module:
    return hf.LlamaForCausalLM(
        hf.LlamaConfig(
            vocab_size=size.vocabulary,
            hidden_size=size.hidden,
            num_hidden_layers=size.layers,
            num_attention_heads=size.heads,
            num_key_value_heads=size.heads // 2,
            intermediate_size=size.feed_forward,
            max_position_embeddings=size.positions,
            initializer_range=0.05,
            use_cache=False,
            attn_implementation=attention,
        )
    )


_BUILDERS: dict[str, Callable[[Size, Attention], torch.nn.Module]] = {
    "bert": _bert,
    "bert-features": _bert_features,
    "untyped-bert": _bert,  # its token types are not an input, so all of them are 0
    "distilbert": _distilbert,
    "roberta": _roberta,
    "vit": _vit,
    "gpt": _gpt,
    "llama": _llama,
}
NAMES = tuple(_BUILDERS)
