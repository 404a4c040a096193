"""statistics of a tensor -> why no grid can be laid over its range, or nothing where one can.

A tensor that was 0 in every sample has a range of no width: its grid would have the smallest scale there is, and any
other value on other data would be cut to nothing. The layers around it stay float, and the plan says why.
"""

from __future__ import annotations

from deploycompress.calibration.statistics import TensorStatistics
from deploycompress.quantization.affine import MIN_SCALE

_STEPS = 255
_NARROWEST = _STEPS * MIN_SCALE  # of a range whose 8-bit scale is not bounded from below


def why_no_grid(statistics: TensorStatistics | None) -> str:
    """What is wrong with the range of a tensor, as the end of a sentence about it; "" where nothing is."""
    if statistics is None:
        return "was not observed during calibration"
    if not statistics.count:
        return "had no elements in any calibration sample"
    low, high = min(statistics.low, 0.0), max(statistics.high, 0.0)
    if low == high:
        return "was 0 in every calibration sample"
    if high - low < _NARROWEST:
        return f"stayed within {low:g} .. {high:g} during calibration, which is too narrow for 8 bits"
    return ""
