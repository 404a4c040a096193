"""An option that is a share: "1%" or "0.01"."""

from __future__ import annotations

from deploycompress.errors import UsageError

_PERCENT = 100.0


def share(text: str, option: str, *, example: str = "1% or 0.01") -> float:
    """0.01 from "1%", "1pt" or "0.01".

    Args:
        text: As typed.
        option: Where, for the message.
        example: What could be meant.

    Raises:
        UsageError: It is no share between 0 and 1.
    """
    unit = next((unit for unit in ("%", "pt") if text.strip().endswith(unit)), "")
    try:
        number = float(text.strip().removesuffix(unit)) / (_PERCENT if unit else 1.0)
    except ValueError as error:
        raise UsageError(f"{text!r} is no number", where=option, remedy=f"write {example}") from error
    if not 0 <= number <= 1:
        raise UsageError(f"{text!r} is not between 0 and 100 %", where=option, remedy=f"write {example}")
    return number
