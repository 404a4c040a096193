"""unfinished training <-> one file, so that a killed run goes on where it stood.

Everything else a run depends on (order of the samples, dropout, learning rate) is a function of the seed, the epoch and
the update number, so weights, optimizer state and history are all there is to keep.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from deploycompress.errors import CheckpointRejectedError
from deploycompress.records.files import atomic
from deploycompress.training import checkpoint

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training data gave.

    Attributes:
        epoch: Number, from 1.
        lr: Learning rate of its last update.
        train_loss: Mean over the samples seen, while the weights moved.
        eval_loss: Cross-entropy on the evaluation data, or None where there is none.
        eval_accuracy: Share of 1, or None.
        figures: What the objective had to say.
    """

    epoch: int
    lr: float
    train_loss: float
    eval_loss: float | None = None
    eval_accuracy: float | None = None
    figures: dict[str, float] = field(default_factory=dict)

    def beats(self, other: Epoch | None) -> bool:
        """Higher accuracy, or the same with a loss not above; without evaluation data the later epoch."""
        if other is None or self.eval_accuracy is None or other.eval_accuracy is None:
            return True
        if self.eval_accuracy != other.eval_accuracy:
            return self.eval_accuracy > other.eval_accuracy
        return (self.eval_loss or 0.0) <= (other.eval_loss or math.inf)


@dataclass
class Snapshot:
    """A run after its latest whole epoch.

    Attributes:
        history: The epochs done.
        trainee: Weights of the model and of its objective now.
        optimizer: State dict of the optimizer.
        scaler: State dict of the fp16 loss scaler; empty without one.
        best: Weights of the epoch to keep so far.
        best_epoch: That epoch.
    """

    history: list[Epoch] = field(default_factory=list)
    trainee: State = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    scaler: dict[str, Any] = field(default_factory=dict)
    best: State = field(default_factory=dict)
    best_epoch: Epoch | None = None


def save(snapshot: Snapshot, path: Path, identity: str) -> None:
    """Writes the snapshot atomically; `identity` says which run it belongs to."""
    plain = {**vars(snapshot), "history": [asdict(epoch) for epoch in snapshot.history], "identity": identity}
    plain["best_epoch"] = None if snapshot.best_epoch is None else snapshot.best_epoch.epoch
    with atomic(path) as temporary:
        torch.save(plain, temporary)


def load(path: Path, identity: str) -> Snapshot | None:
    """The snapshot of an interrupted run with the same identity; None where there is none, or it is another run's."""
    if not path.exists():
        return None
    try:
        plain = checkpoint.unpickle(path)
    except CheckpointRejectedError:
        return None  # damaged by hand or by the disk: the run starts anew, which only costs time
    if not isinstance(plain, dict) or plain.pop("identity", None) != identity:
        return None
    history = [Epoch(**epoch) for epoch in plain.pop("history")]
    best = next((epoch for epoch in history if epoch.epoch == plain["best_epoch"]), None)
    return Snapshot(**{**plain, "history": history, "best_epoch": best})
