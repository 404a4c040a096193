"""The calibration samples rebuild to the bit, come from the training part, and the manifest says so."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from deploycompress.records.reference import resolve

pytest.importorskip("sklearn")

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "calibration_data"


def test_samples_rebuild_to_the_same_bytes(tmp_path: Path) -> None:
    resolve("calibration_data/build.py:build", base=ROOT)(tmp_path)
    written = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file())
    assert written == ["digits/samples.npz", "manifest.json"]
    for name in written:
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_manifest_has_the_hash_of_what_lies_there() -> None:
    manifest = json.loads((FOLDER / "manifest.json").read_text())
    assert set(manifest) == {
        folder.name for folder in FOLDER.iterdir() if folder.is_dir() and folder.name[0] not in "._"
    }
    for name, entry in manifest.items():
        for file, expected in entry["sha256"].items():
            assert hashlib.sha256((FOLDER / name / file).read_bytes()).hexdigest() == expected
        for key in ("source", "licence", "made", "samples", "disjoint_from"):
            assert entry[key]


def test_samples_are_training_digits_and_no_others() -> None:
    samples = np.load(FOLDER / "digits" / "samples.npz", allow_pickle=False)["input"]
    assert samples.shape == (128, 1, 8, 8)
    parts = {
        name: {image.tobytes() for image in resolve(f"models/digits/data.py:{name}", base=ROOT)()["input"]}
        for name in ("train", "validation", "held_out")
    }
    chosen = {image.tobytes() for image in samples}
    assert len(chosen) == 128
    assert chosen <= parts["train"]
    assert not chosen & parts["validation"]
    assert not chosen & parts["held_out"]


def test_samples_hold_every_class_equally() -> None:
    train = resolve("models/digits/data.py:train", base=ROOT)()
    rows = resolve("calibration_data/build.py:balanced", base=ROOT)(train["label"], 128, 20240607)
    assert set(np.bincount(train["label"][rows], minlength=10)) == {12, 13}
