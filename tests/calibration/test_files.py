"""What is saved comes back bit for bit; what is damaged, foreign or hostile is refused in one line."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deploycompress.calibration.files import Calibration, arrays_path, load, save
from deploycompress.calibration.gram import Gram, LayerInput, Patches
from deploycompress.calibration.header import DataOrigin, Origin, Shard
from deploycompress.calibration.statistics import Statistics, TensorStatistics
from deploycompress.errors import CalibrationRejectedError, EnvironmentLacksError, UsageError
from deploycompress.records.files import sha256
from tests.zoo import normal

ORIGIN = Origin(
    package_version="0.1.0",
    model="m.onnx",
    model_sha256="a" * 64,
    target="server-cpu",
    rewrites=("FoldConstants",),
    data=DataOrigin(source="images", fingerprint="b" * 64, feeds=9, valid_for_accuracy=True, preprocess={"divisor": 2}),
)
DENSE = LayerInput("x", 3)
CONV = LayerInput("c", 2, patches=Patches((1, 2), (1, 1), (1, 1), (0, 0, 0, 0), 2, "SAME_UPPER"))


def statistics() -> Statistics:
    tensors = {
        "x": TensorStatistics.of(normal(4, 3), channel_axis=1),
        "weird/name \u00e9": TensorStatistics.of(normal(50, seed=1) * 1e-30),
        "never": TensorStatistics(),
        "nan": TensorStatistics.of(np.array([np.nan, 1], np.float32)),
    }
    grams = {DENSE: Gram.of(DENSE, normal(5, 3)), CONV: Gram(7, np.ones((2, 2)) / 3, np.ones((2, 2, 2)) / 7)}
    return Statistics(tensors, 9, grams, {"inner": "it lies in a loop"})


def same(a: Statistics, b: Statistics) -> None:
    """Bit for bit."""
    assert (a.samples, list(a), dict(a.left), list(a.grams)) == (b.samples, list(b), dict(b.left), list(b.grams))
    for name in a:
        one, other = a[name], b[name]
        assert (one.count, one.low, one.high, one.nonfinite) == (other.count, other.low, other.high, other.nonfinite)
        assert one.histogram.exponent == other.histogram.exponent
        for first, second in (
            (one.histogram.counts, other.histogram.counts),
            (one.channel_sums, other.channel_sums),
            (one.channel_low, other.channel_low),
            (one.channel_high, other.channel_high),
        ):
            assert (first is None) == (second is None)
            assert first is None or first.tobytes() == second.tobytes()  # type: ignore[union-attr]
    for layer, gram in a.grams.items():
        assert gram.count == b.grams[layer].count
        assert gram.sums.tobytes() == b.grams[layer].sums.tobytes()
        assert gram.products.tobytes() == b.grams[layer].products.tobytes()


def test_everything_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "m.calib.json"
    save(Calibration(ORIGIN, statistics()), path)
    found = load(path)
    assert found.origin == ORIGIN
    same(found.statistics, statistics())
    assert {file.name for file in tmp_path.iterdir()} == {"m.calib.json", "m.calib.npz"}


VALUES = hnp.arrays(np.float32, st.integers(0, 12), elements=st.floats(width=32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, shard=st.none() | st.builds(Shard, index=st.just(1), count=st.just(3)), samples=st.integers(1, 3))
def test_any_numbers_come_back_bit_for_bit(
    tmp_path: Path, values: np.ndarray, shard: Shard | None, samples: int
) -> None:
    made = Statistics({"x": TensorStatistics.of(values, channel_axis=0)}, samples)
    save(Calibration(ORIGIN.model_copy(update={"shard": shard}), made), tmp_path / "x.json")
    found = load(tmp_path / "x.json")
    assert found.origin.shard == shard
    same(found.statistics, made)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "m.calib.json"
    save(Calibration(ORIGIN, statistics()), path)
    return path


def edited(path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def with_arrays(path: Path, **changed: np.ndarray | None) -> Path:
    """The file with other arrays, and the sha256 that belongs to them: damage nobody can see from outside."""
    with np.load(arrays_path(path)) as stored:
        arrays = dict(stored)
    arrays.update({name.replace("__", "/"): array for name, array in changed.items()})  # type: ignore[misc]
    np.savez(arrays_path(path), **{name: array for name, array in arrays.items() if array is not None})  # type: ignore[arg-type]
    return signed(path)


def signed(path: Path) -> Path:
    return edited(path, lambda content: content.update(arrays_sha256=sha256(arrays_path(path))))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


TEXTS = {
    "empty": (b"", "it is not a calibration file; deploycompress calibrate makes one"),
    "binary": (b"\x80\x04\x95", "it is not a calibration file"),
    "other JSON": (b'{"a": 1}', "it is not a calibration file"),
    "a list": (b"[]", "it is not a calibration file"),
    "deep": (b'{"format":' + b"[" * 100_000, "it is not a calibration file"),
    "older": (
        b'{"format": "deploycompress calibration", "schema_version": 0}',
        "its schema version is 0, this deploycompress reads 2; make it again",
    ),
    "newer": (b'{"format": "deploycompress calibration", "schema_version": 3}', "its schema version is 3"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    content, said = TEXTS[name]
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(CalibrationRejectedError, match=f"x.json: {said}") as refused:
        load(tmp_path / "x.json")
    assert refused.value.exit_code == 4


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "unknown key": (lambda c: c.update(pickle="x"), "pickle: Extra inputs are not permitted"),
    "missing key": (lambda c: c.pop("origin"), "origin: Field required"),
    "NaN count": (lambda c: c["tensors"][0].update(count=float("nan")), r"tensors\.0\.count: Input should be a finite"),
    "half a count": (lambda c: c["tensors"][0].update(count=1.5), r"tensors\.0\.count: Input should be a valid int"),
    "negative count": (lambda c: c["tensors"][0].update(count=-1), r"tensors\.0\.count: .* greater than or equal to 0"),
    "NaN bound": (lambda c: c["tensors"][0].update(low=float("nan")), r"tensors\.0\.low: it is NaN"),
    "infinite bound": (lambda c: c["tensors"][0].update(high="Infinity"), "between .* and inf cannot be"),
    "crossed bounds": (lambda c: c["tensors"][0].update(low=9.0, high=-9.0), "between 9.0 and -9.0 cannot be"),
    "elements without bounds": (lambda c: c["tensors"][2].update(count=5), "5 elements between inf and -inf cannot be"),
    "no samples": (lambda c: c.update(samples=0), "samples: .* greater than or equal to 1"),
    "too many samples": (lambda c: c.update(samples=10), "it claims 10 samples where there are 9"),
    "impossible share": (lambda c: c["origin"].update(shard={"index": 4, "count": 3}), "shard 4 of 3 does not exist"),
    "twice": (lambda c: c["tensors"].append(c["tensors"][0]), "a tensor occurs twice"),
    "short hash": (lambda c: c["origin"].update(model_sha256="abc"), r"origin\.model_sha256: String should match"),
    "other arrays": (
        lambda c: c.update(arrays_sha256="c" * 64),
        r"npz: it is not the file that m.calib.json",
    ),
    "lie about a shape": (
        lambda c: c["tensors"][0].update(channels=10**15),
        r"'channel_high/0' is float64\[3\] and should",
    ),
    "lie about a Gram matrix": (
        lambda c: c["grams"][0]["layer"].update(features=10**7),
        r"gram_products/0' is",
    ),
    "exponent of another world": (lambda c: c["tensors"][0].update(exponent=10**9), r"tensors\.0\.exponent"),
    "more elements than counted": (lambda c: c["tensors"][0].update(count=11), "histogram of 'x' does not hold"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_header_that_cannot_be_is_refused_by_its_key(saved: Path, name: str) -> None:
    edit, said = EDITS[name]
    with pytest.raises(CalibrationRejectedError, match=said) as refused:
        load(edited(saved, edit))
    assert "\n" not in str(refused.value)


def test_truncated_arrays_are_refused(saved: Path) -> None:
    truncate(arrays_path(saved))
    with pytest.raises(CalibrationRejectedError, match=r"npz: it is not the file that m\.calib\.json was written with"):
        load(saved)
    with pytest.raises(CalibrationRejectedError, match=r"npz: it is damaged or truncated .*; make it again"):
        load(signed(saved))


def test_missing_arrays_are_named(saved: Path) -> None:
    arrays_path(saved).unlink()
    with pytest.raises(CalibrationRejectedError, match=r"npz: its arrays cannot be read: No such file.*beside"):
        load(saved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CalibrationRejectedError, match=r"absent\.json: it cannot be read: No such file"):
        load(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"histograms": np.zeros((4, 2048), np.int32)}, r"'histograms' is int32\[4, 2048\]|\(4, 2048\)"),
        ({"histograms": np.zeros((5, 2048), np.int64)}, "'histograms' is int64"),
        ({"histograms": np.full((4, 2048), -1)}, "histogram of 'x' does not hold"),
        ({"channel_sums__0": None}, "array 'channel_sums/0' is missing"),
        ({"surprise": np.zeros(1)}, "array 'surprise' is not one it should hold"),
        ({"channel_sums__0": np.array([1, np.nan, 2])}, "an array of 'x' holds NaN or infinity"),
        ({"gram_products__1": np.full((2, 2, 2), np.inf)}, "an array of 'c' holds NaN or infinity"),
    ],
)
def test_arrays_that_are_not_what_the_header_says_are_refused(
    saved: Path, changed: dict[str, np.ndarray | None], said: str
) -> None:
    with pytest.raises(CalibrationRejectedError, match=said):
        load(with_arrays(saved, **changed))


class Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


def test_pickles_are_never_loaded(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(arrays_path(saved), histograms=np.array([Bomb()], object))
    with pytest.raises(CalibrationRejectedError, match="it holds pickled objects, which run code when read"):
        load(signed(saved))
    arrays_path(saved).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CalibrationRejectedError, match="it is damaged or truncated"):
        load(signed(saved))
    assert not Path("exploded").exists()


def test_a_bomb_is_not_inflated(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    save(Calibration(ORIGIN, Statistics({"x": TensorStatistics.of(normal(2, 3), channel_axis=1)}, 1)), path)
    size = 1 << 26  # 512 MiB of zeros, which deflate to 0.5 MB
    with zipfile.ZipFile(arrays_path(path), "a", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("gram_products/0.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array_header_1_0(
                stream, {"descr": "<f8", "fortran_order": False, "shape": (1, 8192, 8192)}
            )
            for _ in range(size // (1 << 20)):
                stream.write(bytes(1 << 20))
        with archive.open("gram_sums/0.npy", "w") as stream:
            np.lib.format.write_array(stream, np.zeros((1, 8192)))
    gram = {"layer": {"tensor": "x", "features": 8192}, "count": 1}
    edited(path, lambda content: content.update(grams=[gram]))
    with pytest.raises(CalibrationRejectedError, match=r"its arrays need 536\d+ bytes and it has"):
        load(signed(path))


def test_an_old_pair_survives_a_failure_while_writing(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("deploycompress.calibration.files.sha256", interrupted)
    before = {file.name: file.read_bytes() for file in saved.parent.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        save(Calibration(ORIGIN, Statistics({}, 1)), saved)
    assert {file.name: file.read_bytes() for file in saved.parent.iterdir()} == before


def test_a_name_that_is_not_json_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a calibration file is called \*\.json.*give -o .*x\.calib\.json"):
        save(Calibration(ORIGIN, statistics()), tmp_path / "x")


def test_a_folder_that_cannot_be_written_is_an_environment_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentLacksError, match="cannot write it"):
        save(Calibration(ORIGIN, statistics()), tmp_path / "file" / "x.json")
