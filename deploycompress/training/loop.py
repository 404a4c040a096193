"""module, arrays, objective -> the same module trained; one loop for every method, resumable to the bit.

The learning rate is a function of the update number and every random choice one of (seed, epoch), so a run that was
killed and resumed from its last whole epoch ends with the weights of a run that was not. Devices, mixed precision and
many processes are accelerate's work.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import accelerate
import torch
from accelerate.state import AcceleratorState, GradientState

from deploycompress.errors import EnvironmentLacksError, UsageError
from deploycompress.records.files import write_text
from deploycompress.records.progress import Track, silent
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training import snapshot
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch, Rows, gather, loader
from deploycompress.training.evaluate import evaluate
from deploycompress.training.losses import cross_entropy
from deploycompress.training.network import logits
from deploycompress.training.schedule import factor
from deploycompress.training.snapshot import Epoch, Snapshot

Objective = Callable[[torch.Tensor, Batch], torch.Tensor]
"""(logits, batch) -> loss to minimise, a mean over the batch."""


def labels_only(outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Cross-entropy on the labels: the objective of plain training."""
    return cross_entropy(outputs, batch.labels)


@dataclass(frozen=True)
class Fit:
    """What training did.

    Attributes:
        history: Every epoch, those before an interruption included.
        kept: The epoch whose weights the module now holds.
        resumed_after: Epochs that an interrupted run had already done; 0 for a fresh start.
    """

    history: tuple[Epoch, ...]
    kept: Epoch
    resumed_after: int


def fit(
    module: torch.nn.Module,
    data: Arrays,
    objective: Objective,
    hyper: Hyperparameters,
    *,
    folder: Path,
    identity: str,
    evaluation: Arrays | None = None,
    targets: torch.Tensor | None = None,
    track: Track = silent,
) -> Fit:
    """Trains `module` in place and leaves it in eval mode on the CPU with the weights to keep.

    Args:
        module: The network.
        data: Training samples.
        objective: What to minimise.
        hyper: Epochs, batch size, optimizer, schedule, precision, seed.
        folder: Where `snapshot.pt` (until `finish`) and `log.jsonl` are kept.
        identity: Says which run this is; a snapshot of another run is not resumed.
        evaluation: Samples that choose the epoch to keep.
        targets: Teacher logits, one row per training sample.
        track: Shows progress.

    Raises:
        UsageError: The loss is not finite: training diverged.
        EnvironmentLacksError: The device cannot do the precision, or the folder cannot be written.
    """
    accelerator = _accelerator(hyper)
    order = torch.Generator()
    rows = Rows((*data.inputs, data.labels, *(() if targets is None else (targets,))))
    model, optimizer, batches = accelerator.prepare(
        module, _optimizer(module, hyper), loader(rows, hyper.batch_size, order, _lengths(data, hyper))
    )
    state = snapshot.load(folder / "snapshot.pt", identity) or Snapshot()
    resumed_after = len(state.history)
    if resumed_after:
        accelerator.unwrap_model(model).load_state_dict(state.model)
        optimizer.load_state_dict(state.optimizer)
        if accelerator.scaler is not None:
            accelerator.scaler.load_state_dict(state.scaler)
    updates = math.ceil(len(batches) / hyper.accumulate)
    ticks = track(range((hyper.epochs - resumed_after) * len(batches)), "training")
    for epoch in range(resumed_after + 1, hyper.epochs + 1):
        accelerate.utils.set_seed((hyper.seed * 1_000_003 + epoch) % 2**32)
        order.manual_seed((hyper.seed << 32) + epoch)
        model.train()
        total = torch.zeros(2, dtype=torch.float64)  # sum of losses, samples
        for number, tensors in enumerate(batches):
            next(ticks, None)
            batch = gather(data.names, tensors)
            update = (epoch - 1) * updates + number // hyper.accumulate
            lr = hyper.lr * factor(update, updates * hyper.epochs, warmup=hyper.warmup, schedule=hyper.schedule)
            for group in optimizer.param_groups:
                group["lr"] = lr
            with accelerator.accumulate(model):
                loss = objective(logits(model, batch.names, batch.inputs), batch)
                accelerator.backward(loss)
                if hyper.clip_norm is not None and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), hyper.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
            total += torch.tensor([loss.item() * len(batch.labels), len(batch.labels)], dtype=torch.float64)
        loss_sum, samples = accelerator.reduce(total, "sum").tolist()
        if not math.isfinite(loss_sum):
            raise UsageError(
                f"the loss is {loss_sum} in epoch {epoch}: training diverged", remedy="lower lr, or clip_norm: 1.0"
            )
        evaluated = (
            (None, None) if evaluation is None else evaluate(model, evaluation, hyper.batch_size, accelerator.device)
        )
        done = Epoch(epoch, lr, loss_sum / samples, *evaluated)
        state.history.append(done)
        state.model = _on_cpu(accelerator.unwrap_model(model))
        state.optimizer = optimizer.state_dict()
        state.scaler = {} if accelerator.scaler is None else accelerator.scaler.state_dict()
        if hyper.keep == "last" or done.beats(state.best_epoch):
            state.best, state.best_epoch = state.model, done
        if accelerator.is_main_process:
            snapshot.save(state, folder / "snapshot.pt", identity)
            write_text(folder / "log.jsonl", "".join(json.dumps(asdict(line)) + "\n" for line in state.history))
    for _ in ticks:
        pass  # lets the display close itself
    accelerator.wait_for_everyone()
    accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    module.cpu().eval().load_state_dict(state.best)
    assert state.best_epoch is not None  # epochs >= 1
    return Fit(tuple(state.history), state.best_epoch, resumed_after)


def _lengths(data: Arrays, hyper: Hyperparameters) -> torch.Tensor | None:
    """Number of real tokens of every sample, where batches are to be made by it."""
    if not hyper.group_by_length:
        return None
    if "attention_mask" not in data.names:
        raise UsageError("group_by_length needs an input named attention_mask", remedy="leave it out")
    return data.inputs[data.names.index("attention_mask")].sum(dim=1)


def finish(folder: Path) -> None:
    """Forgets the snapshot of a run whose result is safely written; the log stays."""
    (folder / "snapshot.pt").unlink(missing_ok=True)


def _accelerator(hyper: Hyperparameters) -> accelerate.Accelerator:
    # accelerate keeps the precision of the first Accelerator of a process for ever; each run states its own here.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    precision = "no" if hyper.precision == "fp32" else hyper.precision
    accelerator = accelerate.Accelerator(mixed_precision=precision, gradient_accumulation_steps=hyper.accumulate)
    if precision != "no" and not accelerator.native_amp:  # accelerate would go on in float32 without a word
        raise EnvironmentLacksError(
            f"{accelerator.device.type} cannot train in {hyper.precision}", remedy="use precision: fp32 or bf16"
        )
    return accelerator


def _optimizer(module: torch.nn.Module, hyper: Hyperparameters) -> torch.optim.Optimizer:
    """Weight decay acts on matrices and kernels, not on biases and normalisation (vectors)."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": hyper.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if hyper.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=hyper.lr, momentum=0.9, nesterov=True)
    kind = torch.optim.AdamW if hyper.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=hyper.lr)


def _on_cpu(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
