"""Which metric is taken, and the one line that is said where it does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import DataRejectedError, UnknownNameError, UnsupportedError, UsageError
from deploycompress.measurement.metrics.choice import fitting, named

CODE = """
import numpy as np
def error(output, label):
    return float(np.abs(output - label).mean())
error.higher_is_better = False
def right(outputs, labels):
    return float((outputs.argmax(1) == labels).mean())
def odd(a, b):
    return 0.0
def raising(output, label):
    raise KeyError("no luck")
def nan(output, label):
    return float("nan")
number = 3
"""


@pytest.fixture
def code(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(CODE)
    return str(path)


@pytest.mark.parametrize(
    ("output", "labels", "name"),
    [
        (np.zeros((2, 3)), [0, 2], "top-1"),
        (np.array([1, 2]), [0, 2], "top-1"),
        (np.zeros((2, 1), np.float32), [0.5, 2.0], "pearson"),
        (np.zeros(2, np.float32), [1, 2], "pearson"),
    ],
)
def test_metric_follows_labels_and_output(output: np.ndarray, labels: list, name: str) -> None:
    assert fitting(output, labels).name == name


def test_arrays_as_labels_leave_the_choice_to_the_user() -> None:
    with pytest.raises(UnsupportedError, match="labels are arrays; name a metric: psnr, nll"):
        fitting(np.zeros((1, 2)), [np.zeros(2)])


def test_unknown_metric_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="unknown metric 'f1-micro'; did you mean f1-macro"):
        named("f1-micro")


@pytest.mark.parametrize(
    ("name", "output", "labels", "message"),
    [
        ("f1", np.zeros((2, 3)), [0, 1], "f1 is that of class 1 of two, and there are more classes; use f1-macro"),
        ("matthews", np.zeros((2, 3)), [0.5, 1], "matthews needs a class number for every sample.*0.5"),
        (
            "pearson",
            np.zeros((2, 3)),
            [0.5, 1.0],
            r"pearson needs one number a sample.*float64\[2, 3\]",
        ),
        ("pearson", np.array([1.0, np.nan]), [0.5, 1.0], "the output holds a NaN or infinity"),
        ("spearman", np.zeros(2), [0.5, None], "spearman needs a number as the label of every sample, and one .* none"),
        ("spearman", np.array(["a", "b"]), [0.5, 1.0], "spearman needs numbers, and the output is <U1"),
        (
            "psnr",
            np.zeros((1, 2, 2)),
            [3],
            r"needs a reference of the output's shape \[2, 2\], and one is int64\[\]",
        ),
        ("psnr", np.zeros((1, 2)), [np.full(2, 7.0)], "references of uint8, or of float between 0 and 1"),
        ("nll", np.zeros((1, 4, 5)), [3], r"nll needs labels int\[4\] for this output, and one is int64\[\]"),
        ("nll", np.zeros((1, 4, 5)), [np.full(4, -100)], "at least one token that counts"),
        ("perplexity", np.zeros(3), [0, 1, 2], r"perplexity needs scores \[samples, ..., classes\]"),
    ],
)
def test_metric_that_does_not_fit_is_refused_in_one_line(
    name: str, output: np.ndarray, labels: list, message: str
) -> None:
    with pytest.raises(UnsupportedError, match=message) as caught:
        named(name).table(output, labels)
    assert "\n" not in str(caught.value)


def test_token_that_is_no_class_is_rejected() -> None:
    with pytest.raises(DataRejectedError, match="label 5 is no class of the model, which has 5"):
        named("nll").table(np.zeros((1, 5)), [5])


def test_own_metric_of_one_sample_is_averaged(code: str) -> None:
    metric = named(f"{code}:error")
    table = metric.table(np.array([[1.0, 3.0], [2.0, 2.0]]), [1.0, 5.0])
    assert metric.of(table) == pytest.approx((1 + 3) / 2)
    assert not metric.higher_is_better


def test_own_metric_of_all_samples_sees_the_samples_of_a_draw(code: str) -> None:
    metric = named(f"{code}:right")
    table = np.concatenate([metric.table(np.eye(2), [0, 0]), metric.table(np.eye(2)[:1], [0])])
    assert metric.of(table) == pytest.approx(2 / 3)
    assert metric.value(table, np.array([[0.0, 2, 1], [3, 0, 0]])).tolist() == pytest.approx([1 / 3, 1.0])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("odd", r"parameters are \(a, b\); name them \(output, label\) for one sample"),
        ("number", "it is a int, not a function"),
        ("gone", "unknown name 'gone'"),
        ("raising", "it raised KeyError: 'no luck'"),
        ("nan", "it returned nan, which is no number to average"),
    ],
)
def test_own_metric_that_cannot_be_used_is_told_in_one_line(code: str, function: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        named(f"{code}:{function}").table(np.eye(2), [0, 1])
    assert "\n" not in str(caught.value)
