"""teacher, student -> student checkpoint, trained by the method that the recipe names.

The teacher is frozen: eval mode, no gradients. Where the method needs its logits alone they are computed once, into a
memory-mapped file (the inputs are fixed arrays).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploycompress.records.files import sha256
from deploycompress.records.progress import Track, silent
from deploycompress.records.recipe import Distill, Train
from deploycompress.training import arrays, checkpoint, loop, network
from deploycompress.training.batches import few
from deploycompress.training.evaluate import evaluate
from deploycompress.training.frozen import Frozen
from deploycompress.training.methods import distillation
from deploycompress.training.teacher_logits import cached
from deploycompress.training.train import TrainResult, below, identity, seeded, train, work_folder, written


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
        step: Factories, data, method and hyperparameters.
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
    frozen, teacher_hash = Frozen(teacher), sha256(teacher_checkpoint)
    data = arrays.load(step.data, base=base)
    evaluation = None if step.eval is None else arrays.load(step.eval, base=base)
    offered = {"teacher": teacher, "data": data.by_name}
    student = seeded(step.student, step, base, offered)
    whole = step.model_copy(update={"method": step.method.placed(below(base))})
    objective = distillation(frozen, student, whole, data)
    objective.check(student.eval(), few(data))
    folder = work_folder(output)
    targets = None
    if step.cache_logits and objective.takes_cached_logits:
        targets = cached(frozen, data, step.batch_size, folder, teacher_hash, track=track)
    fit = loop.fit(
        student,
        data,
        objective,
        step,
        folder=folder,
        identity=identity(step, student, data, evaluation, teacher_hash),
        evaluation=evaluation,
        targets=targets,
        track=track,
    )
    return DistillResult(
        student=written(objective.finish(student), output, folder, data, fit),
        teacher_parameters=sum(parameter.numel() for parameter in teacher.parameters()),
        teacher_accuracy=None if evaluation is None else evaluate(teacher.cpu(), evaluation, step.batch_size)[1],
        baseline=_baseline(step, output, base, offered, track) if step.baseline else None,
    )


def _baseline(
    step: Distill, output: Path, base: Path | None, offered: Mapping[str, object], track: Track
) -> TrainResult:
    """The same student, data and budget, without the teacher."""
    shared = {
        name: getattr(step, name) for name in Train.model_fields if name in Distill.model_fields and name != "kind"
    }
    alone = Train(**{**shared, "model": step.student, "output": f"{output.stem}.baseline.safetensors"})
    return train(alone, output.with_name(alone.output), base=base, offered=offered, track=track)
