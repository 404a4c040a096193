"""prompts, teacher -> JSONL of answers with their provenance, each asked for once; a killed run goes on.

Every line says who answered what to which prompt, with which parameters and under which terms, and whether a filter
refused it and why. Refused answers stay in the file: they cost as much as the others, and the reasons are worth a look.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from deploycompress.errors import EnvironmentLacksError, UsageError
from deploycompress.records.progress import Track, silent
from deploycompress.training.sequences.client import TeacherClient

Filter = Callable[[str, str], str | None]
"""(prompt, answer) -> why the answer is refused, or None."""


@dataclass(frozen=True)
class Answer:
    """One line of the file.

    Attributes:
        key: sha256 over teacher, parameters and prompt.
        prompt: What was asked.
        answer: What the teacher said.
        teacher: Its name.
        parameters: Of its sampling.
        licence: Terms of its answers.
        training_allowed: What the terms say about training; None where they do not say.
        refused: Why a filter refused it; None for an answer to learn from.
    """

    key: str
    prompt: str
    answer: str
    teacher: str
    parameters: dict[str, str | int | float]
    licence: str
    training_allowed: bool | None
    refused: str | None


def collect(
    client: TeacherClient, prompts: Iterable[str], path: Path, filters: Sequence[Filter] = (), *, track: Track = silent
) -> list[Answer]:
    """Asks for what `path` does not hold yet and returns the answers that no filter refuses, in order of the prompts.

    Args:
        client: The teacher.
        prompts: What to ask; equal ones are asked once.
        path: The JSONL file, which grows line by line.
        filters: The first that objects gives the reason.
        track: Shows progress.

    Raises:
        UsageError: The teacher's terms forbid training on its answers.
        EnvironmentLacksError: The file cannot be read or written.
    """
    if client.training_allowed is False:
        raise UsageError(
            f"its terms ({client.licence}) forbid training on its answers",
            where=client.name,
            remedy="choose a teacher whose terms allow it",
        )
    wanted = {_key(client, prompt): prompt for prompt in prompts}
    try:
        known = _known(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for key in track([key for key in wanted if key not in known], "asking the teacher"):
                known[key] = _asked(client, key, wanted[key], filters)
                file.write(json.dumps(asdict(known[key]), ensure_ascii=False) + "\n")
                file.flush()
    except OSError as error:
        raise EnvironmentLacksError(f"cannot keep the answers: {error.strerror or error}", where=str(path)) from error
    return [known[key] for key in wanted if known[key].refused is None]


def length(shortest: int, longest: int) -> Filter:
    """Refuses answers outside of these numbers of characters."""
    return lambda prompt, answer: (
        None if shortest <= len(answer.strip()) <= longest else f"{len(answer.strip())} characters"
    )


def not_containing(*markers: str) -> Filter:
    """Refuses answers with one of these texts in them, such as the phrases of a refusal."""
    lowered = tuple(marker.lower() for marker in markers)
    return lambda prompt, answer: next((f"contains {text!r}" for text in lowered if text in answer.lower()), None)


def verified(verifier: Callable[[str, str], bool]) -> Filter:
    """Refuses answers that a check of one's own does not accept."""
    return lambda prompt, answer: None if verifier(prompt, answer) else "the verifier does not accept it"


def _asked(client: TeacherClient, key: str, prompt: str, filters: Sequence[Filter]) -> Answer:
    answer = client.answer(prompt)
    return Answer(
        key=key,
        prompt=prompt,
        answer=answer,
        teacher=client.name,
        parameters=dict(client.parameters),
        licence=client.licence,
        training_allowed=client.training_allowed,
        refused=next((reason for each in filters if (reason := each(prompt, answer)) is not None), None),
    )


def _key(client: TeacherClient, prompt: str) -> str:
    text = json.dumps([client.name, dict(client.parameters), prompt], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _known(path: Path) -> dict[str, Answer]:
    """The answers in the file; half a line at its end, which a killed run leaves, is cut off."""
    if not path.exists():
        return {}
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    answers = [Answer(**json.loads(line)) for line in whole.decode("utf-8").splitlines()]
    return {answer.key: answer for answer in answers}
