"""The session: signatures, one-line errors, effective providers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploycompress import model as models
from deploycompress.errors import EnvironmentLacksError, ModelRejectedError
from deploycompress.runtime.probe import probe
from deploycompress.runtime.session import Profile, Session, SessionConfig, profile
from tests.zoo import model, normal


def two_products() -> bytes:
    net = model(
        "g (float[batch,8] x) => (float[batch,4] y) { h = MatMul(x, w0) y = MatMul(h, w1) }",
        w0=normal(8, 8),
        w1=normal(8, 4),
    )
    return models.serialize(net)


def test_the_signature_keeps_symbols() -> None:
    signature = Session(two_products()).signature
    assert str(signature.inputs[0]) == "x: float32[batch, 8]"
    assert signature.inputs[0].has_dynamic_batch
    assert signature.output_names == ("y",)


def test_outputs_come_back_by_name() -> None:
    x = normal(3, 8)
    np.testing.assert_allclose(Session(two_products()).run({"x": x})["y"].shape, (3, 4))


def test_a_wrong_feed_is_one_line() -> None:
    with pytest.raises(ModelRejectedError, match="cannot run it") as caught:
        Session(two_products()).run({"x": normal(3, 9)})
    assert "\n" not in str(caught.value)


def test_garbage_is_rejected() -> None:
    with pytest.raises(ModelRejectedError, match="cannot load it"):
        Session(b"not a model")


def test_a_provider_that_is_not_installed_is_an_error_not_a_fallback() -> None:
    with pytest.raises(EnvironmentLacksError, match="CUDAExecutionProvider is not in the installed ONNX Runtime"):
        Session(two_products(), SessionConfig(providers=("CUDAExecutionProvider",)))


def test_a_profile_counts_every_node_on_its_effective_provider(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(two_products())
    found = profile(path, {"x": normal(2, 8)}, SessionConfig(threads=1), runs=3)
    placement = found.placement(("CPUExecutionProvider",), 1)
    assert placement.nodes == {"CPUExecutionProvider": 2}
    assert placement.effective == "CPU"
    assert abs(sum(placement.time_share.values()) - 1) < 1e-9


def test_the_probe_sees_the_same_signature(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(two_products())
    assert probe(path) == Session(path).signature


def test_the_probe_rejects_what_the_runtime_rejects(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(ModelRejectedError, match=r"m\.onnx: ONNX Runtime cannot load it"):
        probe(path)


def test_the_probe_survives_a_child_that_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\nkill -SEGV $$\n")
    script.chmod(0o755)
    monkeypatch.setattr("deploycompress.runtime.probe.sys.executable", str(script))
    path = tmp_path / "m.onnx"
    path.write_bytes(two_products())
    with pytest.raises(ModelRejectedError, match=r"it crashes ONNX Runtime \(signal 11\)"):
        probe(path)


def test_bound_runs_give_the_outputs_of_plain_ones() -> None:
    # The CPU stands in for the device: the same calls bind inputs and outputs there.
    session, feed = Session(two_products(), SessionConfig(threads=1)), {"x": normal(3, 8)}
    bound: Any = session.runner(feed, device="cpu")()
    np.testing.assert_array_equal(bound.copy_outputs_to_cpu()[0], session.run(feed)["y"])


def test_a_profile_is_that_of_the_quietest_quarter_of_the_runs(tmp_path: Path) -> None:
    def run(total: int, *kernels: int) -> list[dict[str, object]]:
        made = [
            {"cat": "Node", "name": f"{name}_kernel_time", "dur": dur, "args": {"op_name": "Relu", "provider": "P"}}
            for name, dur in zip("ab", kernels, strict=True)
        ]
        return [*made, {"cat": "Session", "name": "model_run", "dur": total}]

    path = tmp_path / "profile.json"
    noisy = [event for _ in range(4) for event in run(900, 500, 300)]
    path.write_text(json.dumps([*noisy, *run(50, 30, 10), *run(60, 32, 14)]))
    found = Profile.read(path)
    assert [(node.name, node.time_us) for node in found.nodes] == [("a", 31.0), ("b", 12.0)]


def test_a_node_that_ran_in_slow_runs_alone_is_not_lost(tmp_path: Path) -> None:
    node = {"cat": "Node", "name": "a_kernel_time", "dur": 7, "args": {"op_name": "Relu", "provider": "P"}}
    slow = [node, {"cat": "Session", "name": "model_run", "dur": 90}]
    path = tmp_path / "profile.json"
    path.write_text(json.dumps([*slow, {"cat": "Session", "name": "model_run", "dur": 5}]))
    assert [(found.name, found.time_us) for found in Profile.read(path).nodes] == [("a", 7.0)]
