"""model files -> subjects of a benchmark: checked, probed in a process of their own, named, weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deploycompress import model as models
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.flow.contents import contents
from deploycompress.measurement.size import size
from deploycompress.records.measured import Contents, ModelSize
from deploycompress.records.signature import Signature
from deploycompress.runtime.probe import probe
from deploycompress.runtime.session import Feed


@dataclass(frozen=True)
class Subject:
    """One model file, probed.

    Attributes:
        name: Unique short name.
        path: The file.
        signature: What it takes and gives.
        sha256: Over the file and its external data.
        size: On disk and on the wire.
        contents: Where its bytes lie.
    """

    name: str
    path: Path
    signature: Signature
    sha256: str
    size: ModelSize
    contents: Contents


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
    return Subject(name, path, probe(path), sha256, size(path, models.data_files(path)), contents(path))


def _names(paths: Sequence[Path]) -> list[str]:
    """File stems; where two are equal the folder goes before them, and a number after them where that is equal too."""
    stems, longer = [path.stem for path in paths], [f"{path.parent.name}/{path.stem}" for path in paths]
    names = []
    for index, (stem, folder_and_stem) in enumerate(zip(stems, longer, strict=True)):
        if stems.count(stem) == 1:
            names.append(stem)
        elif longer.count(folder_and_stem) == 1:
            names.append(folder_and_stem)
        else:
            names.append(f"{stem} ({stems[: index + 1].count(stem)})")
    return names


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


def check_feed(subject: Subject, feed: Feed) -> None:
    """Refuses a feed whose shapes the model does not take, before anything is timed.

    Raises:
        UnsupportedError: A fixed axis has another length.
    """
    for spec in subject.signature.inputs:
        given = np.shape(feed[spec.name])
        wanted = spec.shape if spec.shape is not None else given
        if len(given) != len(wanted) or any(isinstance(w, int) and w != g for w, g in zip(wanted, given, strict=True)):
            raise UnsupportedError(
                f"{subject.name} takes {spec}, and a feed would be {list(given)}",
                remedy="use --batch 1 where the batch is fixed, or other samples",
            )
