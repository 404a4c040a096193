"""factory, labelled arrays -> trained checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import accelerate
import torch

from deploycompress.records.progress import Track, silent
from deploycompress.records.recipe import Hyperparameters, Train
from deploycompress.training import arrays, checkpoint, loop, network
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import few
from deploycompress.training.compressing import compression
from deploycompress.training.loop import Fit
from deploycompress.training.methods import training
from deploycompress.training.processes import here
from deploycompress.training.reshaping import reshape
from deploycompress.training.snapshot import Epoch


@dataclass(frozen=True)
class TrainResult:
    """A trained network.

    Attributes:
        output: The checkpoint, safetensors.
        size_bytes: Of that file.
        parameters: Number of trained weights.
        samples: Number of training samples.
        data_fingerprint: sha256 of the training data.
        epochs: Epochs done in all.
        kept: The epoch whose weights were written.
        resumed_after: Epochs an interrupted run had already done; 0 for a fresh start.
    """

    output: Path
    size_bytes: int
    parameters: int
    samples: int
    data_fingerprint: str
    epochs: int
    kept: Epoch
    resumed_after: int

    def summary(self) -> str:
        """The result in one line."""
        accuracy = "" if self.kept.eval_accuracy is None else f", accuracy {100 * self.kept.eval_accuracy:.2f} %"
        resumed = f", resumed after epoch {self.resumed_after}" if self.resumed_after else ""
        return (
            f"{self.output.name}: {self.parameters:,} parameters, {self.samples:,} samples, "
            f"kept epoch {self.kept.epoch} of {self.epochs}{accuracy}{resumed}"
        )


def train(
    step: Train,
    output: Path,
    *,
    base: Path | None = None,
    offered: Mapping[str, object] | None = None,
    track: Track = silent,
) -> TrainResult:
    """Trains what `step.model` makes on `step.data` and writes the checkpoint; goes on where a killed run stood.

    Args:
        step: Factory, data, regime and hyperparameters.
        output: The checkpoint to write; the log and the snapshot lie beside it in `<stem>.training/`.
        base: Folder that references are looked up from.
        offered: What the factory may ask for (see `network.build`).
        track: Shows progress.

    Raises:
        UsageError: A reference is wrong, or training diverged.
        DataRejectedError: The data is unusable.
        EnvironmentLacksError: The device or the disk lacks something.
    """
    module = seeded(step.model, step, base, offered)
    data = arrays.load(step.data, base=base)
    evaluation = None if step.eval is None else arrays.load(step.eval, base=base)
    placed = step.model_copy(update={"regime": step.regime.placed(below(base))})
    objective = compression(module, step.compress, data, lambda: training(module, placed, data))
    objective.check(module.eval(), few(data))
    folder = work_folder(output)
    fit = loop.fit(
        module,
        data,
        objective,
        step,
        folder=folder,
        identity=identity(step, module, data, evaluation),
        evaluation=evaluation,
        track=track,
    )
    return written(objective.finish(module), output, folder, data, fit)


def seeded(
    factory: str, step: Hyperparameters, base: Path | None, offered: Mapping[str, object] | None = None
) -> torch.nn.Module:
    """The network of a factory with the weights that training starts from: those of `initial`, or of the seed.

    What the factory is `offered` may have a say in the latter.
    """
    accelerate.utils.set_seed(step.seed)
    module, _ = network.build(factory, base=base, offered=offered)
    if step.initial is not None:
        initial = Path(below(base)(step.initial))
        reshape(module, initial)
        checkpoint.load_into(module, initial, fresh=step.fresh)
    return module


def below(base: Path | None) -> Callable[[str], str]:
    """The function that makes a path or `file.py:function` whole, as seen from `base`."""

    def whole(text: str) -> str:
        place, colon, name = text.rpartition(":")
        if base is None or (colon and not place.endswith(".py")):
            return text
        return f"{base / place}:{name}" if colon else str(base / text)

    return whole


def work_folder(output: Path) -> Path:
    """Where the log and the snapshot of a training run lie."""
    return output.with_name(f"{output.stem}.training")


def identity(
    step: Hyperparameters, module: torch.nn.Module, data: Arrays, evaluation: Arrays | None, *also: str
) -> str:
    """sha256 of everything that a run's result depends on; a snapshot is resumed only where it is the same.

    Args:
        step: All parameters of the step.
        module: With its initial weights.
        data: Training samples.
        evaluation: Samples that choose the epoch.
        also: Further facts, such as the hash of the teacher.
    """
    digest = hashlib.sha256()
    facts = [step.model_dump(mode="json"), data.fingerprint, evaluation and evaluation.fingerprint, also]
    digest.update(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in module.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def written(module: torch.nn.Module, output: Path, folder: Path, data: Arrays, fit: Fit) -> TrainResult:
    """Writes the checkpoint (one process of many does), forgets the snapshot, and says what was done."""
    with here().main_process_first():
        if here().is_main_process:
            checkpoint.save(module.state_dict(), output)
            loop.finish(folder)
    return TrainResult(
        output=output,
        size_bytes=output.stat().st_size,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        samples=len(data),
        data_fingerprint=data.fingerprint,
        epochs=len(fit.history),
        kept=fit.kept,
        resumed_after=fit.resumed_after,
    )
