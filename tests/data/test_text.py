"""Sentences are tokenized as the model asks, with the tokenizer library itself as the oracle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from deploycompress import data
from deploycompress.errors import DataRejectedError, UnsupportedError, UsageError
from deploycompress.records.signature import Signature

Takes = Callable[..., Signature]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "charming", "journey", '"', "not"]


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """A word tokenizer that frames sentences as BERT does."""
    made = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


@pytest.fixture
def bert(takes: Takes) -> Signature:
    """A model that takes the three inputs of BERT, any length."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    return takes(**dict.fromkeys(names, ("int64", "batch", "sequence")))


def test_tsv_is_read_with_quoting_off(tmp_path: Path, tokenizer: Path, bert: Signature) -> None:
    (tmp_path / "d.tsv").write_text('sentence\tlabel\n"charming a\t1\nnot a journey\t0\n')
    samples = data.open(str(tmp_path / "d.tsv"), bert, tokenizer=tokenizer)
    assert [sample.feed["input_ids"].tolist() for sample in samples] == [[[2, 7, 5, 4, 3]], [[2, 8, 4, 6, 3]]]
    assert [sample.label for sample in samples] == [1, 0]
    assert [sample.name for sample in samples] == ["d.tsv:2", "d.tsv:3"]


def test_csv_pairs_and_scores_are_read(tmp_path: Path, tokenizer: Path, bert: Signature) -> None:
    (tmp_path / "d.csv").write_text('text,text_pair,score\n"a, a",not,3.5\njourney,a,2\n')
    samples = list(data.open(str(tmp_path / "d.csv"), bert, tokenizer=tokenizer))
    encoded = Tokenizer.from_file(str(tokenizer)).encode("a, a", "not")
    assert samples[0].feed["input_ids"].tolist() == [encoded.ids]
    assert samples[0].feed["token_type_ids"].tolist() == [encoded.type_ids]
    assert 1 in encoded.type_ids
    assert [sample.label for sample in samples] == [3.5, 2]


def test_jsonl_is_padded_and_cut_to_the_length_of_the_model(tmp_path: Path, tokenizer: Path, takes: Takes) -> None:
    lines = [{"text": "a"}, {"text": "a journey not charming"}]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    signature = takes(input_ids=("int32", "b", 5), attention_mask=("int32", "b", 5))
    first, second = data.open(str(tmp_path / "d.jsonl"), signature, tokenizer=tokenizer)
    assert first.feed["input_ids"].tolist() == [[2, 4, 3, 0, 0]]
    assert first.feed["attention_mask"].tolist() == [[1, 1, 1, 0, 0]]
    assert second.feed["input_ids"].tolist() == [[2, 4, 6, 8, 3]]
    assert first.feed["input_ids"].dtype == np.int32
    assert first.label is None


def test_batches_hold_sentences_of_one_length(tmp_path: Path, tokenizer: Path, bert: Signature) -> None:
    (tmp_path / "d.csv").write_text("text\na\nnot\na a\na\n")
    samples = data.open(str(tmp_path / "d.csv"), bert, tokenizer=tokenizer)
    assert [batch.feed["input_ids"].shape for batch in samples.batches(8)] == [(2, 3), (1, 4), (1, 3)]


def test_bad_rows_are_listed_by_line(tmp_path: Path, tokenizer: Path, bert: Signature) -> None:
    (tmp_path / "d.csv").write_text("text,label\na,1\na,good\na\na,1,2\nnot,0\n")
    samples = data.open(str(tmp_path / "d.csv"), bert, tokenizer=tokenizer)
    assert len(samples) == 2
    assert samples.skipped == (
        data.Skipped("d.csv:3", "its label 'good' is not a number"),
        data.Skipped("d.csv:4", "the row does not have as many columns as the header"),
        data.Skipped("d.csv:5", "the row does not have as many columns as the header"),
    )


def test_missing_tokenizer_is_a_usage_error(tmp_path: Path, bert: Signature) -> None:
    (tmp_path / "d.csv").write_text("text\na\n")
    with pytest.raises(UsageError, match="text needs the tokenizer of the model; --tokenizer"):
        data.open(str(tmp_path / "d.csv"), bert)


def test_damaged_tokenizer_is_refused(tmp_path: Path, bert: Signature) -> None:
    (tmp_path / "d.csv").write_text("text\na\n")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DataRejectedError, match=r"t\.json: the tokenizer cannot be read"):
        data.open(str(tmp_path / "d.csv"), bert, tokenizer=tmp_path / "t.json")


def test_input_that_no_tokenizer_makes_is_named(tmp_path: Path, tokenizer: Path, takes: Takes) -> None:
    (tmp_path / "d.csv").write_text("text\na\n")
    with pytest.raises(UnsupportedError, match="the model takes 'pixel_values', which a tokenizer does not make"):
        data.open(str(tmp_path / "d.csv"), takes(pixel_values=("float32", "n", 3)), tokenizer=tokenizer)


def test_file_without_a_column_of_text_tells_which_it_has(tmp_path: Path, tokenizer: Path, bert: Signature) -> None:
    (tmp_path / "d.csv").write_text("words,label\na,1\n")
    with pytest.raises(DataRejectedError, match="it has the columns words, label; name the column of text one of text"):
        data.open(str(tmp_path / "d.csv"), bert, tokenizer=tokenizer)


def test_broken_json_is_refused(tmp_path: Path, tokenizer: Path, bert: Signature) -> None:
    (tmp_path / "d.jsonl").write_text('{"text": "a"}\n{"text": \n')
    with pytest.raises(DataRejectedError, match=r"d\.jsonl: it cannot be read"):
        data.open(str(tmp_path / "d.jsonl"), bert, tokenizer=tokenizer)
