"""Folders of pictures become labelled samples; damaged pictures are listed and never fed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploycompress import data
from deploycompress.errors import DataRejectedError, UnsupportedError, UsageError
from deploycompress.records.signature import Signature

Takes = Callable[..., Signature]


@pytest.fixture
def colour(takes: Takes) -> Signature:
    """A model that takes float32[n, 3, 8, 8]."""
    return takes(x=("float32", "n", 3, 8, 8))


def test_class_folders_are_read_in_order_with_labels(pictures: Path, colour: Signature) -> None:
    samples = data.open(str(pictures), colour, preprocess="raw")
    assert [sample.feed["x"][0, 0, 0, 0] for sample in samples] == [0, 1, 2, 10, 11, 12, 20, 21, 22]
    assert [sample.label for sample in samples] == [0] * 3 + [1] * 3 + [2] * 3
    assert (len(samples), samples.labelled, samples.valid_for_accuracy) == (9, True, True)
    assert [batch.feed["x"].shape for batch in samples.batches(4)] == [(4, 3, 8, 8), (4, 3, 8, 8), (1, 3, 8, 8)]


def test_limit_takes_from_every_class(pictures: Path, colour: Signature) -> None:
    samples = data.open(str(pictures), colour, preprocess="raw", limit=3)
    assert [sample.label for sample in samples] == [0, 1, 2]


def test_preprocessing_is_not_guessed(pictures: Path, colour: Signature) -> None:
    with pytest.raises(UsageError, match="images need to be told how the model was trained to see them"):
        data.open(str(pictures), colour)


def test_preprocessing_changes_the_fingerprint(pictures: Path, colour: Signature) -> None:
    raw, unit = (data.open(str(pictures), colour, preprocess=name).fingerprint for name in ("raw", "unit"))
    assert raw != unit


def test_bad_pictures_are_listed_and_good_ones_used(pictures: Path, colour: Signature) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(pictures / "cat" / "cut.png")
    whole = (pictures / "cat" / "cut.png").read_bytes()
    (pictures / "cat" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "cat" / "page.jpg").write_text("<!DOCTYPE html>")
    (pictures / "cat" / "readme.txt").write_text("hello")
    np.save(pictures / "cat" / "array.npy", np.zeros(3))
    shutil.copy(pictures / "dog" / "0.png", pictures / "dog" / "0.zip")
    Image.new("RGB", (9, 8)).save(pictures / "dog" / "wide.bmp")
    samples = data.open(str(pictures), colour, preprocess="raw")
    assert len(samples) == 9
    reasons = {skipped.path: skipped.reason for skipped in samples.skipped}
    expected = {
        "cat/cut.png": "damaged or truncated",
        "cat/page.jpg": "not a picture",
        "cat/readme.txt": "not one of .png, .jpg",
        "cat/array.npy": "a .npy file among samples of another kind",
        "dog/0.zip": "an archive; unpack it first",
        "dog/wide.bmp": "the picture is 8x9, the model takes 8x8",
    }
    assert reasons.keys() == expected.keys()
    for name, words in expected.items():
        assert words in reasons[name], name


def test_picture_that_decodes_to_an_absurd_size_is_refused(tmp_path: Path, colour: Signature) -> None:
    Image.new("1", (10_000, 10_000)).save(tmp_path / "bomb.png")  # 12 kB on disk, 100 million pixels
    with pytest.raises(DataRejectedError, match=r"bomb\.png: it is damaged or truncated \(Image size"):
        data.open(str(tmp_path), colour, preprocess="raw")


def test_labels_table_beside_the_folder_is_found_and_given_one_wins(pictures: Path, colour: Signature) -> None:
    flat = pictures.parent / "flat"
    flat.mkdir()
    for index, path in enumerate(sorted(pictures.rglob("*.png"))):
        shutil.copy(path, flat / f"{index}.png")
    (pictures.parent / "flat_labels.csv").write_text("file,class\n" + "".join(f"{i}.png,{i + 100}\n" for i in range(8)))
    samples = data.open(str(flat), colour, preprocess="raw")
    assert [sample.label for sample in samples] == list(range(100, 108))
    assert samples.skipped == (data.Skipped("8.png", "it has no label in the table"),)
    given = pictures.parent / "other.csv"
    given.write_text("".join(f"{i},{i}\n" for i in range(9)))
    assert [s.label for s in data.open(str(flat), colour, preprocess="raw", labels=given)] == list(range(9))


def test_table_inside_the_folder_is_not_listed_as_a_bad_sample(pictures: Path, colour: Signature) -> None:
    (pictures / "labels.csv").write_text("0,1\n1,1\n2,1\n")
    samples = data.open(str(pictures), colour, preprocess="raw")
    assert samples.skipped == ()
    assert {sample.label for sample in samples} == {1}
    given = pictures.parent / "given.csv"
    given.write_text("0,2\n1,2\n2,2\n")
    assert data.open(str(pictures), colour, preprocess="raw", labels=given).skipped == ()


def test_single_picture_is_a_sample(pictures: Path, colour: Signature) -> None:
    assert len(data.open(str(pictures / "cat" / "0.png"), colour, preprocess="unit")) == 1


def test_model_with_two_inputs_cannot_be_fed_pictures(pictures: Path, takes: Takes) -> None:
    with pytest.raises(UnsupportedError, match="pictures feed one input, the model has 2"):
        data.open(str(pictures), takes(x=("float32", "n", 3, 8, 8), y=("float32", "n")), preprocess="raw")
