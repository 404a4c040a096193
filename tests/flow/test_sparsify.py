"""`sparsify` from file to file: zeros where they were asked for, a word on speed, one line for what cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from deploycompress import model as models
from deploycompress import targets
from deploycompress.errors import UnsupportedError, UsageError
from deploycompress.flow.sparsify import sparsify
from deploycompress.pruning.sparse import METHODS, Pattern
from tests import zoo
from tests.passes.running import proto

TARGET = targets.load("server-cpu-avx2")


def net() -> ir.Model:
    """Four layers, of which two are neither first nor last; channels on very different scales."""
    return zoo.model(
        "g (float[N,3,8,8] x) => (float[N,5] y) { a = Conv<pads=[1,1,1,1]>(x, w0, b0) r = Relu(a)"
        " c = Conv<pads=[1,1,1,1]>(r, w1, b1) d = Relu(c) z = GlobalAveragePool(d) f = Flatten(z)"
        " h = Gemm(f, w2, b2) k = Relu(h) y = Gemm(k, w3) }",
        w0=zoo.normal(16, 3, 3, 3) * np.exp(zoo.normal(16, 1, 1, 1)),
        b0=zoo.normal(16),
        w1=zoo.normal(24, 16, 3, 3),
        b1=zoo.normal(24),
        w2=zoo.normal(24, 20),
        b2=zoo.normal(20),
        w3=zoo.normal(20, 5),
    )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    path.write_bytes(proto(net()))
    return path


@pytest.fixture
def calib(tmp_path: Path) -> str:
    path = tmp_path / "data"
    path.mkdir()
    np.savez(path / "x.npz", x=zoo.normal(48, 3, 8, 8, seed=5))
    return str(path)


@pytest.mark.parametrize("method", METHODS)
def test_the_share_is_met_and_first_and_last_layers_stay(source: Path, calib: str, method: str) -> None:
    output = source.with_name("o.onnx")
    result = sparsify(source, output, target=TARGET, pattern=Pattern(0.75), method=method, calib=calib)  # type: ignore[arg-type]
    rows = {row.layer: row for row in result.layers}
    assert rows["a"].reason == "it reads what the model is fed"
    assert rows["y"].reason == "it gives what the model gives"
    inner = rows["c"].zeros + rows["h"].zeros
    assert inner == pytest.approx(0.75 * (24 * 16 * 9 + 24 * 20), abs=24)  # Wanda rounds in every column
    written = models.load(output).graph.initializers["w1"].const_value
    assert written is not None
    assert int((written.numpy() == 0).sum()) == rows["c"].zeros
    assert result.size_after.download_bytes is not None
    assert result.size_before.download_bytes is not None
    assert result.size_after.download_bytes < 0.6 * result.size_before.download_bytes
    assert "zeros make no dense kernel faster" in result.notes[-1]


def test_samples_keep_the_output_closer(source: Path, calib: str) -> None:
    found = {
        method: sparsify(
            source,
            source.with_name("o.onnx"),
            target=TARGET,
            pattern=Pattern(kept=2, of=4),
            method=method,  # type: ignore[arg-type]
            calib=calib,
        ).fidelity.sqnr_db
        for method in ("magnitude", "wanda", "sparsegpt")
    }
    assert found["sparsegpt"] > found["wanda"] > found["magnitude"]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"pattern": Pattern(1.5)}, UsageError, "the share of zeros must lie between 0 and 1, not 1.5"),
        ({"pattern": Pattern(kept=4, of=4)}, UsageError, "4:4 keeps no part of a group of weights"),
        ({"pattern": Pattern(0.5), "method": "wanda"}, UsageError, "the method wanda needs samples"),
        ({"pattern": Pattern(kept=2, of=4), "method": "lamp"}, UsageError, "lamp shares zeros out over layers"),
        ({"pattern": Pattern(kept=2, of=7)}, UnsupportedError, "no layer can have 2:7 zeros .*144 features are no mul"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    source: Path, options: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        sparsify(source, source.with_name("o.onnx"), target=TARGET, **options)  # type: ignore[arg-type]
    assert not source.with_name("o.onnx").exists()
