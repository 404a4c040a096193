"""The teacher is asked once a sample; its answers are a file that a killed run completes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.training import teacher_logits
from deploycompress.training.frozen import Frozen
from deploycompress.training.teacher_logits import cached
from tests.training.test_loop import Killed, network, spirals


class Counting(nn.Module):
    """Counts the samples that are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.asked = network(), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x)
        return self.inner(x)


def killed_after(batches: int):  # type: ignore[no-untyped-def] # noqa: ANN201 - a Track
    def track(items: Iterable[int], description: str, total: int | None = None) -> Iterator[int]:
        for done, item in enumerate(items):
            if done == batches:
                raise Killed
            yield item

    return track


def test_logits_are_those_of_the_teacher_in_order(tmp_path: Path) -> None:
    data, teacher = spirals(), network().eval()
    answers = cached(Frozen(teacher), data, 16, tmp_path, "hash")
    expected = torch.cat([teacher(x) for x in data.inputs[0].split(16)])
    assert torch.equal(answers, expected)
    (path,) = tmp_path.iterdir()
    assert np.array_equal(np.load(path), expected.detach().numpy())


def test_second_run_does_not_ask_again_and_other_data_or_teacher_does(tmp_path: Path) -> None:
    teacher = Counting()
    for _ in range(2):
        cached(Frozen(teacher), spirals(), 16, tmp_path, "hash")
    assert teacher.asked == 100 + 1  # one to learn the shape
    cached(Frozen(teacher), spirals(seed=2), 16, tmp_path, "hash")
    assert teacher.asked == 202
    cached(Frozen(teacher), spirals(), 16, tmp_path, "another")
    assert teacher.asked == 303


def test_killed_run_goes_on_after_its_last_whole_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_logits, "CHUNK", 2)
    teacher = Counting()
    with pytest.raises(Killed):
        cached(Frozen(teacher), spirals(), 10, tmp_path, "hash", track=killed_after(5))
    (part,) = tmp_path.iterdir()
    assert part.suffix == ".part"
    with part.open("ab") as file:
        file.write(b"half a row")
    asked = teacher.asked
    answers = cached(Frozen(teacher), spirals(), 10, tmp_path, "hash")
    assert teacher.asked - asked == 60 + 1  # two chunks of 20 rows were there
    assert torch.equal(answers, cached(Frozen(network()), spirals(), 10, tmp_path / "fresh", "hash"))
    assert [file.suffix for file in tmp_path.iterdir() if file.is_file()] == [".npy"]


def test_writing_into_the_answers_leaves_the_file(tmp_path: Path) -> None:
    answers = cached(Frozen(network()), spirals(), 16, tmp_path, "hash")
    kept = answers.clone()
    answers.zero_()
    assert torch.equal(cached(Frozen(network()), spirals(), 16, tmp_path, "hash"), kept)
