"""Tables that fit the terminal and lose nothing."""

from __future__ import annotations

import pytest

from deploycompress.cli.tables import render


@pytest.mark.parametrize("columns", [60, 80, 150])
def test_long_cells_wrap_and_nothing_is_lost(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = render(("name", "why"), [("a/very/long/tensor/name" * 3, "because [of] :smile: " * 8)])
    assert max(map(len, text.splitlines())) <= columns
    assert "".join(text.split()).count("[of]:smile:") >= 1
    assert all(part in text for part in ("name", "why"))


def test_numbers_align_right() -> None:
    lines = render(("op", "us"), [("Conv", 1000), ("Relu", 5)]).splitlines()
    conv, relu = (next(line for line in lines if op in line) for op in ("Conv", "Relu"))
    assert conv.rstrip().endswith("1000")
    assert relu.rstrip().endswith("   5")


def test_no_rows_still_show_the_headers() -> None:
    assert "op" in render(("op",), [])
