"""`module:function` -> numpy arrays for training, checked once and hashed.

The function takes nothing and returns one dict of arrays with samples along axis 0, the labels under "label": the form
that `data.open` reads as well, so one function serves training and the benchmark. A pair (inputs, labels) will do too.
Labels are integers, one per sample (or per token; -100 does not count). One input is passed to the network by position,
several by keyword.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deploycompress.data.arrays import LABEL_NAMES
from deploycompress.errors import DataRejectedError, UsageError
from deploycompress.records.reference import resolve


@dataclass(frozen=True)
class Arrays:
    """Labelled samples in memory.

    Attributes:
        names: Keyword of each input; empty where there is one, passed by position.
        inputs: One tensor per input, [samples, ...].
        labels: int64, [samples] or [samples, tokens].
        fingerprint: sha256 over names, shapes, element types and values.
    """

    names: tuple[str, ...]
    inputs: tuple[torch.Tensor, ...]
    labels: torch.Tensor
    fingerprint: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def by_name(self) -> dict[str, torch.Tensor]:
        """Inputs under their names (one without a name is "input") and the labels under "label"."""
        return dict(zip(self.names or ("input",), self.inputs, strict=True)) | {"label": self.labels}


def load(reference: str, *, base: Path | None = None) -> Arrays:
    """Calls the function that `reference` names and checks what it returns.

    Raises:
        UsageError: The reference is wrong, the function fails, or returns something else.
        DataRejectedError: No samples, unequal lengths, NaN or infinite values, labels that are not integers.
    """
    function = resolve(reference, base=base)
    try:
        returned = function()
    except Exception as error:
        raise UsageError(f"calling it raised {type(error).__name__}: {error}", where=reference) from error
    inputs, labels = _parts(returned, reference)
    named = dict(inputs) if isinstance(inputs, Mapping) else {"inputs": inputs}
    arrays = {str(name): _checked(np.asarray(value), str(name), reference) for name, value in named.items()}
    targets = np.asarray(labels)
    if not np.issubdtype(targets.dtype, np.integer):
        raise DataRejectedError(f"labels are {targets.dtype}", where=reference, remedy="return class numbers")
    lengths = {len(array) for array in (*arrays.values(), targets)}
    if len(lengths) != 1 or lengths == {0}:
        raise DataRejectedError(f"inputs and labels have {sorted(lengths)} samples", where=reference)
    return Arrays(
        names=() if len(arrays) == 1 else tuple(arrays),
        inputs=tuple(torch.from_numpy(array) for array in arrays.values()),
        labels=torch.from_numpy(targets.astype(np.int64)),
        fingerprint=_fingerprint({**arrays, "labels": targets}),
    )


def _parts(returned: object, reference: str) -> tuple[object, object]:
    """(inputs, labels) of what the function returned."""
    if isinstance(returned, Mapping):
        key = next((name for name in LABEL_NAMES if name in returned), None)
        if key is not None and len(returned) > 1:
            return {name: value for name, value in returned.items() if name != key}, returned[key]
    elif isinstance(returned, tuple) and len(returned) == 2:
        return returned
    found = (
        f"a dict of {sorted(map(str, returned))}" if isinstance(returned, Mapping) else f"a {type(returned).__name__}"
    )
    raise UsageError(
        f"it returned {found}", where=reference, remedy="return a dict of arrays with the labels under 'label'"
    )


def _checked(array: np.ndarray, name: str, reference: str) -> np.ndarray:
    if array.dtype.kind not in "fiub" or array.ndim == 0:
        raise DataRejectedError(
            f"{name} is {array.dtype} with {array.ndim} axes", where=reference, remedy="return numbers"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0])
        raise DataRejectedError(f"{name} has a NaN or infinite value in sample {bad}", where=reference)
    return np.ascontiguousarray(array)


def _fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
