"""Every answer is asked for once, kept with its provenance, and refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from deploycompress.errors import EnvironmentLacksError, UsageError
from deploycompress.training.sequences.client import LocalTeacher, TeacherClient
from deploycompress.training.sequences.collect import collect, length, not_containing, verified


class Asked:
    """A teacher that notes what it was asked."""

    def __init__(self, **more: object) -> None:
        self.prompts: list[str] = []
        self.client: TeacherClient = LocalTeacher("shouter-1", self._answer, {"temperature": 0.0}, **more)  # type: ignore[arg-type]

    def _answer(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return prompt.upper()


def test_line_says_who_answered_what_under_which_terms(tmp_path: Path) -> None:
    collect(Asked().client, ["héllo"], tmp_path / "a.jsonl")
    (line,) = map(json.loads, (tmp_path / "a.jsonl").read_text(encoding="utf-8").splitlines())
    key = line.pop("key")
    assert len(key) == 64
    assert line == {
        "prompt": "héllo",
        "answer": "HÉLLO",
        "teacher": "shouter-1",
        "parameters": {"temperature": 0.0},
        "licence": "own model",
        "training_allowed": True,
        "refused": None,
    }


def test_equal_prompts_and_known_ones_are_asked_once(tmp_path: Path) -> None:
    teacher, path = Asked(), tmp_path / "a.jsonl"
    assert [line.answer for line in collect(teacher.client, ["a", "b", "a"], path)] == ["A", "B"]
    assert [line.answer for line in collect(teacher.client, ["c", "b"], path)] == ["C", "B"]
    assert teacher.prompts == ["a", "b", "c"]
    other = LocalTeacher("shouter-2", str.upper)
    assert [line.teacher for line in collect(other, ["a"], path)] == ["shouter-2"]


def test_killed_run_goes_on_and_half_a_line_is_cut_off(tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def track(items: Iterable[str], description: str, total: int | None = None) -> Iterator[str]:
        for done, item in enumerate(items):
            if done == 2:
                raise Killed
            yield item

    teacher, path = Asked(), tmp_path / "a.jsonl"
    with pytest.raises(Killed):
        collect(teacher.client, list("abcd"), path, track=track)  # type: ignore[arg-type]
    with path.open("a") as file:
        file.write('{"prompt": "c", "answ')
    assert [line.answer for line in collect(teacher.client, list("abcd"), path)] == list("ABCD")
    assert teacher.prompts == list("abcd")
    assert [json.loads(line)["prompt"] for line in path.read_text().splitlines()] == list("abcd")


def test_refused_answers_stay_in_the_file_with_the_reason(tmp_path: Path) -> None:
    filters = [length(2, 10), not_containing("i CANNOT"), verified(lambda prompt, answer: prompt != "odd")]
    path = tmp_path / "a.jsonl"
    kept = collect(Asked().client, ["a", "i cannot", "odd", "good", "x" * 11], path, filters)
    assert [line.answer for line in kept] == ["GOOD"]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["refused"] for line in lines] == [
        *("1 characters", "contains 'i cannot'", "the verifier does not accept it", None, "11 characters"),
    ]


def test_teacher_whose_terms_forbid_training_is_refused(tmp_path: Path) -> None:
    teacher = Asked(licence="no competing models", training_allowed=False)
    with pytest.raises(UsageError, match=r"shouter-1: its terms \(no competing models\) forbid training"):
        collect(teacher.client, ["a"], tmp_path / "a.jsonl")
    assert not teacher.prompts


def test_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentLacksError, match="cannot keep the answers"):
        collect(Asked().client, ["a"], tmp_path / "file" / "a.jsonl")
