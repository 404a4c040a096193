"""The `calibrate` command as a user starts it, and `quantize --calibration`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deploycompress.cli.app import main
from tests.flow.test_quantize import samples, saved
from tests.quantization.nets import residual_net

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output and standard error of a command, in this process."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["deploycompress", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return command


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return saved(residual_net(), tmp_path)


def test_a_share_is_said_to_be_one_and_lies_beside_the_model(run: Run, model: Path, tmp_path: Path) -> None:
    code, out, err = run(
        "calibrate", model, "--calib", samples(tmp_path), "--shard", "2/3", "--target", "server-cpu-avx2"
    )
    assert code == 0, err
    output = tmp_path / "float.2of3.calib.json"
    assert err.startswith("deploycompress calibrate\n")
    last = out.splitlines()[-1]
    assert last.startswith(f"{output}: 6 tensors over 8 of 24 samples (share 2/3; join all with --merge), ")
    assert json.loads(output.read_text())["origin"]["shard"] == {"index": 2, "count": 3}


def test_quantize_reads_the_file_and_says_what_it_compared_on(run: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.calib.json"
    assert run("calibrate", model, "--calib", samples(tmp_path), "--target", "edge-arm64", "-o", path)[0] == 0
    code, out, err = run("quantize", model, "--calibration", path, "--target", "edge-arm64", "--no-measure")
    assert code == 0, err
    assert "calibrated on 24 of 24 samples: every sample was used\n" in out
    assert "random inputs, against the float model)" in out.splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ([], 2, "calibration needs samples; give --calib DIR"),
        (
            ["another.onnx", "--calib", "random"],
            2,
            "2 models are named; name one, or --merge to join calibration",
        ),
        (["--calib", "random", "--shard", "4/3"], 2, "--shard: there is no share '4/3'"),
        (["--calib", "random", "-o", "x.calib"], 2, "x.calib: a calibration file is called *.json"),
        (["--merge"], 2, "--merge needs a place to write; give -o X.calib.json"),
        (["--merge", "--calib", "random", "-o", "x.json"], 2, "--calib has no meaning with --merge"),
        (["--merge", "-o", "x.json"], 4, "float.onnx: it is not a calibration file"),
    ],
)
def test_wrong_request_ends_with_one_line_and_its_code(
    run: Run, model: Path, options: list[str], code: int, said: str
) -> None:
    ended, _, err = run("calibrate", model, *options)
    assert ended == code
    assert said in err.splitlines()[-1]
