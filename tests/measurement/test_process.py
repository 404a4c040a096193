from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import EnvironmentLacksError, ModelRejectedError
from deploycompress.measurement.process import Worker
from deploycompress.measurement.worker import read_feeds, write_feeds
from deploycompress.runtime.session import CPU, SessionConfig

Make = Callable[..., Path]
ONE_THREAD = SessionConfig(threads=1)


def is_reaped(pid: int) -> bool:
    """A zombie still has its entry under /proc or answers signal 0; a reaped child does neither."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_worker_opens_times_and_places_a_model(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    with Worker(mlp(6), ONE_THREAD, [feed]) as worker:
        opened = worker.open()
        worker.warm_up(0, 50)
        block = worker.block(0, 7)
        finished = worker.finish()
    assert opened.load_ms > 0
    assert opened.first_run_ms > 0
    assert len(block.times_ms) == 7
    assert min(block.times_ms) > 0
    assert finished.placement.nodes == {CPU: 6}  # the profile's node events: six MatMuls, each once
    assert finished.placement.threads == 1
    assert finished.placement.time_share == {CPU: pytest.approx(1.0)}
    # A Python process with ONNX Runtime in it takes tens of megabytes; a unit mistake would be off by 1024.
    assert opened.empty_bytes is not None
    assert finished.peak_bytes is not None
    assert 2e7 < opened.empty_bytes <= finished.peak_bytes < 2e9
    assert is_reaped(worker.pid)


def test_feeds_survive_the_way_to_the_worker(tmp_path: Path) -> None:
    feeds = [
        {"../a b/ü": np.arange(6, dtype=np.int64).reshape(2, 3), "file": np.array(1.5, np.float16)},
        {"../a b/ü": np.zeros((0, 3), np.int64), "file": np.array(["x", "yé"], dtype=object)},
    ]
    names = write_feeds(feeds, tmp_path / "feeds.npz")
    back = read_feeds(tmp_path / "feeds.npz", names)
    assert [list(feed) for feed in back] == [["../a b/ü", "file"]] * 2
    for sent, got in zip(feeds, back, strict=True):
        for name, array in sent.items():
            assert got[name].dtype == array.dtype
            np.testing.assert_array_equal(got[name], array)


def test_killed_worker_is_an_error_that_names_the_model(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    path = mlp(2)
    with Worker(path, ONE_THREAD, [feed]) as worker:
        worker.open()
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(EnvironmentLacksError, match=r"mlp.onnx: .*killed \(signal 9\).*memory"):
            worker.block(0, 1)
    assert is_reaped(worker.pid)


def test_crashed_worker_is_an_error_that_names_the_model(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    with Worker(mlp(2), ONE_THREAD, [feed]) as worker:
        worker.open()
        os.kill(worker.pid, signal.SIGSEGV)
        with pytest.raises(ModelRejectedError, match=r"mlp.onnx: the process measuring it crashed \(signal 11\)"):
            worker.block(0, 1)


def test_hanging_worker_is_killed_and_named(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    with Worker(mlp(2), ONE_THREAD, [feed], timeout_s=0.5) as worker:
        os.kill(worker.pid, signal.SIGSTOP)  # it will not answer
        with pytest.raises(ModelRejectedError, match=r"mlp.onnx: the worker did not answer 'open'"):
            worker.open()
    assert is_reaped(worker.pid)


def test_worker_is_reaped_when_the_parent_is_interrupted(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    with pytest.raises(KeyboardInterrupt), Worker(mlp(2), ONE_THREAD, [feed]) as worker:  # noqa: PT012
        worker.open()
        raise KeyboardInterrupt
    assert is_reaped(worker.pid)


def test_interrupt_signal_is_left_to_the_parent(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    # Ctrl-C reaches the whole process group; a worker that printed a traceback of its own would bury our message.
    with Worker(mlp(2), ONE_THREAD, [feed]) as worker:
        worker.open()
        os.kill(worker.pid, signal.SIGINT)
        assert len(worker.block(0, 3).times_ms) == 3


def test_unusable_model_is_refused_with_its_path(tmp_path: Path, feed: dict[str, np.ndarray]) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with (
        Worker(path, ONE_THREAD, [feed]) as worker,
        pytest.raises(ModelRejectedError, match=r"broken.onnx: ONNX Runtime"),
    ):
        worker.open()


def test_wrong_feed_is_refused_with_the_models_path(mlp: Make) -> None:
    feed = {"x": np.zeros((1, 3), np.float32)}
    with (
        Worker(mlp(2), ONE_THREAD, [feed]) as worker,
        pytest.raises(ModelRejectedError, match=r"mlp.onnx: .*cannot run"),
    ):
        worker.open()


def test_absent_provider_is_an_environment_error(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    config = SessionConfig(providers=("NoSuchExecutionProvider",), threads=1)
    with (
        Worker(mlp(2), config, [feed]) as worker,
        pytest.raises(EnvironmentLacksError, match=r"NoSuchExecutionProvider"),
    ):
        worker.open()


def test_worker_is_confined_to_the_cpus_it_was_given(mlp: Make, feed: dict[str, np.ndarray]) -> None:
    cpu = min(os.sched_getaffinity(0))
    with Worker(mlp(2), ONE_THREAD, [feed], pin=[cpu]) as worker:
        worker.open()
        assert os.sched_getaffinity(worker.pid) == {cpu}
