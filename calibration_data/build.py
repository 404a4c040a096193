"""models/digits/data.py -> digits/samples.npz, and manifest.json for all sets; bit for bit the same every time.

Usage: python calibration_data/build.py
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from deploycompress.records.files import atomic, write_text
from deploycompress.records.reference import resolve

HERE = Path(__file__).resolve().parent
SAMPLES, SEED = 128, 20240607


def digits(folder: Path) -> dict[str, Any]:
    """Writes 128 training digits, drawn class by class in equal shares, into `folder`; returns their manifest entry."""
    training = resolve("models/digits/data.py:train", base=HERE.parent)()
    chosen = training["input"][balanced(training["label"], SAMPLES, SEED)]
    content = npz({"input": chosen})
    with atomic(folder / "samples.npz") as temporary:
        temporary.write_bytes(content)
    return {
        "sha256": {"samples.npz": hashlib.sha256(content).hexdigest()},
        "samples": len(chosen),
        "inputs": {"input": f"{chosen.dtype} [{', '.join(map(str, chosen.shape))}], values 0..1"},
        "source": "scikit-learn load_digits: the test part of UCI Optical Recognition of Handwritten Digits "
        "(Alpaydin & Kaynak 1998, https://doi.org/10.24432/C50P49)",
        "licence": "CC BY 4.0 (UCI Machine Learning Repository)",
        "made": f"python calibration_data/build.py: equal shares of every class of the training part of "
        f"models/digits/data.py, seed {SEED}",
        "disjoint_from": "the validation and held-out parts of models/digits/data.py",
    }


def balanced(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Row numbers of `count` samples, as equally many of each class as can be, in ascending order."""
    order = np.random.default_rng(seed).permutation(len(labels))
    turn = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        of_class = order[labels[order] == label]
        turn[of_class] = np.arange(len(of_class))
    return np.sort(np.lexsort((labels, turn))[:count])


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """An uncompressed .npz without the time of its making, which numpy.savez leaves to the zip library."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
    return buffer.getvalue()


def build(folder: Path) -> None:
    """Writes every set and the manifest below `folder`."""
    manifest = {"digits": digits(folder / "digits")}
    write_text(folder / "manifest.json", json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    build(HERE)
