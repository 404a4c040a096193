"""file that was written -> open, compared with its source, judged on labelled samples; or no file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from deploycompress import data
from deploycompress import model as models
from deploycompress.errors import InvalidOutputError, ModelRejectedError, UsageError
from deploycompress.flow.evaluate import evaluate
from deploycompress.flow.given import Given
from deploycompress.records.measured import Accuracy
from deploycompress.records.progress import Track
from deploycompress.runtime.session import Session

ComparedOn = Literal["held-out samples", "samples", "random inputs"]


def opened(output: Path, given: Given, kind: str) -> Session:
    """The file, open.

    Args:
        output: The file.
        given: What it was made from.
        kind: What it is called, as in "the pruned model does not run".

    Raises:
        InvalidOutputError: It does not load or run; it was removed.
    """
    try:
        written = Session(output, given.config)
        written.run(given.timed)
    except ModelRejectedError as error:
        for file in (*models.data_files(output), output):
            file.unlink(missing_ok=True)
        raise InvalidOutputError(f"the {kind} model does not run: {error.what}", where=str(output)) from error
    return written


def accuracy(
    given: Given,
    written: Session,
    eval_data: str,
    *,
    labels: Path | None,
    preprocess: str | None,
    tokenizer: Path | None,
    limit: int | None = None,
    track: Track,
) -> Accuracy:
    """The metric of the file on labelled samples, with its drop against the source.

    Raises:
        UsageError: The samples have no labels that fit.
    """
    samples = data.open(
        eval_data,
        models.signature(given.model),
        preprocess=preprocess,
        labels=labels,
        tokenizer=tokenizer,
        limit=limit,
        track=track,
    )
    found = evaluate([given.original, written], samples, track=track)[1]
    if found.accuracy is None:
        raise UsageError(found.notes[0] if found.notes else "it has no labels", where=eval_data, remedy="give --labels")
    return found.accuracy


def compared_on(given: Given, *, has_held_out: bool) -> ComparedOn:
    """What the two were run on."""
    if given.samples is None or not given.samples.valid_for_accuracy:
        return "random inputs"
    return "held-out samples" if has_held_out else "samples"
