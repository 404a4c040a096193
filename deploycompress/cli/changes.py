"""result of a command that takes work out of a model -> its closing lines: how much less, how fast, how close."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploycompress.flow.factored import FactorizeResult
    from deploycompress.flow.pruned import PruneResult
    from deploycompress.records.measured import Fidelity


def bought(result: PruneResult | FactorizeResult, advice: str) -> str:
    """What went, what it bought, what it cost, and `advice` where accuracy was lost."""
    from deploycompress.report import words

    parts = [
        f"parameters {less(result.parameters_before, result.parameters_after)}",
        f"multiplications {less(result.macs_before, result.macs_after)}",
        words.smaller(result.bytes_before / result.bytes_after),
    ]
    if result.comparison is not None:
        parts.append(f"{words.against(result.comparison)} {words.ratio_interval(result.comparison)}")
    lost = None if result.accuracy is None else words.drop(result.accuracy)
    if result.accuracy is not None and lost is not None:
        parts.append(f"{result.accuracy.metric} drop {lost}")
    else:
        parts.append(closeness(result.fidelity, result.compared_on))
    training = "" if result.is_close else f"; accuracy was lost: {advice}"
    if result.accuracy is None and result.compared_on == "random inputs":
        training = "; what it means for accuracy is not known: give --eval"
    return ", ".join(parts) + training


def remarks(result: PruneResult | FactorizeResult, write: Callable[[str], None]) -> None:
    """Samples left out, notes, and that a file is not faster."""
    from deploycompress.report import words

    for skipped in result.skipped:
        write(f"skipped {skipped.path}: {skipped.reason}")
    for note in result.notes:
        write(f"note: {note}")
    if result.comparison is not None and result.comparison.verdict != "FASTER":
        write(f"note: NOT FASTER on this machine: {words.ratio_interval(result.comparison)} of the speed before")


def less(before: int, after: int) -> str:
    """As in "-31.2 %"."""
    return f"-{100 * (1 - after / before):.1f} %" if before else "none"


def closeness(found: Fidelity, compared_on: str) -> str:
    """As in "98.4 % same decisions and 21.3 dB on held-out samples"."""
    if found.agreement is not None:
        return f"{100 * found.agreement:.1f} % same decisions and {found.sqnr_db:.1f} dB on {compared_on}"
    return f"{found.sqnr_db:.1f} dB on {compared_on}"
