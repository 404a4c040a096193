"""Training data is checked once, with the sample at fault named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deploycompress.data import open as samples_of
from deploycompress.errors import DataRejectedError, UsageError
from deploycompress.records.signature import Signature, TensorSpec
from deploycompress.training import arrays


def write(folder: Path, body: str) -> str:
    (folder / "data.py").write_text(f"import numpy as np\ndef f():\n    return {body}\n")
    return "data.py:f"


def test_one_array_is_passed_by_position(tmp_path: Path) -> None:
    data = arrays.load(write(tmp_path, "np.ones((3, 2), np.float32), np.array([0, 1, 2], np.uint8)"), base=tmp_path)
    assert data.names == ()
    assert data.inputs[0].dtype == torch.float32
    assert data.labels.tolist() == [0, 1, 2]
    assert data.labels.dtype == torch.int64
    assert len(data) == 3


def test_dict_with_several_inputs_is_passed_by_keyword(tmp_path: Path) -> None:
    body = "{'input_ids': np.ones((2, 4), int), 'attention_mask': np.ones((2, 4), int), 'label': np.array([1, 0])}"
    data = arrays.load(write(tmp_path, body), base=tmp_path)
    assert data.names == ("input_ids", "attention_mask")
    assert data.labels.tolist() == [1, 0]


def test_dict_with_one_input_is_passed_by_position(tmp_path: Path) -> None:
    data = arrays.load(write(tmp_path, "{'input': np.ones((2, 4)), 'labels': np.zeros(2, int)}"), base=tmp_path)
    assert data.names == ()
    assert data.inputs[0].shape == (2, 4)


def test_training_and_the_reader_of_samples_agree_on_one_function(tmp_path: Path) -> None:
    reference = write(tmp_path, "{'input': np.arange(6, dtype=np.float32).reshape(3, 2), 'label': np.array([2, 0, 1])}")
    trained = arrays.load(reference, base=tmp_path)
    signature = Signature((TensorSpec("input", "float32", ("batch", 2)),), (TensorSpec("logits", "float32", None),))
    samples = list(samples_of(f"{tmp_path / 'data.py'}:f", signature))
    assert [sample.label for sample in samples] == trained.labels.tolist()
    assert np.array_equal(np.concatenate([sample.feed["input"] for sample in samples]), trained.inputs[0].numpy())


def test_fingerprint_sees_values_shape_and_labels(tmp_path: Path) -> None:
    bodies = [
        "np.zeros((4, 2), np.float32), np.zeros(4, int)",
        "np.zeros((4, 1, 2), np.float32), np.zeros(4, int)",
        "np.ones((4, 2), np.float32), np.zeros(4, int)",
        "np.zeros((4, 2), np.float32), np.ones(4, int)",
    ]
    prints = []
    for number, body in enumerate(bodies):
        folder = tmp_path / str(number)
        folder.mkdir()
        prints.append(arrays.load(write(folder, body), base=folder).fingerprint)
    assert len(set(prints)) == len(bodies)
    assert arrays.load(write(tmp_path, bodies[0]), base=tmp_path).fingerprint == prints[0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "np.full((3, 2), [[0, 1], [0, np.nan], [0, 1]]), np.zeros(3, int)",
            "inputs has a NaN or infinite value in sample 1",
        ),
        ("np.zeros((3, 2)), np.zeros(2, int)", r"inputs and labels have \[2, 3\] samples"),
        ("np.zeros((0, 2)), np.zeros(0, int)", r"inputs and labels have \[0\] samples"),
        ("np.zeros((3, 2)), np.zeros(3)", "labels are float64; return class numbers"),
        ("np.array(['a', 'b']), np.zeros(2, int)", "inputs is <U1 with 1 axes"),
        ("{'x': np.float32(3), 'y': np.float32(3), 'label': np.zeros(2, int)}", "x is float32 with 0 axes"),
    ],
)
def test_unusable_data_is_rejected(tmp_path: Path, body: str, message: str) -> None:
    with pytest.raises(DataRejectedError, match=message):
        arrays.load(write(tmp_path, body), base=tmp_path)


@pytest.mark.parametrize(
    "body", ["np.zeros(3)", "(1, 2, 3)", "None", "{'input': np.zeros(3)}", "{'label': np.zeros(3)}"]
)
def test_function_that_returns_no_labelled_arrays_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(
        UsageError, match=r"data\.py:f: it returned a .*; return a dict of arrays with the labels under"
    ):
        arrays.load(write(tmp_path, body), base=tmp_path)


def test_failing_function_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.py:f: calling it raised ZeroDivisionError: "):
        arrays.load(write(tmp_path, "1 / 0"), base=tmp_path)
