"""measured rows -> every model on every shipped target: measured here, estimated from peak rates, or not measured.

    floor = sum of operations / peak rate of one core       int8 layers at the int8 rate, all others at the float rate

A floor leaves memory, dispatch and unkind shapes out: a device may take several times as long, and cannot take less.
"""

from __future__ import annotations

from collections.abc import Sequence

from deploycompress import targets
from deploycompress.errors import UnsupportedError
from deploycompress.flow.host import AUTO, resolve
from deploycompress.records.report import Row, TargetRow
from deploycompress.targets import Target

_NO_DEVICE = "not measured: no such device here"


def target_rows(rows: Sequence[Row]) -> tuple[TargetRow, ...]:
    """One row a shipped target and model, the targets in their usual order."""
    here = _this_machine()
    models = list(dict.fromkeys(row.name for row in rows))
    return tuple(
        _on(target, [row for row in rows if row.name == model], here)
        for target in map(targets.load, targets.names())
        for model in models
    )


def _this_machine() -> str | None:
    try:
        return resolve(AUTO).name
    except UnsupportedError:
        return None


def _on(target: Target, rows: Sequence[Row], here: str | None) -> TargetRow:
    wanted = target.providers[0]
    row = next((row for row in rows if row.requested == wanted), None)
    row = row if target.name == here or wanted != rows[0].requested else None
    if row is not None and row.latency is not None:
        return TargetRow(
            target=target.name, kind=target.kind, model=row.name, status="measured", median_ms=row.latency.median_ms
        )
    floor_ms = floor(rows[0], target)
    if floor_ms is None:
        return TargetRow(target=target.name, kind=target.kind, model=rows[0].name, status=_NO_DEVICE)
    return TargetRow(
        target=target.name,
        kind=target.kind,
        model=rows[0].name,
        status="estimated",
        floor_ms=floor_ms,
        source=target.roofline.source,
    )


def floor(row: Row, target: Target) -> float | None:
    """Least milliseconds for the arithmetic of a row on one core; None where the operations or a rate are unknown."""
    rates = {"int8": target.roofline.int8_gops if target.quant.int8 else None, "float": target.roofline.fp32_gflops}
    counted = [
        (layer.operations, "int8" if layer.kind == "int8" else "float") for layer in row.layers if layer.operations
    ]
    total = 0.0
    for operations, kind in counted:
        rate = rates[kind]
        if rate is None:
            return None
        total += operations / rate / 1e6
    return total if counted else None
