"""[a, b, 1] and [n, 1, c] -> the shape of their sum, for lengths that are integers or symbols.

Source: ONNX specification, "Broadcasting in ONNX" (multidirectional).
"""

from __future__ import annotations

from collections.abc import Sequence

Dim = int | str
Dims = tuple[Dim, ...]


def broadcast(all_dims: Sequence[Dims], name: str) -> Dims:
    """Shape of an elementwise operator; an axis that may be either of two is given a new name."""
    rank = max(map(len, all_dims))
    result: list[Dim] = []
    for axis in range(rank):
        lengths = {dims[axis - rank] for dims in all_dims if len(dims) >= rank - axis} - {1}
        # min(n, 512) beside n: the sum exists only where they are equal, or where n is 1 and both are.
        lengths -= {f"min({a},{b})" for a in lengths for b in lengths | _limits(lengths)}
        fixed = [length for length in lengths if isinstance(length, int)]
        result.append(
            1 if not lengths else fixed[0] if fixed else lengths.pop() if len(lengths) == 1 else f"{name}.{axis}"
        )
    return tuple(result)


def _limits(lengths: set[Dim]) -> set[Dim]:
    return {int(d[4:-1].rpartition(",")[2]) for d in lengths if isinstance(d, str) and d.startswith("min(")}
