from __future__ import annotations

import pytest

from deploycompress import targets
from deploycompress.flow.verdict import elsewhere, max_drop, require_speedup, summary
from deploycompress.records.measured import Accuracy, Comparison, Interval, Verdict
from deploycompress.records.report import Row

CPU = "CPUExecutionProvider"


def row(name: str, speedup: float | None, said: Verdict = "FASTER", drop: float | None = None, **fields: object) -> Row:
    comparison = None if speedup is None else Comparison(speedup, Interval(speedup - 0.1, speedup + 0.1), said)
    accuracy = None
    if drop is not None:
        accuracy = Accuracy("top-1", 0.9 - drop, Interval(0.8, 0.95), 100, drop, Interval(drop - 0.01, drop + 0.01))
    given = {"path": f"{name}.onnx", "sha256": name, "size_bytes": 10, "status": "measured", "requested": CPU}
    return Row(**given | {"name": name, "comparison": comparison, "accuracy": accuracy} | fields)  # type: ignore[arg-type]


BASE = row("base", None)


@pytest.mark.parametrize(
    ("speedup", "said", "least", "met"),
    [
        (1.5, "FASTER", 1.2, True),
        (1.1, "FASTER", 1.2, False),
        (1.5, "NO DIFFERENCE", 1.2, False),  # the noise allows 1.5; nothing was shown
        (0.97, "NO DIFFERENCE", 0.95, True),  # "not slower than" needs no proof of being faster
    ],
)
def test_speedup_gate_asks_for_size_and_evidence(speedup: float, said: Verdict, least: float, met: bool) -> None:
    assert require_speedup([BASE, row("a", speedup, said)], least).met is met


def test_speedup_gate_needs_every_model() -> None:
    gate = require_speedup([BASE, row("a", 3.0), row("b", 0.5, "SLOWER")], 1.1)
    assert not gate.met
    assert gate.detail == "a: 3.00x (2.90 to 3.10) FASTER; b: 0.500x (0.400 to 0.600) SLOWER"


def test_gate_on_a_row_that_was_not_measured_is_not_met() -> None:
    absent = row("a", None, status="not measured: no such provider")
    gate = require_speedup([BASE, absent], 1.1)
    assert not gate.met
    assert gate.detail == "a: not measured: no such provider"


@pytest.mark.parametrize(("drop", "met"), [(0.009, True), (0.01, True), (0.011, False), (None, False), (-0.02, True)])
def test_drop_gate_compares_the_measured_drop(drop: float | None, met: bool) -> None:
    assert max_drop([BASE, row("a", 2.0, drop=drop)], 0.01).met is met


def test_summary_has_one_line_a_model_and_never_calls_noise_faster() -> None:
    rows = [BASE, row("a", 3.0, drop=0.005, smaller=4.0), row("b", 1.2, "NO DIFFERENCE", smaller=0.5)]
    first, second = summary(rows).splitlines()
    assert first == "a: 3.00x (2.90 to 3.10) faster, 4.00x smaller, top-1 drop 0.5 points (-0.5 to 1.5, n = 100)."
    assert second == "b: no detectable difference in speed, 1.20x (1.10 to 1.30), 2.00x larger."
    assert "faster" not in second


def test_summary_of_a_slower_model_says_so() -> None:
    assert summary([BASE, row("a", 0.5, "SLOWER")]) == "a: 0.500x (0.400 to 0.600) the speed (SLOWER)."


def test_this_machine_is_not_a_board() -> None:
    board, server = targets.load("edge-arm64-dotprod"), targets.load("server-cpu")
    assert "not of edge-arm64-dotprod" in (elsewhere(board, "x86_64", ["avx512_vnni"]) or "")
    assert elsewhere(board, "aarch64", ["asimddp"]) is None
    assert elsewhere(server, "x86_64", ["avx_vnni"]) is None  # either kind of VNNI will do
    assert "not of server-cpu" in (elsewhere(server, "x86_64", ["avx2"]) or "")
