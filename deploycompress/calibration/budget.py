"""Gram matrices + memory budget -> passes over the samples; finished matrices wait in files."""

from __future__ import annotations

import tempfile
from collections.abc import Collection

import numpy as np

from deploycompress.calibration.gram import Gram, LayerInput
from deploycompress.errors import UsageError

_MIB = 1 << 20


def gram_passes(layers: Collection[LayerInput], memory_bytes: int | None) -> list[list[LayerInput]]:
    """Groups of layer inputs, in order, whose products fit in `memory_bytes` together; one group where it is None.

    Raises:
        UsageError: The products of one layer alone are larger.
    """
    groups: list[list[LayerInput]] = [[]]
    taken = 0
    for layer in layers:
        if memory_bytes is not None and layer.size_bytes > memory_bytes:
            raise UsageError(
                f"the Gram matrix of {layer.tensor!r} takes {layer.size_bytes / _MIB:.0f} MiB, more than the budget of "
                f"{memory_bytes / _MIB:.0f} MiB",
                remedy=f"allow at least {-(-layer.size_bytes // _MIB)} MiB",
            )
        if memory_bytes is not None and groups[-1] and taken + layer.size_bytes > memory_bytes:
            groups.append([])
            taken = 0
        groups[-1].append(layer)
        taken += layer.size_bytes
    return groups


def spilled(gram: Gram) -> Gram:
    """The same moments with the products mapped from a temporary file, which vanishes with them."""
    if isinstance(gram.products, np.memmap):
        return gram
    with tempfile.TemporaryFile(prefix="deploycompress-") as file:  # the mapping keeps what it needs
        file.write(np.ascontiguousarray(gram.products).data)
        file.flush()
        products = np.memmap(file, np.float64, "r", shape=gram.products.shape)
    return Gram(gram.count, gram.sums, products)
