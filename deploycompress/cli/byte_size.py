"""`512MiB`, `1.5 GB`, `4096` -> a number of bytes."""

from __future__ import annotations

import re

from deploycompress.errors import UsageError

_UNITS = {"": 1, "B": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("B", 1000), ("iB", 1024), ("", 1024))
}


def byte_size(text: str, option: str) -> int:
    """The number of bytes that `text` names.

    Raises:
        UsageError: It is not a positive number with a known unit.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*", text)
    units = {unit.lower(): size for unit, size in _UNITS.items()}
    size = units.get(found[2].lower()) if found else None
    if found is None or size is None or float(found[1]) * size < 1:
        raise UsageError(f"{text!r} is not an amount of memory", where=option, remedy="write it as 512MiB or 2GiB")
    return int(float(found[1]) * size)
