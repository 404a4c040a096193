"""TinyBERT on SST-2: a narrow student from random weights, taught by layers and answers of a fine-tuned encoder (TB-1).

The teacher is that of `deploycompress run models/sst2_minilm/recipe.yaml`; all arms make as many updates.

Source of the method: Jiao et al. 2020, arXiv:1909.10351.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import transformers
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, take, trained
from bench.shared import REPOSITORY
from deploycompress.training import arrays, checkpoint, network
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch
from deploycompress.training.distillation.encoder import encoder_of
from deploycompress.training.distillation.matching import Matching, trimmed
from deploycompress.training.distillation.phases import Phases
from deploycompress.training.distillation.transformers import hidden_terms, score_terms
from deploycompress.training.frozen import Frozen
from deploycompress.training.offline import Offline

FOLDER, TEACHER = "models/sst2_minilm", "build/sst2_minilm/teacher.safetensors"
SENTENCES, LAYERS, WIDTH = 6920, 3, 192


def student(seed: int, teacher: nn.Module) -> nn.Module:
    """Three layers of width 192 with the teacher's 12 heads, from random weights."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=teacher.encoder.config.vocab_size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=encoder_of(teacher).heads,
        intermediate_size=4 * WIDTH,
    )
    return type(teacher)(transformers.BertModel(config, add_pooling_layer=False), WIDTH)


def tb_1(seed: int) -> Figures:
    """Three epochs: on labels, on answers, two of layers before one of answers; accuracy on GLUE's dev sentences."""
    teacher, training, dev = _fine_tuned(), _sentences(), _arrays("dev")

    def answers() -> Offline:
        return Offline(teacher, temperature=1.0, alpha=1.0)

    data = take(training, torch.randperm(len(training), generator=torch.Generator().manual_seed(seed))[:SENTENCES])
    settings: dict[str, Any] = {
        "lr": 5e-4,
        "schedule": "linear",
        "warmup": 0.1,
        "weight_decay": 0.01,
        "optimizer": "adamw",
        "clip_norm": 1.0,
        "epochs": 3,
        "batch_size": 32,
        "group_by_length": True,
        "seed": seed,
    }
    targets = _answers(teacher, data)
    tiny = student(seed, teacher.module)
    own, other = encoder_of(tiny), encoder_of(teacher.module)
    layers = Matching(teacher, [*hidden_terms(own, other), *score_terms(own, other)], alpha=None)
    trained(tiny, data, Phases([layers, answers()], [2 / 3]), targets=targets, **settings)
    distilled = trained(student(seed, teacher.module), data, answers(), targets=targets, **settings)
    plain = trained(student(seed, teacher.module), data, **settings)
    return {
        "CE": accuracy(plain, dev),
        "answers alone": accuracy(distilled, dev),
        "TinyBERT": accuracy(tiny, dev),
    }


def _answers(teacher: Frozen, data: Arrays) -> torch.Tensor:
    """The teacher's logits, sentences of like length together and without columns of padding."""
    order = data.inputs[1].sum(1).argsort()
    batches = [trimmed(Batch(data.names, take(data, rows).inputs, data.labels[rows], rows)) for rows in order.split(64)]
    found = torch.cat([network.logits(teacher, batch.names, batch.inputs) for batch in batches])
    return found[order.argsort()]


@cache
def _fine_tuned() -> Frozen:
    module, _ = network.build(f"{FOLDER}/model.py:teacher", base=REPOSITORY)
    checkpoint.load_into(module, REPOSITORY / TEACHER)
    return Frozen(module)


@cache
def _sentences() -> Arrays:
    return _arrays("train")


def _arrays(part: str) -> Arrays:
    return arrays.load(f"{FOLDER}/data.py:{part}", base=REPOSITORY)


CHECKS = (
    Check(
        "TB-1",
        fresh(3),
        tb_1,
        lambda mean: mean["TinyBERT"] >= mean["CE"] + 2.0 and mean["TinyBERT"] >= mean["answers alone"] + 1.0,
        "TinyBERT at least 2.0 points above CE in as many updates, and at least 1.0 above the answers without layers",
    ),
)
