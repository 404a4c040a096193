"""What the processes of `test_processes` run: python processes.py FOLDER SAMPLES. Prints nothing; writes weights."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import nn

from deploycompress.records.recipe import Hyperparameters
from deploycompress.training import checkpoint, processes
from deploycompress.training.frozen import Frozen
from deploycompress.training.loop import fit
from deploycompress.training.offline import Offline
from deploycompress.training.regimes.previous import Previous
from deploycompress.training.teacher_logits import cached
from tests.training.test_loop import spirals

HYPER = Hyperparameters(epochs=3, batch_size=16, lr=0.05, warmup=0.1, seed=3, accumulate=2, clip_norm=1.0, keep="last")


def perceptron(seed: int) -> nn.Module:
    """Without BatchNorm and dropout, whose results depend on how samples are shared out."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 24), nn.Tanh(), nn.Linear(24, 2))


def main(folder: Path, samples: int) -> None:
    """Distils, and trains by PS-KD, whose memory every process must share."""
    torch.set_num_threads(1)
    data, teacher = spirals(samples), Frozen(perceptron(1))
    targets = cached(teacher, data, 16, folder, "teacher")
    objectives = {
        "offline": (Offline(teacher, temperature=2.0, alpha=0.5), targets),
        "ps_kd": (Previous(samples, 2, HYPER.epochs), None),
    }
    for name, (objective, told) in objectives.items():
        module = perceptron(0)
        fit(
            module, data, objective, HYPER, folder=folder / name, identity=name, evaluation=spirals(30, 1), targets=told
        )
        here = processes.here()
        checkpoint.save(
            module.state_dict(), folder / f"{name}-{here.process_index}-of-{here.num_processes}.safetensors"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
    if processes.here().num_processes > 1:
        torch.distributed.destroy_process_group()
