"""module, arrays, objective -> the same module trained; one loop for every method, resumable to the bit.

The learning rate is a function of the update number and every random choice one of (seed, epoch), so a run that was
killed and resumed from its last whole epoch ends with the weights of a run that was not. Devices, mixed precision and
many processes are accelerate's work: every process takes its share of every batch, so the updates are those of one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import accelerate
import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import DataLoader

from deploycompress.errors import EnvironmentLacksError, UsageError
from deploycompress.records.progress import Track, silent
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training import logs, snapshot
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Tensors, gather, loader, rows_of
from deploycompress.training.evaluate import evaluate
from deploycompress.training.objective import Objective, Trainee
from deploycompress.training.optimizers import optimizer as make_optimizer
from deploycompress.training.optimizers import set_rate
from deploycompress.training.processes import here, on_cpu
from deploycompress.training.schedule import factor
from deploycompress.training.snapshot import Epoch, Snapshot


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
    """Trains `module` in place and leaves it in eval mode on the CPU with the weights to keep, `objective` likewise.

    Args:
        module: The network.
        data: Training samples.
        objective: What to minimise, with what it trains beside the network.
        hyper: Epochs, batch size (of all processes together), optimizer, schedule, precision, seed.
        folder: Where `snapshot.pt` (until `finish`) and the logs are kept.
        identity: Says which run this is; a snapshot of another run is not resumed.
        evaluation: Samples that choose the epoch to keep.
        targets: Teacher logits, one row per training sample.
        track: Shows progress.

    Raises:
        UsageError: The loss is not finite (training diverged), or the settings contradict each other.
        EnvironmentLacksError: The device cannot do the precision, or the folder cannot be written.
    """
    if hyper.patience is not None and evaluation is None:
        raise UsageError("patience needs evaluation data to look at", remedy="give eval, or leave patience out")
    run = _prepared(Trainee(module, objective), data, hyper, targets)
    state = snapshot.load(folder / "snapshot.pt", identity) or Snapshot()
    resumed_after = len(state.history)
    if resumed_after:
        _restore(run, state)
    ticks = track(range((hyper.epochs - resumed_after) * len(run.batches)), "training")
    while not _ended(state.history, hyper):
        epoch = len(state.history) + 1
        lr, loss = _epoch(run, epoch, ticks)
        eval_loss, eval_accuracy = (
            (None, None)
            if evaluation is None
            else evaluate(module, evaluation, hyper.batch_size, run.accelerator.device)
        )
        done = Epoch(epoch, lr, loss, eval_loss, eval_accuracy, objective.figures())
        state.history.append(done)
        _record(run, state)
        if hyper.keep == "last" or done.beats(state.best_epoch):
            state.best, state.best_epoch = state.trainee, done
        if run.accelerator.is_main_process:
            snapshot.save(state, folder / "snapshot.pt", identity)
            logs.write(state.history, folder, tensorboard=hyper.tensorboard)
    for _ in ticks:
        pass  # lets the display close itself
    run.accelerator.wait_for_everyone()
    run.accelerator.unwrap_model(run.model, keep_fp32_wrapper=False)
    run.trainee.cpu().eval().load_state_dict(state.best)
    assert state.best_epoch is not None  # epochs >= 1
    return Fit(tuple(state.history), state.best_epoch, resumed_after)


@dataclass(frozen=True)
class _Run:
    """What one call of `fit` works with; `model` is `trainee` as accelerate wraps it."""

    accelerator: accelerate.Accelerator
    trainee: Trainee
    model: torch.nn.Module
    optimizer: accelerate.optimizer.AcceleratedOptimizer
    batches: DataLoader[Tensors]
    order: torch.Generator
    names: tuple[str, ...]
    hyper: Hyperparameters


def _prepared(trainee: Trainee, data: Arrays, hyper: Hyperparameters, targets: torch.Tensor | None) -> _Run:
    order = torch.Generator()
    accelerator = _accelerator(hyper, skips_parameters=trainee.objective.skips_parameters)
    processes = accelerator.num_processes
    batches = loader(rows_of(data, targets), hyper.batch_size, order, _lengths(data, hyper), processes=processes)
    model, optimizer = accelerator.prepare(trainee, make_optimizer(trainee, hyper))
    return _Run(accelerator, trainee, model, optimizer, batches, order, data.names, hyper)


def _epoch(run: _Run, epoch: int, ticks: Iterator[int]) -> tuple[float, float]:
    """One pass over the training data -> (learning rate of its last update, mean loss)."""
    accelerator, hyper, objective = run.accelerator, run.hyper, run.trainee.objective
    accelerate.utils.set_seed((hyper.seed * 1_000_003 + epoch) % 2**32)
    run.order.manual_seed((hyper.seed << 32) + epoch)
    run.trainee.train()
    in_epoch = math.ceil(len(run.batches) / hyper.accumulate)
    updates = in_epoch * hyper.epochs
    total, lr = torch.zeros(2, dtype=torch.float64), 0.0  # sum of losses, samples
    for number, tensors in enumerate(run.batches):
        next(ticks, None)
        batch = gather(run.names, _share(tensors, accelerator), accelerator.device)
        update = (epoch - 1) * in_epoch + number // hyper.accumulate
        if number % hyper.accumulate == 0:
            lr = hyper.lr * factor(update, updates, warmup=hyper.warmup, schedule=hyper.schedule)
            set_rate(run.optimizer, lr)
            objective.before_update(run.trainee.model, update, updates)
        whole = (number + 1) % hyper.accumulate == 0 or number + 1 == len(run.batches)
        with nullcontext() if whole else accelerator.no_sync(run.model):
            loss = run.model(batch)
            # Processes average their gradients: a share counts by its samples.
            accelerator.backward(loss * (len(batch) * accelerator.num_processes / len(tensors[0])))
        if whole:
            if hyper.clip_norm is not None:
                accelerator.clip_grad_norm_(run.model.parameters(), hyper.clip_norm)
            run.optimizer.step()
            run.optimizer.zero_grad()
            objective.after_update(run.trainee.model, update, updates)
        total += torch.tensor([loss.item() * len(batch), len(batch)], dtype=torch.float64)
    if accelerator.num_processes > 1:
        total = accelerator.reduce(total.to(accelerator.device), "sum")
        for buffer in run.trainee.buffers():  # BatchNorm statistics of the last batch differ
            torch.distributed.broadcast(buffer, src=0)
    loss_sum, samples = total.tolist()
    if not math.isfinite(loss_sum):
        raise UsageError(
            f"the loss is {loss_sum} in epoch {epoch}: training diverged", remedy="lower lr, or clip_norm: 1.0"
        )
    return lr, loss_sum / samples


def _record(run: _Run, state: Snapshot) -> None:
    """Weights and optimizer as they are now -> `state`."""
    state.trainee = {name: tensor.detach().cpu().clone() for name, tensor in run.trainee.state_dict().items()}
    state.optimizer = run.optimizer.state_dict()
    state.scaler = {} if run.accelerator.scaler is None else run.accelerator.scaler.state_dict()


def _restore(run: _Run, state: Snapshot) -> None:
    """`state` -> the weights and the optimizer."""
    run.trainee.load_state_dict(state.trainee)
    run.optimizer.load_state_dict(state.optimizer)
    if run.accelerator.scaler is not None:
        run.accelerator.scaler.load_state_dict(state.scaler)


def _ended(history: list[Epoch], hyper: Hyperparameters) -> bool:
    """All epochs done, or `patience` of them since the best one."""
    if len(history) >= hyper.epochs or hyper.patience is None or not history:
        return len(history) >= hyper.epochs
    best = reduce(lambda kept, epoch: epoch if epoch.beats(kept) else kept, history)
    return history[-1].epoch - best.epoch >= hyper.patience


def _share(tensors: tuple[torch.Tensor, ...], accelerator: accelerate.Accelerator) -> list[torch.Tensor]:
    """This process's part of a batch: every so many-th sample."""
    return [tensor[accelerator.process_index :: accelerator.num_processes] for tensor in tensors]


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


def _accelerator(hyper: Hyperparameters, *, skips_parameters: bool) -> accelerate.Accelerator:
    # accelerate keeps the precision of the first Accelerator of a process for ever; each run states its own here.
    AcceleratorState._reset_state()
    GradientState._reset_state()
    precision = "no" if hyper.precision == "fp32" else hyper.precision
    here()
    accelerator = accelerate.Accelerator(
        cpu=on_cpu(),
        mixed_precision=precision,
        gradient_accumulation_steps=hyper.accumulate,
        kwargs_handlers=[accelerate.DistributedDataParallelKwargs(find_unused_parameters=skips_parameters)],
    )
    if precision != "no" and not accelerator.native_amp:  # accelerate would go on in float32 without a word
        raise EnvironmentLacksError(
            f"{accelerator.device.type} cannot train in {hyper.precision}", remedy="use precision: fp32 or bf16"
        )
    if accelerator.num_processes > 1 and hyper.batch_size < 2 * accelerator.num_processes:
        raise UsageError(
            f"a batch of {hyper.batch_size} samples is too small for {accelerator.num_processes} processes",
            remedy=f"use batch_size: {2 * accelerator.num_processes} or more; it counts all processes together",
        )
    return accelerator
