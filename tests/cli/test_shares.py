"""Shares as a user types them."""

from __future__ import annotations

import pytest

from deploycompress.cli.shares import share
from deploycompress.errors import UsageError


@pytest.mark.parametrize(("text", "value"), [("1%", 0.01), ("0.5pt", 0.005), ("0.01", 0.01), ("99 %", 0.99)])
def test_a_share_is_read(text: str, value: float) -> None:
    assert share(text, "--max-drop") == pytest.approx(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("one", "--max-drop: 'one' is no number; write 1% or 0.01"),
        ("%", "'%' is no number"),
        ("2", "'2' is not between 0 and 100 %"),
        ("nan", "'nan' is not between"),
        ("-1%", "'-1%' is not between"),
    ],
)
def test_what_is_no_share_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        share(text, "--max-drop")
