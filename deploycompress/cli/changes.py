"""figures of a model that lost weights -> the words of its verdict: how much less, how close."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploycompress.records.measured import Fidelity


def less(before: int, after: int) -> str:
    """As in "-31.2 %"."""
    return f"-{100 * (1 - after / before):.1f} %" if before else "none"


def closeness(found: Fidelity, compared_on: str) -> str:
    """As in "98.4 % same decisions and 21.3 dB on held-out samples"."""
    if found.agreement is not None:
        return f"{100 * found.agreement:.1f} % same decisions and {found.sqnr_db:.1f} dB on {compared_on}"
    return f"{found.sqnr_db:.1f} dB on {compared_on}"
