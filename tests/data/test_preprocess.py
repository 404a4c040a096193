"""Preprocessing is named, never guessed; a wrong name or field is answered with the nearest right one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploycompress.data import preprocess
from deploycompress.data.preprocess import Preprocess
from deploycompress.errors import UnknownNameError, UsageError


def test_nothing_named_is_an_error_that_lists_the_presets() -> None:
    with pytest.raises(UsageError, match=r"--preprocess raw\|unit\|minus-one-one\|imagenet\|cifar10"):
        preprocess.find(None)


def test_misspelt_preset_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown preprocess preset 'imagnet'; did you mean imagenet"):
        preprocess.find("imagnet")


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_file_gives_the_fields(tmp_path: Path, suffix: str) -> None:
    fields = {"divisor": 255, "mean": [0.5, 0.5, 0.5], "std": 0.5, "resize": "stretch", "size": 32, "color": "bgr"}
    path = tmp_path / f"p{suffix}"
    path.write_text(json.dumps(fields))  # JSON is YAML, too
    assert preprocess.find(str(path)) == Preprocess(255.0, (0.5, 0.5, 0.5), (0.5,), "stretch", (32, 32), color="bgr")


def test_unknown_field_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="p: unknown preprocess field 'devisor'; did you mean divisor"):
        preprocess.parse({"devisor": 255}, "p")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"resize": "squash"}, "resize is 'squash'; choose from none, stretch, crop"),
        ({"divisor": 0}, "divisor and std must not be zero"),
        ({"std": [0.2, 0, 0.2]}, "divisor and std must not be zero"),
        ({"divisor": "255"}, "divisor is '255'"),
        ({"mean": [1, 2]}, r"mean is \[1, 2\]"),
        ({"size": [8, 8, 3]}, r"size is \[8, 8, 3\]"),
        ({"size": 0}, "size is 0"),
        ({"size": 8.5}, "size is 8.5"),
        ({"shorter_side_px": True}, "shorter_side_px is True"),
        ([1], "it must be a mapping of fields"),
    ],
)
def test_impossible_value_is_named(fields: object, reason: str) -> None:
    with pytest.raises(UsageError, match=f"p: {reason}"):
        preprocess.parse(fields, "p")


@pytest.mark.parametrize("content", [None, "a: [", "\x00"])
def test_unreadable_file_is_an_error_in_a_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UsageError, match=r"p\.yaml: the preprocessing cannot be read") as caught:
        preprocess.find(str(path))
    assert "\n" not in str(caught.value)
