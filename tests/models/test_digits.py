"""The digits example: parts that share no sample, networks of the promised sizes, a recipe that is whole."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from deploycompress.flow.placing import placed
from deploycompress.records.recipe import Bench, Distill, Export, Quantize, Train, load
from deploycompress.records.reference import is_reference, resolve

pytest.importorskip("sklearn")
torch = pytest.importorskip("torch")

DIGITS = Path(__file__).resolve().parents[2] / "models" / "digits"


def part(name: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = resolve(f"data.py:{name}", base=DIGITS)()
    return found


def test_parts_share_no_sample_and_are_the_whole_set() -> None:
    rows = [set(numbers.tolist()) for numbers in resolve("data.py:rows", base=DIGITS)()]
    assert [len(numbers) for numbers in rows] == [1037, 160, 600]
    assert set.union(*rows) == set(range(1797))


@pytest.mark.parametrize(("name", "count"), [("train", 1037), ("validation", 160), ("held_out", 600)])
def test_part_has_scaled_pictures_of_every_class_in_equal_shares(name: str, count: int) -> None:
    data = part(name)
    assert data["input"].shape == (count, 1, 8, 8)
    assert data["input"].dtype == np.float32
    assert (data["input"].min(), data["input"].max()) == (0.0, 1.0)
    shares = np.bincount(data["label"], minlength=10) / count
    np.testing.assert_allclose(shares, 0.1, atol=0.01)


def test_student_is_at_least_ten_times_smaller_and_widths_suit_int8_kernels() -> None:
    weights = {}
    for name in ("teacher", "student"):
        module = resolve(f"model.py:{name}", base=DIGITS)()
        weights[name] = sum(parameter.numel() for parameter in module.parameters())
        for layer in module.modules():
            if isinstance(layer, torch.nn.Conv2d):
                assert layer.out_channels % 16 == 0
        docstring = resolve(f"model.py:{name}", base=DIGITS).__doc__ or ""
        assert f"{weights[name]:,} weights" in docstring
    assert weights["teacher"] > 10 * weights["student"]


def test_recipe_is_whole_and_keeps_the_held_out_part_for_the_benchmark() -> None:
    steps = placed(load(DIGITS / "recipe.yaml"), DIGITS)
    assert [step.kind for step in steps] == [
        *("train", "distill", "export", "export", "optimize", "optimize", "quantize", "bench")
    ]
    train, distill, export, _, _, _, quantize, bench = steps
    assert isinstance(train, Train)
    assert isinstance(distill, Distill)
    assert isinstance(export, Export)
    assert isinstance(quantize, Quantize)
    assert isinstance(bench, Bench)
    for reference in (train.model, train.data, train.eval, distill.student, distill.eval, export.source, bench.eval):
        assert reference is not None
        assert is_reference(reference)
        resolve(reference)
    assert quantize.calib is not None
    assert Path(quantize.calib).is_dir()
    for reference in (train.data, train.eval, distill.data, distill.eval):
        assert "held_out" not in str(reference)
    assert str(bench.eval).endswith("held_out")


def test_card_names_every_file_of_the_example() -> None:
    card = (DIGITS / "README.md").read_text()
    for name in ("recipe.yaml", "model.py", "data.py"):
        assert re.search(rf"`{re.escape(name)}`", card), name
