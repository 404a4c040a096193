"""Where the teacher comes from: no labels (RG-1), oneself (RG-2), several tasks (MT-1), text alone (SEQ-1)."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from bench.methods.check import Check, Figures, fresh
from bench.methods.experiment import accuracy, arrays, digits, few_labels, mlp, repeated, trained
from bench.methods.kd import teacher
from deploycompress.training.arrays import Arrays
from deploycompress.training.batches import few
from deploycompress.training.frozen import Frozen
from deploycompress.training.offline import Offline
from deploycompress.training.regimes.multitask import MultiTask, answers
from deploycompress.training.regimes.previous import Previous
from deploycompress.training.regimes.tail import Tail
from deploycompress.training.sequences.client import LocalTeacher
from deploycompress.training.sequences.collect import collect

SHORT = {"lr": 5e-3, "epochs": 10, "batch_size": 100}  # 65 updates an epoch on 6,468 or 6,500 rows: 650 for each arm


def rg_1(seed: int) -> Figures:
    """Student 64-12-10: 100 labels, no labels but the teacher on all inputs, all labels."""
    data, test = digits(seed)
    labelled, unlabelled = repeated(few_labels(data, 100, seed), 65), repeated(data, 6)
    noise = torch.randint(10, (len(unlabelled),), generator=torch.Generator().manual_seed(seed))
    told = Offline(teacher(seed), temperature=4.0, alpha=1.0)
    return {
        "100 labels": accuracy(trained(mlp(seed, 64, 12, 10), labelled, seed=seed, **SHORT), test),
        "teacher only": accuracy(
            trained(mlp(seed, 64, 12, 10), replace(unlabelled, labels=noise), told, seed=seed, **SHORT), test
        ),
        "all labels": accuracy(trained(mlp(seed, 64, 12, 10), unlabelled, seed=seed, **SHORT), test),
    }


def rg_2(seed: int) -> Figures:
    """64-128-64-10 on labels of which 40 % are drawn anew, 60 epochs: alone, PS-KD, tail self-distillation."""
    data, test = digits(seed)
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(data), generator=generator) < 0.4
    noisy = replace(data, labels=torch.where(wrong, torch.randint(10, (len(data),), generator=generator), data.labels))
    settings = {"lr": 1e-3, "epochs": 60, "batch_size": 64, "seed": seed}

    def network() -> nn.Module:
        return mlp(seed, 64, 128, 64, 10)

    tail = network()
    return {
        "alone": accuracy(trained(network(), noisy, **settings), test),
        "PS-KD": accuracy(trained(network(), noisy, Previous(len(data), 10, 60, alpha=0.8), **settings), test),
        "tail": accuracy(trained(tail, noisy, Tail(tail, rho=0.5, temperature=4.0, alpha=0.9), **settings), test),
    }


class Tasks(nn.Module):
    """Trunk 64-24 with a head for the digit and one for its parity."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.trunk, self.digit, self.parity = nn.Linear(64, 24), nn.Linear(24, 10), nn.Linear(24, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures [batch, 64] -> logits of the digit and of the parity."""
        hidden = self.trunk(x).relu()
        return self.digit(hidden), self.parity(hidden)


def mt_1(seed: int) -> Figures:
    """Labels alone, annealed from two single-task teachers, and under them at a constant share; 100 labels and all."""
    data, test = digits(seed)
    parity = replace(data, labels=data.labels % 2)
    single = Frozen(trained(mlp(seed, 64, 256, 256, 2), parity, lr=1e-3, epochs=40, batch_size=64, seed=seed))
    teachers = [teacher(seed), single]
    figures = {}
    for name, part in (("100", repeated(few_labels(data, 100, seed), 65)), ("all", repeated(data, 6))):
        both = replace(part, labels=torch.stack([part.labels, part.labels % 2], dim=1))
        arms = {
            "CE": MultiTask([]),
            "annealed": MultiTask(teachers, temperature=4.0),
            "constant": MultiTask(teachers, anneal=False, share=0.5, temperature=4.0),
        }
        for arm, objective in arms.items():
            figures[f"{name}, {arm}"] = _both(trained(Tasks(seed), both, objective, seed=seed, **SHORT), test)
    return figures


def _both(model: nn.Module, test: Arrays) -> float:
    """Mean accuracy of the two tasks, percent."""
    with torch.no_grad():
        digit, parity = answers(model, few(test, len(test)))
    right = [(digit.argmax(1) == test.labels), (parity.argmax(1) == test.labels % 2)]
    return 100 * torch.stack(right).double().mean().item()


class Sorter(nn.Module):
    """Five digits, one-hot -> five independent positions of ten logits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.layers = mlp(seed, 50, 256, 256, 50)

    def forward(self, digits: torch.Tensor) -> torch.Tensor:
        """[batch, 5] -> [batch, 5, 10]."""
        return self.layers(nn.functional.one_hot(digits, 10).flatten(1).float()).view(-1, 5, 10)


def seq_1(seed: int) -> Figures:
    """References ascend or descend at random; the teacher, of whom only text is seen, always ascends."""
    source = random.Random(seed)
    prompts = list(dict.fromkeys("".join(source.choices("0123456789", k=5)) for _ in range(12_000)))
    held, asked = prompts[:1000], prompts[1000:]
    black_box = LocalTeacher("ascending", lambda prompt: "".join(sorted(prompt)))
    with tempfile.TemporaryDirectory() as folder:
        told = {line.prompt: line.answer for line in collect(black_box, asked, Path(folder) / "answers.jsonl")}
    raw = {prompt: "".join(sorted(prompt, reverse=source.random() < 0.5)) for prompt in asked}
    settings = {"lr": 2e-3, "epochs": 20, "batch_size": 128, "seed": seed, "schedule": "cosine"}
    return {
        name: _sorted(trained(Sorter(seed), _numbers(answered), **settings), held)
        for name, answered in (("raw", raw), ("sequence-level", told))
    }


def _numbers(answered: dict[str, str]) -> Arrays:
    rows = [[[int(sign) for sign in text] for text in texts] for texts in (answered, answered.values())]
    return arrays(torch.tensor(rows[0]), torch.tensor(rows[1]))


def _sorted(model: nn.Module, prompts: list[str]) -> float:
    """Percent of the prompts that come out sorted either way."""
    with torch.no_grad():
        given = model(_numbers({prompt: prompt for prompt in prompts}).inputs[0]).argmax(dim=2).tolist()
    right = 0
    for prompt, said in zip(prompts, given, strict=True):
        wanted = sorted(map(int, prompt))
        right += said in (wanted, wanted[::-1])
    return 100 * right / len(prompts)


CHECKS = (
    Check(
        "RG-1",
        fresh(5),
        rg_1,
        lambda mean: mean["teacher only"] >= mean["100 labels"] + 5 and mean["teacher only"] >= mean["all labels"] - 2,
        "teacher alone on unlabelled inputs: 5 points above 100 labels, within 2.0 of all labels",
    ),
    Check(
        "RG-2",
        fresh(5),
        rg_2,
        lambda mean: mean["PS-KD"] >= mean["alone"] + 1.0,
        "40 % label noise: PS-KD at least 1.0 point above plain training",
    ),
    Check(
        "MT-1",
        fresh(3),
        mt_1,
        lambda mean: mean["100, annealed"] >= mean["100, CE"] + 1.5 and mean["all, annealed"] >= mean["all, CE"] - 1.2,
        "two tasks, annealed teachers (T = 4): 1.5 points above CE on 100 labels, not 1.2 below on all",
    ),
    Check(
        "SEQ-1",
        fresh(4),
        seq_1,
        lambda mean: mean["sequence-level"] >= mean["raw"] + 40,
        "sorting: learning a teacher's text beats learning ambiguous references by 40 points",
    ),
)
