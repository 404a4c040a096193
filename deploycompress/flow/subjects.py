"""model files -> subjects of a benchmark: checked, probed in a process of their own, named, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploycompress import model as models
from deploycompress.errors import UsageError
from deploycompress.measurement.size import size
from deploycompress.model import sniff
from deploycompress.model.loading import check_tensors, parse
from deploycompress.records.measured import ModelSize
from deploycompress.records.signature import Signature
from deploycompress.runtime.probe import probe


@dataclass(frozen=True)
class Subject:
    """One model file, probed.

    Attributes:
        name: Unique short name.
        path: The file.
        signature: What it takes and gives.
        sha256: Over the file and its external data.
        size: On disk and on the wire.
    """

    name: str
    path: Path
    signature: Signature
    sha256: str
    size: ModelSize


def subjects(paths: Sequence[Path]) -> tuple[Subject, ...]:
    """Reads and probes every file.

    Raises:
        ModelRejectedError: A file is unusable.
        UsageError: There is none, or they take different inputs.
    """
    if not paths:
        raise UsageError("there is no model to measure")
    found = tuple(_subject(path, name) for path, name in zip(paths, _names(paths), strict=True))
    _check_same_inputs(found)
    return found


def _subject(path: Path, name: str) -> Subject:
    """Refuses what must not be opened, then opens it where it can do no harm."""
    sha256 = models.fingerprint(path)
    external = {file.path for file in check_tensors(parse(sniff.read(path), path), path).values()}
    return Subject(name, path, probe(path), sha256, size(path, sorted(external)))


def _names(paths: Sequence[Path]) -> list[str]:
    """File stems, with as much of the folder as tells equal stems apart, and a number where nothing does."""
    stems = [path.stem for path in paths]
    names = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for path, stem in zip(paths, stems, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: index + 1].count(name)})"
        for index, name in enumerate(names)
    ]


def _check_same_inputs(subjects: Sequence[Subject]) -> None:
    first = subjects[0]
    for other in subjects[1:]:
        ours, theirs = ({(spec.name, spec.dtype) for spec in subject.signature.inputs} for subject in (first, other))
        if ours != theirs:
            raise UsageError(
                f"the models take different inputs: {first.name} takes "
                f"{', '.join(map(str, first.signature.inputs))}; {other.name} takes "
                f"{', '.join(map(str, other.signature.inputs))}",
                remedy="benchmark models that take the same inputs, or rename the inputs",
            )
