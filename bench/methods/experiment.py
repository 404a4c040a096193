"""What the checks share: digits split by a seed, small networks, and the product's loop around them."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from deploycompress.records.recipe import Hyperparameters
from deploycompress.training.arrays import Arrays
from deploycompress.training.evaluate import evaluate
from deploycompress.training.loop import fit
from deploycompress.training.objective import LabelsOnly, Objective

TEST = 719
MEMORY = Path("/dev/shm")


def digits(seed: int, *, images: bool = False) -> tuple[Arrays, Arrays]:
    """1,078 samples to train with and 719 to test with, stratified, [n, 64] or [n, 1, 8, 8] in 0..1."""
    values, labels = load_digits(return_X_y=True)
    values = (values / 16).astype(np.float32).reshape((-1, 1, 8, 8) if images else (-1, 64))
    parts = train_test_split(values, labels, test_size=TEST, random_state=seed, stratify=labels)
    return arrays(parts[0], parts[2]), arrays(parts[1], parts[3])


def arrays(inputs: np.ndarray | torch.Tensor, labels: np.ndarray | torch.Tensor) -> Arrays:
    """Samples with one input."""
    return Arrays((), (torch.as_tensor(inputs),), torch.as_tensor(labels, dtype=torch.int64), fingerprint="")


def take(data: Arrays, rows: np.ndarray | torch.Tensor) -> Arrays:
    """Some of the samples."""
    rows = torch.as_tensor(rows)
    return Arrays(data.names, tuple(tensor[rows] for tensor in data.inputs), data.labels[rows], data.fingerprint)


def few_labels(data: Arrays, count: int, seed: int) -> Arrays:
    """`count` samples of `data`, stratified by class."""
    rows, _ = train_test_split(np.arange(len(data)), train_size=count, random_state=seed, stratify=data.labels.numpy())
    return take(data, rows)


def repeated(data: Arrays, times: int) -> Arrays:
    """The samples several times over: an epoch of many updates where there are few samples."""
    return take(data, torch.arange(len(data)).repeat(times))


def mlp(seed: int, *widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them, initialised by the seed."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def trained(
    module: nn.Module,
    data: Arrays,
    objective: Objective | None = None,
    *,
    targets: torch.Tensor | None = None,
    **settings: Any,  # noqa: ANN401 - hyperparameters
) -> nn.Module:
    """`module` after the product's own loop: Adam, constant rate, the last epoch, unless `settings` say otherwise."""
    values = {"optimizer": "adam", "schedule": "constant", "warmup": 0.0, "weight_decay": 0.0, "keep": "last"}
    hyper = Hyperparameters.model_validate({**values, **settings})
    objective = LabelsOnly() if objective is None else objective
    # In memory where there is a place for it: a snapshot an epoch is written and synced.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        fit(module, data, objective, hyper, folder=Path(folder), identity="check", targets=targets)
    return objective.finish(module)


def accuracy(module: nn.Module, data: Arrays) -> float:
    """Percent of the samples that are right."""
    return 100 * evaluate(module, data, len(data))[1]


def one_thread() -> None:
    """Pins torch, so that figures do not depend on how sums are split, and seeds what the checks draw themselves."""
    torch.set_num_threads(1)
    accelerate.utils.set_seed(0)
