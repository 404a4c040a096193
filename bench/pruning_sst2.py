"""A fine-tuned SST-2 encoder pruned to 1.5x measured speed-up, one shot: second-order against magnitude.

    deploycompress run models/sst2_minilm/recipe.yaml    (its first step trains the encoder)
    python bench/pruning_sst2.py

What may go are heads and hidden features of the feed-forward layers; the residual stream stays for all. Scores and
repair see 512 training sentences of 32 tokens or more, cut to 32 so that none is padded; accuracy is that of the 872
sentences of the dev file. "even": the same share of every group; "allocated": by measured time and output error.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from shared import REPOSITORY, WORK, markdown

from deploycompress import prune, targets
from deploycompress.records.pruning import Allocation, Score
from deploycompress.report import words
from deploycompress.training import exporters
from deploycompress.training.example import BATCH, Inputs
from deploycompress.training.quiet import quiet

FOLDER = REPOSITORY / "models" / "sst2_minilm"
CHECKPOINT = REPOSITORY / "build" / "sst2_minilm" / "teacher.safetensors"
TARGET = targets.load("server-cpu-avx2").model_copy(update={"threads": 1})
WANTED, TOKENS = 1.5, 32
ROWS: tuple[tuple[str, Score, Allocation, bool], ...] = (
    ("magnitude, even", "l2", "uniform", False),
    ("second-order, allocated, repaired", "second-order", "latency", True),
    ("magnitude, even, repaired", "l2", "uniform", True),
    ("second-order, even, repaired", "second-order", "uniform", True),
    ("magnitude, allocated, repaired", "l2", "latency", True),
)


def encoder() -> Path:
    """The trained encoder with a free number of tokens, exported where it is absent."""
    path = WORK / "sst2-encoder.onnx"
    if not path.is_file():
        sys.path.insert(0, str(FOLDER))
        from model import teacher

        module = teacher().eval()
        module.load_state_dict(load_file(CHECKPOINT))
        example = module.example_inputs()
        axes = tuple({0: BATCH, 1: "tokens"} for _ in example)
        inputs = Inputs(tuple(example), tuple(example.values()), axes)
        with quiet(), torch.no_grad():
            exporters.export("dynamo", module, inputs, ["logits"], path, 18)
    return path


def calibration() -> dict[str, np.ndarray]:
    """512 training sentences without padding: input_ids and attention_mask int64 [512, TOKENS]."""
    sys.path.insert(0, str(FOLDER))
    from data import train

    found = train()
    long = np.flatnonzero(found["attention_mask"].sum(axis=1) >= TOKENS)
    chosen = long[np.linspace(0, len(long) - 1, 512).astype(int)]
    return {name: found[name][chosen, :TOKENS] for name in ("input_ids", "attention_mask")}


def main() -> None:
    """Prints the table, and keeps it in build/bench."""
    rows = []
    for title, score, allocation, repair in ROWS:
        result = prune(
            encoder(),
            WORK / f"sst2-{score}-{allocation}-{repair}.onnx",
            target=TARGET,
            speedup=WANTED,
            score=score,
            allocation=allocation,
            calib=f"{__file__}:calibration",
            exclude=["logits"],
            eval_data=f"{FOLDER / 'data.py'}:dev",
            round_to=16,
            repair=repair,
        )
        assert result.accuracy is not None
        assert result.comparison is not None
        speed = f"{words.against(result.comparison)} {words.ratio_interval(result.comparison)}"
        macs = f"-{100 * (1 - result.macs_after / result.macs_before):.1f} %"
        rows.append([title, speed, macs, f"{100 * result.accuracy.value:.1f}", words.drop(result.accuracy) or ""])
        print(*rows[-1], sep=" | ", flush=True)
    table = markdown(["pruned by", "measured", "multiplications", "accuracy", "drop"], rows)
    (WORK / "pruning-sst2.md").write_text(table + "\n")
    print(table)


if __name__ == "__main__":
    main()
