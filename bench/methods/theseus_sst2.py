"""Module replacing on SST-2 (TH-1): a fine-tuned MiniLM-L6 gives way to 3 layers; 6,920 sentences, 900 updates of 16.

Compared under the same number of updates, batches and rates (600 at 1e-4, then 300 at 5e-5), on the 872 dev sentences:

- raw: the first 3 layers of the pretrained encoder, fine-tuned on labels
- truncated: the first 3 layers of the fine-tuned predecessor, fine-tuned on labels
- truncated + KD: the same under the predecessor's logits (T = 2, alpha = 0.9)
- Theseus: p from 0.5 to 1 over 300 updates, 300 with all replaced; then 300 with the head trained as well

Needs the predecessor: `deploycompress train models/sst2_minilm/recipe.yaml`. Every stage
of an arm leaves its weights below build/methods, so that a killed run goes on behind the last one.

Source: Xu et al. 2020, arXiv:2002.02925, section 4 (schedule, and the baseline "first layers").
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, take
from bench.shared import REPOSITORY
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training import arrays, checkpoint, network
from deploycompress.training.arrays import Arrays
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.objective import LabelsOnly, Objective
from deploycompress.training.offline import Offline
from deploycompress.training.replacing.modules import combine
from deploycompress.training.replacing.theseus import Theseus

FOLDER = REPOSITORY / "models/sst2_minilm"
PREDECESSOR = REPOSITORY / "build/sst2_minilm/teacher.safetensors"
SNAPSHOTS = REPOSITORY / "build/methods/theseus_sst2"
LAYERS, ROWS, LENGTH, BATCH = "encoder.encoder.layer", 6920, 32, 16


def th_1(seed: int) -> Figures:
    """One seed: rows, order, draws and the raw head."""
    train = cut(arrays.load("data.py:train", base=FOLDER), seed)
    dev = arrays.load("data.py:dev", base=FOLDER)
    pretrained, predecessor = pair(seed)
    arms: dict[str, tuple[nn.Module, Objective]] = {
        "raw": (first_three(pretrained), LabelsOnly()),
        "truncated": (first_three(predecessor), LabelsOnly()),
        "truncated + KD": (first_three(predecessor), kd(predecessor)),
    }
    figures = {"predecessor": accuracy_of(predecessor, dev)}
    for name, (net, objective) in arms.items():
        stage(net, train, objective, f"{seed}-{name}-1", seed, lr=1e-4, updates=600)
        stage(net, train, objective, f"{seed}-{name}-2", seed + 1, lr=5e-5, updates=300)
        figures[name] = accuracy_of(net, dev)
    successor, replacing = first_three(predecessor), Theseus(start=0.5, ramp=0.5)
    combine(copy.deepcopy(predecessor), successor, LAYERS)
    stage(successor, train, replacing, f"{seed}-theseus-1", seed, lr=1e-4, updates=600)
    successor = replacing.finish(successor)
    successor.get_submodule("encoder.embeddings").requires_grad_(False)
    stage(successor, train, LabelsOnly(), f"{seed}-theseus-2", seed + 1, lr=5e-5, updates=300)
    figures["Theseus"] = accuracy_of(successor, dev)
    return figures


def cut(data: Arrays, seed: int) -> Arrays:
    """Some rows, and their first tokens."""
    rows = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:ROWS]
    chosen = take(data, rows)
    return Arrays(chosen.names, tuple(t[:, :LENGTH] for t in chosen.inputs), chosen.labels, str(seed))


def pair(seed: int) -> tuple[nn.Module, nn.Module]:
    """The encoder as it was pretrained, with a random head, and as it was fine-tuned."""
    if not PREDECESSOR.is_file():
        raise SystemExit(f"{PREDECESSOR} is absent: deploycompress train models/sst2_minilm/recipe.yaml")
    torch.manual_seed(seed)
    pretrained, _ = network.build("model.py:teacher", base=FOLDER)
    predecessor = copy.deepcopy(pretrained)
    checkpoint.load_into(predecessor, PREDECESSOR)
    return pretrained, predecessor


def first_three(net: nn.Module) -> nn.Module:
    """A copy with the first three layers alone."""
    twin = copy.deepcopy(net).requires_grad_(True)
    layers = twin.get_submodule(LAYERS)
    twin.set_submodule(LAYERS, nn.ModuleList(list(layers)[:3]))  # type: ignore[call-overload]
    return twin


def kd(teacher: nn.Module) -> Objective:
    """Hinton's loss."""
    return Offline(Frozen(copy.deepcopy(teacher)), temperature=2.0, alpha=0.9)


def stage(net: nn.Module, data: Arrays, objective: Objective, name: str, seed: int, **settings: Any) -> None:  # noqa: ANN401
    """So many updates through the product's loop; a stage that was finished is not run again."""
    updates = settings.pop("updates")
    order = torch.Generator().manual_seed(seed)
    rows = torch.cat([torch.randperm(len(data), generator=order) for _ in range(-(-updates * BATCH // len(data)))])
    hyper = Hyperparameters(
        epochs=1, batch_size=BATCH, seed=seed, keep="last", clip_norm=1.0, schedule="linear", **settings
    )
    folder = Path(SNAPSHOTS, name.replace(" ", ""))
    fit(net, take(data, rows[: updates * BATCH]), objective, hyper, folder=folder, identity=name)


def accuracy_of(net: nn.Module, data: Arrays) -> float:
    """Percent right, in batches of one hundred."""
    parts = [take(data, torch.arange(start, min(start + 100, len(data)))) for start in range(0, len(data), 100)]
    return sum(accuracy(net, part) * len(part) for part in parts) / len(data)


CHECKS = (
    Check(
        "TH-1",
        fresh(5),
        th_1,
        lambda mean: mean["Theseus"] >= mean["raw"] + 0.3,
        "SST-2, 6 -> 3 layers: Theseus 0.3 above fine-tuning the first layers of the pretrained encoder",
    ),
)
