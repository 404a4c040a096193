"""Amounts of memory as a user writes them."""

from __future__ import annotations

import pytest

from deploycompress.cli.byte_size import byte_size
from deploycompress.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4096", 4096), ("512MiB", 512 << 20), ("1.5 GB", 1_500_000_000), ("2gib", 2 << 30), ("1k", 1024), ("7 B", 7)],
)
def test_amounts_are_read_with_their_unit(text: str, expected: int) -> None:
    assert byte_size(text, "--calib-memory") == expected


@pytest.mark.parametrize("text", ["", "much", "-1GiB", "0", "0.1 B", "1 GiBi", "1e9", "GiB"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"is not an amount of memory.*512MiB"):
        byte_size(text, "--calib-memory")
