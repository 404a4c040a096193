"""`deploycompress prune --unstructured 0.9` and `--n-m 2:4`: zeros among the weights, and what they are worth."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deploycompress.cli.console import show_settings, stderr, stdout, track, write_json
from deploycompress.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from deploycompress.flow.sparsify import SparsifyResult
    from deploycompress.pruning.sparse import Pattern


@dataclass(frozen=True)
class Source:
    """What a command starts from: a model, samples and where to write; see the options of `prune`."""

    model: Path
    output: Path | None
    target: str
    calib: str | None
    preprocess: str | None
    tokenizer: Path | None
    limit: int | None
    exclude: Sequence[str]
    accept_data: bool


def sparsify(
    source: Source,
    unstructured: float | None,
    n_m: str | None,
    method: str | None,
    refused: Sequence[str],
    eval_data: str | None,
    labels: Path | None,
    json_path: Path | None,
) -> None:
    """Runs the flow and prints its result.

    Args:
        source: What it starts from.
        unstructured: Share of the weights that become zero.
        n_m: As in "2:4".
        method: What decides; None for the default.
        refused: Options that were given and say how wide layers become.
        eval_data: Labelled samples.
        labels: File of labels.
        json_path: Where `--json` writes.

    Raises:
        UsageError: Options that contradict one another.
    """
    if refused:
        raise UsageError(f"{', '.join(refused)} removes whole channels, --unstructured and --n-m single weights")
    from deploycompress.flow.host import described, resolve
    from deploycompress.flow.sparsify import sparsify as run
    from deploycompress.pruning.sparse import METHODS

    if method is not None and method not in METHODS:
        raise UnknownNameError("score of single weights", method, METHODS, where="--score")
    pattern = _pattern(unstructured, n_m)
    chosen = resolve(source.target)
    output = source.output or source.model.with_name(f"{source.model.stem}.sparse.onnx")
    settings = {
        "model": source.model,
        "output": output,
        "target": described(source.target, chosen),
        "zeros": pattern.called,
        "score": method or ("magnitude" if source.calib is None else "sparsegpt"),
        "samples": source.calib,
        "exclude": ", ".join(source.exclude) or None,
        "evaluation": eval_data,
    }
    show_settings("prune", settings)
    result = run(
        source.model,
        output,
        target=chosen,
        pattern=pattern,
        method=method,
        calib=source.calib,
        preprocess=source.preprocess,
        tokenizer=source.tokenizer,
        limit=source.limit,
        exclude=source.exclude,
        eval_data=eval_data,
        labels=labels,
        accept_data=source.accept_data,
        track=track,
    )
    _print(result, stderr if str(json_path) == "-" else stdout)
    write_json(result, json_path)


def _pattern(unstructured: float | None, n_m: str | None) -> Pattern:
    from deploycompress.pruning.sparse import Pattern

    if n_m is None:
        return Pattern(unstructured)
    found = re.fullmatch(r"(\d+):(\d+)", n_m)
    if unstructured is not None or found is None:
        raise UsageError(
            "--unstructured and --n-m are two patterns" if found else f"{n_m!r} is no pattern of weights",
            remedy="give --unstructured 0.9 or --n-m 2:4",
        )
    return Pattern(kept=int(found[1]), of=int(found[2]))


def _print(result: SparsifyResult, write: Callable[[str], None]) -> None:
    from deploycompress.cli.tables import render

    rows = [
        (row.layer, row.elements, f"{100 * row.zeros / row.elements:.1f} %" if row.zeros else "-", row.reason)
        for row in result.layers
    ]
    write(render(("layer", "weights", "zeros", ""), rows))
    for note in result.notes:
        write(f"note: {note}")
    write(f"{result.output}: {verdict(result)}")


def verdict(result: SparsifyResult) -> str:
    """One line: how many zeros, what they save where, and what they cost."""
    from deploycompress.cli.changes import closeness
    from deploycompress.report import words

    parts = [
        f"{100 * result.zeros:.1f} % of the weights are zero",
        f"{words.size(result.size_after.size_bytes)} stored",
    ]
    before, after = result.size_before.download_bytes, result.size_after.download_bytes
    if before is not None and after is not None:
        parts.append(f"{words.size(after)} packed instead of {words.size(before)}")
    lost = None if result.accuracy is None else words.drop(result.accuracy)
    if result.accuracy is not None and lost is not None:
        parts.append(f"{result.accuracy.metric} drop {lost}")
    else:
        parts.append(closeness(result.fidelity, result.compared_on))
    return f"{', '.join(parts)}; not faster"
