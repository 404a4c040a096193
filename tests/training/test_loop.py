"""Training learns, is reproducible, and resumes to the bit after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.errors import EnvironmentLacksError, UsageError
from deploycompress.records.progress import Track
from deploycompress.records.recipe import Hyperparameters
from deploycompress.training import loop, snapshot
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import Batch
from deploycompress.training.loop import Fit, fit
from deploycompress.training.objective import LabelsOnly, Objective

HYPER = Hyperparameters(epochs=4, batch_size=16, lr=0.01, warmup=0.1, seed=3, accumulate=2, clip_norm=1.0)


def spirals(count: int = 100, seed: int = 0) -> Arrays:
    """Two classes that no line separates: the label is whether the signs of x and y agree."""
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype(np.float32)
    labels = (points[:, 0] * points[:, 1] > 0).astype(np.int64)
    return Arrays((), (torch.from_numpy(points),), torch.from_numpy(labels), fingerprint=str(seed))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.2), nn.Linear(24, 2))


def run(
    folder: Path, hyper: Hyperparameters = HYPER, module: nn.Module | None = None, **more: object
) -> tuple[nn.Module, Fit]:
    module = network() if module is None else module
    settings = {"folder": folder, "identity": "a", "evaluation": spirals(50, seed=1), **more}
    return module, fit(module, spirals(), LabelsOnly(), hyper, **settings)  # type: ignore[arg-type]


class Killed(Exception):
    pass


def killed_after(batches: int) -> Track:
    def track(items: Iterable[int], description: str, total: int | None = None) -> Iterator[int]:
        for done, item in enumerate(items):
            if done == batches:
                raise Killed
            yield item

    return track


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.equal(x, y), name


def test_network_learns_what_a_line_cannot(tmp_path: Path) -> None:
    hyper = Hyperparameters(epochs=60, batch_size=20, lr=0.02)
    _, result = run(tmp_path, hyper)
    # A linear classifier stays at 50 %; 85 % leaves room for the points near the axes.
    assert result.kept.eval_accuracy is not None
    assert result.kept.eval_accuracy > 0.85


def test_same_seed_gives_the_same_weights_and_another_seed_does_not(tmp_path: Path) -> None:
    first, _ = run(tmp_path / "1")
    again, _ = run(tmp_path / "2")
    other, _ = run(tmp_path / "3", HYPER.model_copy(update={"seed": 4}))
    assert_same_weights(first, again)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))


@pytest.mark.parametrize("batches", [7, 14, 20, 27])
@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_killed_and_resumed_run_equals_uninterrupted(tmp_path: Path, batches: int, optimizer: str) -> None:
    hyper = HYPER.model_copy(update={"optimizer": optimizer})
    whole, uninterrupted = run(tmp_path / "whole", hyper)
    with pytest.raises(Killed):
        run(tmp_path / "killed", hyper, track=killed_after(batches))
    resumed, result = run(tmp_path / "killed", hyper)
    assert result.resumed_after == batches // 7
    assert result.history == uninterrupted.history
    assert_same_weights(whole, resumed)
    assert (tmp_path / "killed" / "log.jsonl").read_text() == (tmp_path / "whole" / "log.jsonl").read_text()


def test_snapshot_of_another_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, track=killed_after(14), identity="another")
    _, result = run(tmp_path)
    assert result.resumed_after == 0


def test_damaged_snapshot_starts_anew(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, track=killed_after(14))
    path = tmp_path / "snapshot.pt"
    path.write_bytes(path.read_bytes()[:500])
    assert snapshot.load(path, "a") is None
    _, result = run(tmp_path)
    assert result.resumed_after == 0


def test_killed_process_leaves_a_snapshot_that_resumes(tmp_path: Path) -> None:
    script = (
        "import sys, os, signal; sys.path.insert(0, sys.argv[1])\n"
        "import test_loop as t, torch; from pathlib import Path; torch.set_num_threads(1)\n"
        "def track(items, description, total=None):\n"
        "    for done, item in enumerate(items):\n"
        "        if done == 16: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield item\n"
        "t.run(Path(sys.argv[2]), track=track)\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path / "killed")]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)
    assert done.returncode == -signal.SIGKILL
    assert sorted(file.name for file in (tmp_path / "killed").iterdir()) == ["log.jsonl", "snapshot.pt"]
    resumed, result = run(tmp_path / "killed")
    whole, _ = run(tmp_path / "whole")
    assert result.resumed_after == 2
    assert_same_weights(whole, resumed)


def test_best_epoch_is_kept_and_its_weights_are_in_the_module(tmp_path: Path) -> None:
    module, result = run(tmp_path, HYPER.model_copy(update={"epochs": 12, "lr": 0.2, "schedule": "constant"}))
    best = max(result.history, key=lambda epoch: (epoch.eval_accuracy, -epoch.eval_loss, epoch.epoch))  # type: ignore[operator]
    assert result.kept == best
    assert best.epoch < 12  # or the last weights would pass for the best
    evaluation = spirals(50, seed=1)
    assert not module.training
    right = (module(evaluation.inputs[0]).argmax(1) == evaluation.labels).float().mean().item()
    assert right == pytest.approx(best.eval_accuracy, abs=1e-6)


def test_last_epoch_is_kept_where_asked(tmp_path: Path) -> None:
    _, result = run(tmp_path, HYPER.model_copy(update={"keep": "last"}))
    assert result.kept.epoch == 4


def test_without_evaluation_the_last_epoch_is_kept(tmp_path: Path) -> None:
    _, result = run(tmp_path, evaluation=None)
    assert result.kept.epoch == 4
    assert result.kept.eval_accuracy is None


def test_log_has_one_line_per_epoch(tmp_path: Path) -> None:
    _, result = run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["eval_accuracy"] == result.history[-1].eval_accuracy
    assert lines[0]["lr"] > lines[-1]["lr"] > 0


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    # Without BatchNorm and dropout the mean gradient of 2 x 10 samples is that of 20; float32 sums differ in order.
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    twin = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    twin.load_state_dict(plain.state_dict())
    common = {"epochs": 3, "lr": 0.1, "optimizer": "sgd", "warmup": 0.0, "seed": 1, "keep": "last"}
    run(tmp_path / "a", Hyperparameters(batch_size=20, **common), plain)
    run(tmp_path / "b", Hyperparameters(batch_size=10, accumulate=2, **common), twin)
    for x, y in zip(plain.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(x, y, rtol=1e-5, atol=1e-6)


def test_lone_last_sample_does_not_break_normalisation(tmp_path: Path) -> None:
    module = network()
    hyper = HYPER.model_copy(update={"batch_size": 33})
    assert len(spirals()) % 33 == 1
    fit(module, spirals(), LabelsOnly(), hyper, folder=tmp_path, identity="a")


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU can do fp16")
def test_fp16_on_cpu_is_refused_and_not_quietly_float32(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentLacksError, match="cpu cannot train in fp16; use precision: fp32 or bf16"):
        run(tmp_path, HYPER.model_copy(update={"precision": "fp16"}))


def test_bf16_trains_and_leaves_a_plain_float32_module(tmp_path: Path) -> None:
    module, result = run(tmp_path, HYPER.model_copy(update={"precision": "bf16", "epochs": 2}))
    plain, x = network().eval(), spirals().inputs[0]
    plain.load_state_dict(module.state_dict())
    assert torch.equal(module(x), plain(x))  # no autocast wrapper is left on it
    exact, _ = run(tmp_path / "fp32", HYPER.model_copy(update={"epochs": 2}))
    assert not torch.equal(module(x), exact(x))  # and it was there while training
    assert len(result.history) == 2


def test_divergence_is_named(tmp_path: Path) -> None:
    class Broken(Objective):
        def forward(self, model: nn.Module, batch: Batch) -> torch.Tensor:
            return model(*batch.inputs).sum() * float("nan")

    with pytest.raises(UsageError, match="the loss is nan in epoch 1: training diverged; lower lr"):
        fit(network(), spirals(), Broken(), HYPER, folder=tmp_path, identity="a")


def test_finish_leaves_the_log_only(tmp_path: Path) -> None:
    run(tmp_path)
    loop.finish(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]
