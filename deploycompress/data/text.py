""".csv, .tsv or .jsonl of sentences + tokenizer file -> input_ids, attention_mask, token_type_ids as the model asks.

Truncation and padding: to the length of the model's input where that is a number; otherwise each sample keeps its own
length, cut where the tokenizer file says so.

Source: tokenizers (`Tokenizer.from_file`); tab-separated files are read with quoting off, as the GLUE sets need.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deploycompress.data.source import Entry, Label, Raw, Unusable
from deploycompress.errors import DataRejectedError, UnsupportedError, UsageError
from deploycompress.records.signature import Signature

SUFFIXES = (".csv", ".tsv", ".jsonl")
_TEXT = ("text", "sentence", "text_a", "sentence1", "question", "premise")
_PAIR = ("text_pair", "text_b", "sentence2", "hypothesis")
_LABEL = ("label", "labels", "score")
_MADE = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


@dataclass(frozen=True)
class Sentences:
    """A source of tokenized sentences, one row of a file each."""

    path: Path
    tokenizer: Any
    input_names: tuple[str, ...]
    notes: tuple[str, ...]
    refused: tuple[tuple[str, str], ...] = ()
    count: None = None

    def read(self, wanted: Collection[int] | None) -> Iterator[Entry]:
        """See `Source.read`."""
        for index, (line, row) in enumerate(_rows(self.path)):
            if wanted is None or index in wanted:
                name = f"{self.path.name}:{line}"
                try:
                    yield Entry(index, name, self._sample(row, name))
                except Unusable as reason:
                    yield Entry(index, name, reason)

    def _sample(self, row: Mapping[str, Any], name: str) -> Raw:
        if None in row or None in row.values():
            raise Unusable("the row does not have as many columns as the header")
        text, pair = _column(row, _TEXT), _column(row, _PAIR)
        if not isinstance(text, str):
            raise Unusable(f"it has none of the columns {', '.join(_TEXT)}")
        encoded = self.tokenizer.encode(text, pair if isinstance(pair, str) else None)
        arrays = {key: np.array(getattr(encoded, _MADE[key]), np.int64) for key in self.input_names}
        return Raw(arrays, _label(_column(row, _LABEL)), name)


def open_sentences(path: Path, signature: Signature, tokenizer: Path | None) -> Sentences:
    """The sentences in `path`, to be tokenized for a model with these inputs.

    Raises:
        UsageError: No tokenizer was named.
        UnsupportedError: The model takes an input that a tokenizer does not make.
        DataRejectedError: The tokenizer file cannot be read, or the file has no column of text.
    """
    if tokenizer is None:
        raise UsageError("text needs the tokenizer of the model", remedy="--tokenizer path/to/tokenizer.json")
    for spec in signature.inputs:
        if spec.name not in _MADE:
            raise UnsupportedError(
                f"the model takes {spec.name!r}, which a tokenizer does not make (it makes {', '.join(_MADE)})",
                remedy="give arrays (.npz), or a module:function that makes the inputs",
            )
    first = next(_rows(path), None)
    if first is not None and _column(first[1], _TEXT) is None:
        raise DataRejectedError(
            f"it has the columns {', '.join(map(str, first[1]))}",
            where=str(path),
            remedy=f"name the column of text one of {', '.join(_TEXT)}",
        )
    return Sentences(path, *_tokenizer(tokenizer, signature))


def _tokenizer(path: Path, signature: Signature) -> tuple[Any, tuple[str, ...], tuple[str, ...]]:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:
        raise DataRejectedError(f"the tokenizer cannot be read: {error}", where=str(path)) from error
    lengths = {spec.shape[1] for spec in signature.inputs if spec.shape is not None and len(spec.shape) == 2}
    fixed = next((length for length in lengths if isinstance(length, int)), None)
    notes: tuple[str, ...] = ()
    if fixed is None:
        tokenizer.no_padding()
        limit = (tokenizer.truncation or {}).get("max_length")
        notes = (f"sentences keep their length, up to {limit or 'any number of'} tokens",)
    else:
        padding = dict(tokenizer.padding or {})
        token = next((t for t in ("[PAD]", "<pad>") if tokenizer.token_to_id(t) is not None), None)
        padding.setdefault("pad_token", token or "[PAD]")
        padding.setdefault("pad_id", tokenizer.token_to_id(padding["pad_token"]) or 0)
        tokenizer.enable_truncation(fixed)
        padding |= {"length": fixed, "pad_to_multiple_of": None}
        tokenizer.enable_padding(**padding)
        notes = (f"sentences are cut or padded to {fixed} tokens",)
    return tokenizer, signature.input_names, notes


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yields (line number, row by column) of the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".jsonl":
                for line, text in enumerate(file, start=1):
                    if text.strip():
                        row = json.loads(text)
                        yield line, row if isinstance(row, dict) else {"": row}
                return
            tabs = path.suffix.lower() == ".tsv"
            reader = csv.DictReader(
                file, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_NONE if tabs else csv.QUOTE_MINIMAL
            )
            for row in reader:
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, csv.Error) as error:
        raise DataRejectedError(f"it cannot be read: {error}", where=str(path)) from error


def _column(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON values
    return next((row[name] for name in names if name in row), None)


def _label(value: Any) -> Label:  # noqa: ANN401 - JSON values
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Unusable(f"its label {value!r} is not a number") from None
    return int(number) if number.is_integer() and "." not in str(value) else number
