"""Saved calibrations through the flows: one pass, shares, and a quantized file that does not know the difference."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from deploycompress import data, targets
from deploycompress import model as models
from deploycompress.calibration import Statistics, files
from deploycompress.calibration.header import Shard
from deploycompress.calibration.ranges import RANGE_METHODS
from deploycompress.errors import CalibrationRejectedError, DataRejectedError, ModelRejectedError, UsageError
from deploycompress.flow.calibrate import calibrate, merge
from deploycompress.flow.gathering import FromSamples
from deploycompress.flow.planner import Planner
from deploycompress.flow.quantize import quantize
from deploycompress.flow.quantized import QuantizeResult
from deploycompress.records.formats import Format
from deploycompress.records.progress import silent
from deploycompress.runtime.session import SessionConfig
from tests.flow.test_quantize import TARGET, samples, saved
from tests.quantization.nets import residual_net
from tests.zoo import model, normal

T = TypeVar("T")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return saved(residual_net(), tmp_path)


@pytest.fixture
def calibrated(source: Path, tmp_path: Path) -> Path:
    calibrate(source, tmp_path / "x.calib.json", calib=samples(tmp_path), target=TARGET)
    return tmp_path / "x.calib.json"


def constants(path: Path) -> dict[str, np.ndarray]:
    values = models.load(path).graph.initializers.values()
    return {str(value.name): value.const_value.numpy() for value in values if value.const_value is not None}


def int8(source: Path, output: str, **options: object) -> QuantizeResult:
    return quantize(source, source.parent / output, target=TARGET, measure=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("exclude", [(), ("c?",)])
def test_a_saved_calibration_gives_the_same_file_as_its_samples(
    source: Path, calibrated: Path, exclude: tuple[str, ...]
) -> None:
    direct = int8(source, "a.onnx", calib=samples(source.parent), exclude=exclude, all_samples=True)
    from_file = int8(source, "b.onnx", calibration=calibrated, exclude=exclude)
    one, other = constants(direct.output), constants(from_file.output)
    assert one.keys() == other.keys()
    for name, array in one.items():
        # Other taps, so ONNX Runtime fuses other nodes and float sums end in other bits; codes of biases are large.
        np.testing.assert_allclose(array, other[name], rtol=1e-5, atol=1 if array.dtype == np.int32 else 0)
    assert (from_file.samples, from_file.available, from_file.ended) == (24, 24, "every sample was used")
    assert from_file.fingerprint == direct.fingerprint
    assert (direct.compared_on, from_file.compared_on) == ("samples", "random inputs")


def test_samples_given_too_serve_the_comparison(source: Path, calibrated: Path) -> None:
    direct = int8(source, "a.onnx", calib=samples(source.parent), all_samples=True)
    both = int8(source, "b.onnx", calib=samples(source.parent), calibration=calibrated)
    assert both.fidelity == direct.fidelity
    assert both.compared_on == "samples"


def test_three_processes_and_a_merge_are_one_pass(source: Path, calibrated: Path, tmp_path: Path) -> None:
    calib = samples(tmp_path)
    code = "from deploycompress.cli import main; main()"
    paths = [tmp_path / f"{n}.json" for n in (1, 2, 3)]
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-c", code, "calibrate", source, "--calib", calib, "--target", TARGET.name),
                *("--shard", f"{n}/3", "-o", path),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for n, path in enumerate(paths, 1)
    ]
    assert [process.wait() for process in started] == [0, 0, 0]
    result = merge(paths, tmp_path / "all.json")
    assert (result.samples, result.available, result.shard) == (24, 24, None)
    found, whole = files.load(tmp_path / "all.json"), files.load(calibrated)
    assert found.origin == whole.origin
    assert set(found.statistics) == set(whole.statistics)
    for name, tensor in whole.statistics.items():
        other = found.statistics[name]
        assert (tensor.count, tensor.low, tensor.high) == (other.count, other.low, other.high)
        np.testing.assert_array_equal(tensor.histogram.counts, other.histogram.counts)
        for method in RANGE_METHODS.values():
            assert method(tensor) == method(other)


def test_a_share_alone_is_not_quantized_with(source: Path, tmp_path: Path) -> None:
    part, calib = tmp_path / "1.json", samples(tmp_path)
    result = calibrate(source, part, calib=calib, target=TARGET, shard=Shard(index=1, count=5))
    assert (result.samples, result.available, result.shard) == (5, 24, "1/5")
    with pytest.raises(CalibrationRejectedError, match=r"1\.json: it holds share 1/5 of the samples alone; join all"):
        int8(source, "b.onnx", calibration=part)


def test_an_empty_share_is_refused(source: Path, tmp_path: Path) -> None:
    calib = samples(tmp_path, count=2)
    with pytest.raises(UsageError, match="--shard: share 3/3 of 2 samples is empty; make fewer shares"):
        calibrate(source, tmp_path / "3.json", calib=calib, target=TARGET, shard=Shard(index=3, count=3))


def test_another_model_is_refused_by_name(calibrated: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    models.save(residual_net("Clip(c0)"), other)
    with pytest.raises(CalibrationRejectedError, match=r"x\.calib\.json: it was made for another model, .*float\.onnx"):
        int8(other, "b.onnx", calibration=calibrated)


def test_other_samples_are_refused_by_name(source: Path, calibrated: Path, tmp_path: Path) -> None:
    with pytest.raises(CalibrationRejectedError, match=r"made from another number of samples|made from other samples"):
        int8(source, "b.onnx", calibration=calibrated, calib=samples(tmp_path, count=23))
    np.savez(tmp_path / "calibration.npz", x=normal(24, 3, 8, 8, seed=5))
    with pytest.raises(
        CalibrationRejectedError, match=r"other samples \(24 samples of .*npz, fingerprint .*; give the"
    ):
        int8(source, "b.onnx", calibration=calibrated, calib=str(tmp_path / "calibration.npz"))
    assert not (tmp_path / "b.onnx").exists()


def test_another_preprocessing_or_tokenizer_is_refused_by_name(source: Path, calibrated: Path) -> None:
    with pytest.raises(CalibrationRejectedError, match="it was made with another preprocessing than imagenet: none"):
        int8(source, "b.onnx", calibration=calibrated, preprocess="imagenet")
    with pytest.raises(CalibrationRejectedError, match=r"it was made with another tokenizer than .*float\.onnx"):
        int8(source, "b.onnx", calibration=calibrated, tokenizer=source)


def test_pictures_carry_their_preprocessing(tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for number in range(9):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pictures" / f"{number}.png")
    source, calib, path = saved(residual_net(), tmp_path), str(tmp_path / "pictures"), tmp_path / "x.json"
    calibrate(source, path, calib=calib, target=TARGET, preprocess="unit")
    same = tmp_path / "same.yaml"
    same.write_text("divisor: 255")
    assert int8(source, "b.onnx", calibration=path, calib=calib, preprocess=str(same)).samples == 9
    with pytest.raises(CalibrationRejectedError, match=r"another preprocessing than raw: divisor 255.0, not 1.0; give"):
        int8(source, "b.onnx", calibration=path, preprocess="raw")


def test_a_target_that_needs_other_tensors_names_the_missing_one(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    inputs_only = TARGET.model_copy(update={"quant": TARGET.quant.model_copy(update={"quantize_outputs": False})})
    calibrate(source, path, calib=samples(tmp_path), target=inputs_only)
    with pytest.raises(
        CalibrationRejectedError, match=r"it has no statistics of tensor 'c1'; it was made for target .*"
    ):
        int8(source, "b.onnx", calibration=path)


def test_other_rewrites_are_refused(source: Path, calibrated: Path) -> None:
    found = files.load(calibrated)
    origin = found.origin.model_copy(update={"rewrites": ("FoldBatchNormalization",)})
    files.save(files.Calibration(origin, found.statistics), calibrated)
    with pytest.raises(
        CalibrationRejectedError, match="it was made after the rewrite FoldBatchNormalization, which can"
    ):
        int8(source, "b.onnx", calibration=calibrated)


def test_the_rewrites_of_the_file_are_those_applied(tmp_path: Path) -> None:
    net = model(
        """g (float[N,3,8,8] x) => (float[N,8,6,6] y) {
            c = Conv(x, w)  n = BatchNormalization(c, g, b, m, v)  y = Relu(n) }""",
        w=normal(8, 3, 3, 3),
        g=np.ones(8, np.float32),
        b=normal(8),
        m=normal(8),
        v=np.ones(8, np.float32),
    )
    source, path = saved(net, tmp_path), tmp_path / "x.json"
    result = calibrate(source, path, calib=samples(tmp_path), target=TARGET)
    assert "FoldBatchNormalization" in result.rewrites
    assert int8(source, "b.onnx", calibration=path).rewrites == result.rewrites


def test_random_data_is_stamped_in_both(source: Path, tmp_path: Path) -> None:
    result = calibrate(source, tmp_path / "x.json", calib="random:8", target=TARGET)
    assert any("CALIBRATED ON RANDOM DATA" in note for note in result.notes)
    assert any("CALIBRATED ON RANDOM" in note for note in int8(source, "b.onnx", calibration=result.output).notes)


def test_nan_is_refused_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "nan.npz", x=np.full((4, 3, 8, 8), np.nan, np.float32))
    with pytest.raises((DataRejectedError, ModelRejectedError), match="NaN"):
        calibrate(source, tmp_path / "x.json", calib=str(tmp_path / "nan.npz"), target=TARGET)
    assert not (tmp_path / "x.json").exists()


def test_ctrl_c_leaves_nothing(source: Path, tmp_path: Path) -> None:
    def interrupted(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
        for number, item in enumerate(items):
            if description == "calibrating" and number == 3:
                raise KeyboardInterrupt
            yield item

    calib = samples(tmp_path)
    before = set(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        calibrate(source, tmp_path / "x.json", calib=calib, target=TARGET, track=interrupted)
    assert set(tmp_path.iterdir()) == before


def test_dynamic_int8_reads_no_calibration(source: Path, calibrated: Path) -> None:
    with pytest.raises(UsageError, match="dynamic int8 has no use for saved ranges; leave --calibration"):
        int8(source, "b.onnx", calibration=calibrated, form=Format("dynamic"))


def test_merging_nothing_or_one_twice_is_refused(calibrated: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is nothing to merge"):
        merge([], tmp_path / "all.json")
    with pytest.raises(UsageError, match=r"x\.calib\.json: it is named twice"):
        merge([calibrated, calibrated], tmp_path / "all.json")
    with pytest.raises(UsageError, match="the output is the input"):
        merge([calibrated], calibrated)


def test_a_name_that_is_not_json_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"called \*\.json"):
        calibrate(tmp_path / "absent.onnx", tmp_path / "x.calib", calib="nowhere", target=TARGET)


def test_calibration_ends_when_the_ranges_have_settled(source: Path, tmp_path: Path) -> None:
    calib = samples(tmp_path, count=200)
    early = int8(source, "a.onnx", calib=calib)
    assert early.samples in (64, 128)
    assert (early.available, early.ended) == (200, "the ranges had settled")
    every = int8(source, "b.onnx", calib=calib, all_samples=True)
    assert (every.samples, every.ended) == (200, "every sample was used")
    # The rule bounds the error of each range, so the outputs are as close as with all samples, to about a decibel.
    assert abs(early.fidelity.sqnr_db - every.fidelity.sqnr_db) < 1.0


def test_random_samples_are_all_used(source: Path) -> None:
    assert int8(source, "a.onnx", calib="random:400").samples == 400


def test_a_folder_sorted_by_class_does_not_end_on_the_first_class(source: Path, tmp_path: Path) -> None:
    # 100 faint samples, then 100 strong ones: the first hundred agree with one another, and say nothing of the rest.
    values = normal(200, 3, 8, 8) * np.repeat([0.01, 10], 100)[:, None, None, None].astype(np.float32)
    np.savez(tmp_path / "sorted.npz", x=values)
    result = int8(source, "a.onnx", calib=str(tmp_path / "sorted.npz"))
    assert float(constants(result.output)["x_scale"]) > 0.1


def test_a_second_look_takes_as_many_samples_as_the_first(tmp_path: Path) -> None:
    net = model(
        """g (float[N,3,8,8] x) => (float[N,4,4,4] y) {
            a = Conv<pads=[1,1,1,1]>(x, w0)  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
            b = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w0)
            s = Add(m, b)
            y = Conv(s, w1) }""",
        w0=normal(4, 3, 3, 3),
        w1=normal(4, 4, 1, 1),
    )
    opened = data.open(samples(tmp_path, count=600), models.signature(net))
    config, calls = SessionConfig(threads=1), []

    def gather(tensors: Sequence[str], samples: int | None = None) -> Statistics:
        calls.append((tuple(tensors), samples))
        return FromSamples(net, opened, config, "mse", silent)(tensors, samples)

    planner = Planner(net, TARGET, "mse", gather, config)
    planner.plan(frozenset())
    assert planner.statistics is not None
    first = planner.statistics.samples
    assert first < 600
    planner.plan(frozenset({"a"}))
    assert calls[1:] == [(("m",), first)]
    # Four channels of 16 elements in every sample.
    assert planner.statistics["m"].count == first * 4 * 16


def test_the_second_look_is_at_all_that_any_exclusion_can_need(tmp_path: Path) -> None:
    net = model(
        """g (float[N,3,8,8] x) => (float[N,4,4,4] y) {
            a = Conv<pads=[1,1,1,1]>(x, w0)  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
            b = Conv<pads=[1,1,1,1]>(x, w0)  n = MaxPool<kernel_shape=[2,2], strides=[2,2]>(b)
            s = Add(m, n)
            y = Conv(s, w1) }""",
        w0=normal(4, 3, 3, 3),
        w1=normal(4, 4, 1, 1),
    )
    opened = data.open(samples(tmp_path), models.signature(net))
    config, calls = SessionConfig(threads=1), []

    def gather(tensors: Sequence[str], samples: int | None = None) -> Statistics:
        calls.append(tuple(tensors))
        return FromSamples(net, opened, config, "mse", silent)(tensors, samples)

    planner = Planner(net, TARGET, "mse", gather, config)
    for excluded in ((), ("a",), ("b",), ("a", "b")):
        planner.plan(frozenset(excluded))
    assert calls == [("x", "a", "b", "s", "y"), ("m", "n")]


def test_public_targets_are_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="server-cuda cannot run int8"):
        calibrate(tmp_path / "m.onnx", tmp_path / "x.json", calib="random", target=targets.load("server-cuda"))


def test_gram_matrices_are_saved_whatever_the_memory_allows_at_a_time(source: Path, tmp_path: Path) -> None:
    calib = samples(tmp_path)
    whole = calibrate(source, tmp_path / "a.json", calib=calib, target=TARGET, grams=True)
    largest = max(layer.size_bytes for layer in files.load(whole.output).statistics.grams)
    split = calibrate(source, tmp_path / "b.json", calib=calib, target=TARGET, grams=True, memory_bytes=largest)
    one, other = (files.load(result.output).statistics.grams for result in (whole, split))
    assert whole.grams == split.grams == len(one) > 1
    assert one.keys() == other.keys()
    for layer, gram in one.items():
        # Other taps in each pass, so the runtime fuses other nodes.
        np.testing.assert_allclose(other[layer].products, gram.products, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="more than the budget"):
        calibrate(source, tmp_path / "c.json", calib=calib, target=TARGET, grams=True, memory_bytes=8)
    assert not (tmp_path / "c.json").exists()
