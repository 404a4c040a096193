"""teacher, student -> student checkpoint trained on (1 - alpha) CE + alpha T^2 KL(teacher || student).

The teacher is frozen: eval mode, no gradients, its logits computed once (the inputs are fixed arrays) unless they would
not fit in memory.
Source: Hinton, Vinyals, Dean 2015, arXiv:1503.02531.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from deploycompress.errors import UsageError
from deploycompress.records.files import sha256
from deploycompress.records.progress import Track, silent
from deploycompress.records.recipe import Distill, Train
from deploycompress.training import arrays, checkpoint, loop, network
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch
from deploycompress.training.evaluate import evaluate, predict
from deploycompress.training.losses import hinton
from deploycompress.training.train import TrainResult, identity, seeded, train, work_folder, written


@dataclass(frozen=True)
class DistillResult:
    """A student, its teacher, and what the teacher was worth.

    Attributes:
        student: The trained student.
        teacher_parameters: Number of weights of the teacher.
        teacher_accuracy: On the evaluation data, share of 1; None without evaluation data.
        baseline: The student trained on labels alone under the same budget; None where it was not asked for.
    """

    student: TrainResult
    teacher_parameters: int
    teacher_accuracy: float | None
    baseline: TrainResult | None

    def summary(self) -> str:
        """The result in one line."""
        smaller = f"{self.teacher_parameters / self.student.parameters:.1f}x fewer parameters than the teacher"
        teacher = "" if self.teacher_accuracy is None else f", teacher {100 * self.teacher_accuracy:.2f} %"
        accuracy = None if self.baseline is None else self.baseline.kept.eval_accuracy
        baseline = "" if accuracy is None else f", without teacher {100 * accuracy:.2f} %"
        return f"{self.student.summary()}, {smaller}{teacher}{baseline}"


def distill(
    step: Distill, output: Path, *, teacher_checkpoint: Path, base: Path | None = None, track: Track = silent
) -> DistillResult:
    """Trains the student of `step` under its teacher and writes the student's checkpoint.

    Args:
        step: Factories, data, temperature, alpha and hyperparameters.
        output: The checkpoint to write.
        teacher_checkpoint: Weights of the teacher.
        base: Folder that references are looked up from.
        track: Shows progress.

    Raises:
        UsageError: A reference is wrong, the classes differ, or training diverged.
        CheckpointRejectedError: The teacher's checkpoint is damaged or does not fit.
        DataRejectedError: The data is unusable.
    """
    teacher, _ = network.build(step.teacher, base=base)
    checkpoint.load_into(teacher, teacher_checkpoint)
    teacher.eval().requires_grad_(False)
    data = arrays.load(step.data, base=base)
    evaluation = None if step.eval is None else arrays.load(step.eval, base=base)
    student = seeded(step.student, step.seed, base)
    targets = _targets(teacher, student, data, step)

    def objective(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        if batch.targets is not None:
            return hinton(outputs, batch.targets, batch.labels, temperature=step.temperature, alpha=step.alpha)
        with torch.no_grad():
            told = logits_of(teacher, batch, outputs.device)
        return hinton(outputs, told, batch.labels, temperature=step.temperature, alpha=step.alpha)

    folder = work_folder(output)
    fit = loop.fit(
        student,
        data,
        objective,
        step,
        folder=folder,
        identity=identity(step, student, data, evaluation, sha256(teacher_checkpoint)),
        evaluation=evaluation,
        targets=targets,
        track=track,
    )
    return DistillResult(
        student=written(student, output, folder, data, fit),
        teacher_parameters=sum(parameter.numel() for parameter in teacher.parameters()),
        teacher_accuracy=None if evaluation is None else evaluate(teacher.cpu(), evaluation, step.batch_size)[1],
        baseline=_baseline(step, output, base, track) if step.baseline else None,
    )


def logits_of(teacher: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    """The teacher's logits for one batch, on the student's device."""
    return network.logits(teacher.to(device), batch.names, batch.inputs)


def _targets(teacher: torch.nn.Module, student: torch.nn.Module, data: Arrays, step: Distill) -> torch.Tensor | None:
    """Cached logits, after a first look whether teacher and student speak of the same classes."""
    few = tuple(tensor[:2] for tensor in data.inputs)
    student.eval()
    with torch.inference_mode():
        told, answered = network.logits(teacher, data.names, few), network.logits(student, data.names, few)
    if told.shape != answered.shape:
        raise UsageError(
            f"the teacher's logits are {tuple(told.shape)} for two samples, the student's {tuple(answered.shape)}",
            remedy="distillation by logits needs the same classes in the same order",
        )
    # A clone made outside inference mode may take part in a graph.
    return predict(teacher, data, step.batch_size).clone() if step.cache_logits else None


def _baseline(step: Distill, output: Path, base: Path | None, track: Track) -> TrainResult:
    """The same student, data and budget, without the teacher."""
    shared = {
        name: getattr(step, name) for name in Train.model_fields if name in Distill.model_fields and name != "kind"
    }
    alone = Train(**{**shared, "model": step.student, "output": f"{output.stem}.baseline.safetensors"})
    return train(alone, output.with_name(alone.output), base=base, track=track)
