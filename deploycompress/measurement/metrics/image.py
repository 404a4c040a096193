"""pictures and their references -> PSNR = mean over samples of 10 log10(peak^2 / mean squared error), in decibels.

References of uint8 have a peak of 255, references of float lie in 0 .. 1 and have a peak of 1. A picture that equals
its reference counts 100 dB, so that a mean exists.

Source: Huynh-Thu and Ghanbari, "Scope of validity of PSNR in image/video quality assessment", 2008.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import UnsupportedError
from deploycompress.measurement.metrics.metric import Array, Floats, Label, Metric, finite, mean

_MOST_DB = 100.0


def _decibels(output: Array, labels: Sequence[Label]) -> Floats:
    """[samples, 1]: PSNR of each."""
    if len(output) != len(labels):
        raise UnsupportedError(f"psnr needs an output a sample, and there are {len(output)} of {len(labels)}")
    return np.array([[_of_one(one, label)] for one, label in zip(finite(output, "psnr"), labels, strict=True)])


def _of_one(picture: Floats, label: Label) -> float:
    reference = np.asarray(np.nan if label is None else label)
    if reference.ndim == 0 or reference.shape != picture.shape:
        said = "none" if label is None else f"{reference.dtype}{list(reference.shape)}"
        raise UnsupportedError(f"psnr needs a reference of the output's shape {list(picture.shape)}, and one is {said}")
    peak = 255.0 if reference.dtype == np.uint8 else 1.0
    if reference.dtype != np.uint8 and not (reference.min() >= 0 and reference.max() <= 1):
        raise UnsupportedError("psnr needs references of uint8, or of float between 0 and 1")
    error = float(np.square(picture - reference.astype(np.float64)).mean())
    return min(_MOST_DB, 10 * np.log10(peak * peak / error)) if error > 0 else _MOST_DB


PSNR = Metric("psnr", _decibels, mean, unit="dB")
