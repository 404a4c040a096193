"""Every kind of bad data that other tools let pass, through the command line: caught by name, with its exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress import model as models
from deploycompress.cli import main
from tests.prototypes import classifier, pictures

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in a folder with net.onnx; gives exit code, standard output and error."""
    models.save(classifier(), tmp_path / "net.onnx")
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["deploycompress", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return call


def right() -> np.ndarray:
    return pictures(32)[0]


def zeros() -> None:
    np.savez("calib.npz", x=np.zeros((12, 3, 8, 10), np.float32))


def pixels() -> None:
    np.savez("calib.npz", x=np.rint(255 * right()).astype(np.float32))


def all_nan() -> None:
    np.savez("calib.npz", x=np.full((5, 3, 8, 10), np.nan, np.float32))


def all_infinite() -> None:
    np.savez("calib.npz", x=np.full((5, 3, 8, 10), np.inf, np.float32))


def channels_last() -> None:
    np.savez("calib.npz", x=right().transpose(0, 2, 3, 1))


def wrong_name() -> None:
    np.savez("calib.npz", xs=right(), other=right())


def integers_of_text() -> None:
    np.savez("calib.npz", x=right().astype(str))


def pickled() -> None:
    np.save("calib.npy", np.array([{"a": 1}], object), allow_pickle=True)
    Path("calib.npy").rename("calib.npz")


def empty_folder() -> None:
    Path("calib.npz").mkdir()


def ragged() -> None:
    Path("calib.npz").mkdir()
    for number, width in enumerate((9, 11, 12)):
        np.save(f"calib.npz/{number}.npy", np.zeros((3, 8, width), np.float32))


def truncated() -> None:
    np.savez("calib.npz", x=right())
    whole = Path("calib.npz").read_bytes()
    Path("calib.npz").write_bytes(whole[: len(whole) // 2])


def wrong_label_count() -> None:
    np.savez("calib.npz", x=right(), y=np.zeros(5, int))


REJECTED = [
    pytest.param(zeros, "constant samples", id="calibration-all-zeros"),
    pytest.param(pixels, "values on another scale", id="calibration-in-0-255-for-a-0-1-model"),
    pytest.param(all_nan, "input 'x' holds NaN (240 of 240 values, first at [0, 0, 0])", id="all-nan"),
    pytest.param(all_infinite, "input 'x' holds Inf (240 of 240 values, first at [0, 0, 0])", id="all-inf"),
    pytest.param(channels_last, "channels last? transpose(2, 0, 1) gives [3, 8, 10], which fits", id="nhwc-for-nchw"),
    pytest.param(wrong_name, "no array for input 'x'; is 'xs' a misspelling of it?", id="wrong-input-name"),
    pytest.param(integers_of_text, "input 'x' takes float32, the data is str", id="wrong-dtype"),
    pytest.param(pickled, "calib.npz", id="pickle"),
    pytest.param(empty_folder, "the folder is empty", id="empty-reader"),
    pytest.param(ragged, "input 'x' has shape [3, 8, 9], the model takes [3, 8, 10]", id="ragged-shapes"),
    pytest.param(truncated, "calib.npz", id="unreadable-file"),
    pytest.param(wrong_label_count, "it holds 5 labels for 32 samples", id="wrong-label-count"),
]


@pytest.mark.parametrize(("write", "said"), REJECTED)
def test_bad_data_are_rejected_by_both_commands_and_nothing_is_written(
    run: Run, write: Callable[[], None], said: str
) -> None:
    write()
    before = sorted(Path().rglob("*"))
    code, _, errors = run("doctor", "--calib", "calib.npz", "--model", "net.onnx")
    last = errors.splitlines()[-1]
    assert (code, last.startswith("error: "), said in last) == (4, True, True), errors
    code, _, errors = run("quantize", "net.onnx", "--calib", "calib.npz", "--no-measure")
    last = errors.splitlines()[-1]
    assert (code, last.startswith("error: "), said in last) == (4, True, True), errors
    assert "Traceback" not in errors
    assert sorted(Path().rglob("*")) == before


def one_nan_pixel() -> None:
    x = right()
    x[3, 1, 2, 4] = np.nan
    np.savez("calib.npz", x=x)


def copies() -> None:
    np.savez("calib.npz", x=np.concatenate([right(), right()]))


def one_constant() -> None:
    x = right()
    x[5] = 0.25
    np.savez("calib.npz", x=x)


def few() -> None:
    np.savez("calib.npz", x=right()[:4])


def one_class() -> None:
    x, y = pictures(384)
    chosen = np.flatnonzero(y == 3)
    others = np.flatnonzero(y != 3)[:28]
    rows = np.concatenate([chosen, others])
    np.savez("calib.npz", x=x[rows], y=y[rows])


WARNED = [
    pytest.param(
        one_nan_pixel, "unusable samples", "holds NaN (1 of 240 values, first at [1, 2, 4])", id="one-nan-pixel"
    ),
    pytest.param(copies, "duplicates", "32 of 64 samples (50 %) equal an earlier one", id="duplicates"),
    pytest.param(one_constant, "constant samples", "1 of 32 samples are constant (every value is 0.25)", id="constant"),
    pytest.param(few, "too few samples", "4 samples are too few", id="too-few"),
    pytest.param(one_class, "unbalanced classes", "48 of 76 samples (63 %) are of one of 8 classes", id="imbalance"),
]


@pytest.mark.parametrize(("write", "check", "said"), WARNED)
def test_doubtful_data_are_warned_of(run: Run, write: Callable[[], None], check: str, said: str) -> None:
    write()
    code, output, errors = run("doctor", "--calib", "calib.npz", "--model", "net.onnx")
    assert code == 0, errors
    assert f"warning: {check}: " in output
    assert said in output
    assert output.splitlines()[-1].startswith("1 warning: ")


def test_right_data_end_with_one_line(run: Run) -> None:
    np.savez("calib.npz", x=right(), y=pictures(32)[1])
    code, output, errors = run("doctor", "--calib", "calib.npz", "--model", "net.onnx", "--json", "found.json")
    assert code == 0, errors
    assert errors.startswith("deploycompress doctor\n  model")
    assert output.splitlines()[-1].startswith("the data look right: 32 samples, half of the scales settle within ")
    assert "float model: 100.0 % right on 32 samples" in output
    found = json.loads(Path("found.json").read_text())
    assert (found["symptoms"], found["samples"], found["accuracy"]["value"]) == ([], 32, 1.0)


def test_evaluation_samples_among_the_calibration_samples_are_named(run: Run) -> None:
    np.savez("calib.npz", x=right())
    np.savez("held.npz", x=np.concatenate([pictures(32, seed=1)[0], right()[:2]]))
    code, output, _ = run("doctor", "--calib", "calib.npz", "--model", "net.onnx", "--eval", "held.npz")
    assert code == 0
    assert "warning: overlap: 2 of 34 evaluation samples are calibration samples as well" in output
    assert "calib.npz[0] = held.npz[32], calib.npz[1] = held.npz[33]" in output


def test_float64_data_are_converted_with_a_note(run: Run) -> None:
    np.savez("calib.npz", x=right().astype(np.float64))
    code, output, _ = run("doctor", "--calib", "calib.npz", "--model", "net.onnx")
    assert code == 0
    assert "note: input 'x' was converted from float64 to float32" in output


def test_no_calibration_data_is_a_usage_error(run: Run) -> None:
    code, _, errors = run("quantize", "net.onnx")
    assert (code, "static int8 needs samples; give --calib DIR" in errors) == (2, True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--calib", "calib.npz"), "--calib needs --model"),
        (("--model", "net.onnx"), "--model needs --calib"),
        (("--eval", "held.npz"), "--eval needs --calib"),
    ],
)
def test_options_of_the_data_doctor_need_a_model_and_samples(run: Run, options: tuple[str, ...], said: str) -> None:
    code, _, errors = run("doctor", *options)
    assert code == 2
    assert f"error: {said}; give --calib DIR and --model FILE together" in errors


def test_refused_data_can_be_accepted_and_what_was_found_stands_in_the_result(run: Run) -> None:
    pixels()
    options = ("--calib", "calib.npz", "--no-measure", "--accept-data", "--json", "result.json")
    code, output, errors = run("quantize", "net.onnx", *options)
    assert code == 0, errors
    assert "note: values on another scale: input 'x' holds 0 to 255" in output
    assert any("values on another scale" in note for note in json.loads(Path("result.json").read_text())["notes"])
