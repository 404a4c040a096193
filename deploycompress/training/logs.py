"""history of a run -> `log.jsonl`, one line an epoch, and where asked for a TensorBoard event file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from deploycompress.errors import MissingExtraError
from deploycompress.records.files import write_text
from deploycompress.training.snapshot import Epoch


def write(history: Sequence[Epoch], folder: Path, *, tensorboard: bool) -> None:
    """Writes the log of all epochs so far, and the latest of them as TensorBoard scalars.

    Args:
        history: Epochs from the first to the one just done.
        folder: Where `log.jsonl` and `tensorboard/` lie.
        tensorboard: Whether to write event files.

    Raises:
        MissingExtraError: The extra `logs` is not installed.
        EnvironmentLacksError: The folder cannot be written.
    """
    write_text(folder / "log.jsonl", "".join(json.dumps(asdict(epoch)) + "\n" for epoch in history))
    if tensorboard:
        if find_spec("tensorboard") is None:
            raise MissingExtraError("tensorboard", "logs")
        from torch.utils.tensorboard import SummaryWriter

        latest = history[-1]
        # An epoch that a killed run wrote and could not save is written once more; purge_step hides the first.
        with SummaryWriter(str(folder / "tensorboard"), purge_step=latest.epoch) as writer:
            for name, value in asdict(latest).items():
                if name not in ("epoch", "figures") and value is not None:
                    writer.add_scalar(name, value, latest.epoch)
            for name, value in latest.figures.items():
                writer.add_scalar(name, value, latest.epoch)
