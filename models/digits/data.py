"""scikit-learn's handwritten digits -> training, validation and held-out arrays, split once and for all.

1,797 images of 8x8 pixels (the test part of the UCI set "Optical Recognition of Handwritten Digits"), grey values 0..16
scaled to 0..1. The split is stratified by class and fixed by its seed: 1,037 samples train, 160 choose the epoch, and
600 are looked at by nothing but the benchmark.

Source: Alpaydin & Kaynak 1998, https://doi.org/10.24432/C50P49; sklearn.datasets.load_digits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

HELD_OUT, VALIDATION, SEED = 600, 160, 20240607

Arrays = dict[str, np.ndarray]


def train() -> Arrays:
    """Images float32 [1037, 1, 8, 8] as "input", classes int64 [1037] as "label"."""
    return _take(_split()[0])


def validation() -> Arrays:
    """160 samples that choose the epoch to keep."""
    return _take(_split()[1])


def held_out() -> Arrays:
    """600 samples for the benchmark alone."""
    return _take(_split()[2])


def rows() -> Iterator[np.ndarray]:
    """Row numbers of the three parts in scikit-learn's order; they share none."""
    yield from _split()


def _split() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    labels = load_digits().target
    rest, held = train_test_split(np.arange(len(labels)), test_size=HELD_OUT, random_state=SEED, stratify=labels)
    fit, chosen = train_test_split(rest, test_size=VALIDATION, random_state=SEED, stratify=labels[rest])
    return np.sort(fit), np.sort(chosen), np.sort(held)


def _take(numbers: np.ndarray) -> Arrays:
    digits = load_digits()
    images = (digits.images[numbers] / 16.0).astype(np.float32)
    return {"input": images[:, None], "label": digits.target[numbers].astype(np.int64)}
